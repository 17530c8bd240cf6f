from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from cmcr_cli.model.condition import Condition, PatchInputs
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig, diffuse, heun_step, karras_sigmas, scalings
from tests.support.tensors import assert_close


@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.0])
def test_the_least_noise_is_returned_as_it_is(
    tiny_denoiser: Callable[..., Denoiser], patches: Callable[..., PatchInputs], alpha: float
) -> None:
    config = DiffusionConfig(alpha=alpha)
    denoiser, condition = tiny_denoiser(config), Condition.of(patches())
    features = denoiser.encode(condition)
    x = torch.randn(2, 13, 32, 32)
    sigma = karras_sigmas(18, config)[:1].expand(2)
    assert torch.equal(denoiser(x, sigma, features, condition), x)
    assert not torch.allclose(denoiser(x, 2 * sigma, features, condition), x, atol=1e-6)


def test_denoiser_combines_skip_and_network(
    tiny_denoiser: Callable[..., Denoiser], patches: Callable[..., PatchInputs]
) -> None:
    denoiser, condition = tiny_denoiser(), Condition.of(patches())
    features = denoiser.encode(condition)
    x, sigma = torch.randn(2, 13, 32, 32), torch.tensor([0.3, 7.0])
    c_skip, c_out, c_in = scalings(sigma, denoiser.diffusion)
    shown = condition.residual, condition.detail, condition.ground
    output = denoiser.step(c_in * x, sigma.log() / 4, features, shown)
    expected = c_skip * x + c_out * output
    assert_close(denoiser(x, sigma, features, condition), expected)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("sigma", [0.05, 0.7, 5.0, 20.0])
def test_scalings_give_a_unit_target_and_show_the_image_in_the_input(alpha: float, sigma: float) -> None:
    config = DiffusionConfig(alpha=alpha, sigma_data=0.8, sigma_mean=0.5)
    draws = torch.randn(400_000, 3, generator=torch.Generator().manual_seed(0))
    x0, mean = 0.8 * draws[:, 0], 0.5 * draws[:, 1]
    x = x0 + sigma * (draws[:, 2] + alpha * mean)
    c_skip, c_out, c_in = (float(c) for c in scalings(torch.tensor([sigma + config.sigma_min]), config))
    target = (x0 - c_skip * x) / c_out
    assert float(target.var()) == pytest.approx(1, rel=0.02)
    # c_skip is the best linear guess: what is left for the network has nothing to do with the input
    assert float((target * c_in * x).mean()) == pytest.approx(0, abs=0.01)
    share = 0.8 / (0.8**2 + sigma**2) ** 0.5
    fading = 1 - (sigma / config.sigma_max) ** 2
    assert float((c_in * x).std()) == pytest.approx(share * fading, rel=0.02)


def test_the_input_is_strongest_without_noise_and_nothing_at_the_most() -> None:
    config = DiffusionConfig()
    _, _, c_in = scalings(karras_sigmas(64, config), config)
    assert (c_in.diff(dim=0) < 0).all()
    assert float(c_in[0]) == pytest.approx(1 / config.sigma_data)
    assert float(c_in[-1]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_the_first_step_is_a_regression_that_hardly_sees_its_noise(
    tiny_denoiser: Callable[..., Denoiser], patches: Callable[..., PatchInputs], alpha: float
) -> None:
    config = DiffusionConfig(alpha=alpha)
    denoiser, condition = tiny_denoiser(config), Condition.of(patches())
    x0, first, second = torch.randn(3, 2, 13, 32, 32)

    def drawn(level: float) -> tuple[Tensor, Tensor]:
        sigma = torch.full((2,), level)
        starts = [diffuse(x0, sigma, noise, condition.mean, config) for noise in (first, second)]
        one, two = (denoiser(x, sigma, denoiser.encode(condition), condition) for x in starts)
        return one - two, scalings(sigma, config)[0] * (starts[0] - starts[1])

    difference, kept = drawn(config.sigma_max)
    assert_close(difference, kept, rtol=0, atol=3e-4)
    assert difference.std() < 0.06
    assert drawn(1.0)[0].std() > 0.5


@pytest.mark.parametrize("count", [2, 16, 24])
def test_karras_sigmas(count: int) -> None:
    config = DiffusionConfig(sigma_min=0.002, sigma_max=20, rho=7)
    sigmas = karras_sigmas(count, config)
    assert sigmas.shape == (count,)
    assert (sigmas.diff() > 0).all()
    assert sigmas[0] == torch.tensor(0.002)
    assert sigmas[-1] == torch.tensor(20.0)
    assert_close(sigmas.pow(1 / 7).diff(), sigmas.pow(1 / 7).diff().mean().expand(count - 1))


def test_diffuse_is_the_formula_and_leaves_its_arguments_alone() -> None:
    x0, noise, mean = torch.randn(3, 2, 13, 4, 4).unbind()
    kept = x0.clone()
    x = diffuse(x0, torch.tensor([0.5, 4.0]), noise, mean, DiffusionConfig(alpha=1.5))
    assert_close(x[0], kept[0] + 0.5 * noise[0] + 0.75 * mean[0])
    assert_close(x[1], kept[1] + 4 * noise[1] + 6 * mean[1])
    assert torch.equal(x0, kept)


@dataclass
class Exact:
    """The posterior mean of x0 ~ N(0, deviation^2), given x and the known mean shift."""

    deviation: float
    mean: Tensor
    alpha: float

    def encode(self, condition: None) -> None:
        return None

    def __call__(self, x: Tensor, sigma: Tensor, features: None, condition: None) -> Tensor:
        s = sigma[:, None, None, None]
        variance = self.deviation**2
        return variance * (x - s * self.alpha * self.mean) / (variance + s**2)

    def solution(self, x: Tensor, high: float, low: float) -> Tensor:
        """Where the probability-flow ODE takes x: x - sigma alpha mu shrinks with its own deviation."""
        ratio = ((self.deviation**2 + low**2) / (self.deviation**2 + high**2)) ** 0.5
        centred = x - high * self.alpha * self.mean
        return low * self.alpha * self.mean + ratio * centred


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_heun_steps_follow_the_probability_flow(alpha: float) -> None:
    shape, high, low = (3, 13, 4, 4), 3.0, 0.3
    exact = Exact(0.8, torch.randn(shape, dtype=torch.float64), alpha)
    start = diffuse(
        0.8 * torch.randn(shape).double(), torch.full((3,), high), torch.randn(shape).double(), exact.mean,
        DiffusionConfig(alpha=alpha),
    )  # fmt: skip
    errors = []
    for count in (1, 8, 16, 32):
        x = start
        levels = torch.logspace(0, -1, count + 1, dtype=torch.float64) * high
        for upper, lower in pairwise(levels):
            x = heun_step(exact, x, upper.expand(3), lower.expand(3), None)  # type: ignore[arg-type]
        errors.append(float((x - exact.solution(start, high, low)).abs().max()))
    assert errors[-1] < 2e-3
    # second order: half the stride, a quarter of the error
    assert errors[1] / errors[2] > 3.5
    assert errors[2] / errors[3] > 3.5
    assert errors[0] > 10 * errors[1]
