from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from cmcr_cli.model.condition import Condition, PatchInputs
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig
from cmcr_cli.model.pdmsr import sample, step_sigmas
from tests.support.tensors import assert_close

STEPS = pytest.mark.parametrize("steps", [1, 2, 4, 8])
SHAPE = (2, 13, 8, 8)


@dataclass
class Recorder:
    """Answers 1, 2, 3, ... everywhere, and keeps what it was asked."""

    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    encoded: int = 0
    condition: Condition | None = None
    asked: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def encode(self, condition: Condition) -> str:
        self.encoded += 1
        self.condition = condition
        return "features"

    def __call__(self, x: Tensor, sigma: Tensor, features: str, condition: Condition) -> Tensor:
        assert features == "features" and condition is self.condition
        self.asked.append((x, sigma))
        return torch.full_like(x, len(self.asked))


@pytest.fixture
def condition() -> Condition:
    nothing, cover = torch.zeros(1), torch.rand(2, 1, 8, 8)
    cover[0, 0, :4], cover[1, 0, :4] = 0, 1
    cells = torch.ones(2, 1, 1, 1)
    shown, whole = torch.zeros_like(cover), torch.ones_like(cover)
    return Condition(*[nothing] * 5, torch.randn(SHAPE), cover, shown, cells, whole, woven=shown)


def noise(step: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(step))


@STEPS
def test_step_sigmas(steps: int) -> None:
    config = DiffusionConfig(sigma_max=17)
    sigmas = step_sigmas(steps, config)
    assert len(sigmas) == steps
    assert sigmas[0] == config.sigma_max
    assert all(a > b for a, b in pairwise(sigmas))
    assert sigmas[-1] > 10 * config.sigma_min


@STEPS
def test_each_step_pastes_what_is_known_and_adds_its_noise(steps: int, condition: Condition) -> None:
    recorder = Recorder()
    result = sample(recorder, condition, steps, noise)  # type: ignore[arg-type]
    assert torch.equal(result, torch.full(SHAPE, float(steps)))
    assert recorder.encoded == 1
    levels = [float(sigma[1]) for _, sigma in recorder.asked]
    assert levels == pytest.approx(step_sigmas(steps, recorder.diffusion))
    for step, (x, sigma) in enumerate(recorder.asked):
        assert sigma.shape == (2,)
        drawn = noise(step) if step else torch.zeros(SHAPE)
        start = x - sigma[:, None, None, None] * (drawn + recorder.diffusion.alpha * condition.mean)
        expected = condition.cover * step + condition.mean if step else torch.zeros(SHAPE)
        assert_close(start, expected, rtol=0, atol=2e-5)


def test_the_last_estimate_is_shrunk_where_the_ground_is_hidden(condition: Condition) -> None:
    hidden = replace(condition, hidden=torch.ones_like(condition.hidden))
    result = sample(Recorder(), hidden, 3, noise)  # type: ignore[arg-type]
    assert_close(result, torch.full(SHAPE, 3 * 9 / 10))


def test_the_encoder_runs_once_and_the_rest_at_every_step(
    tiny_denoiser: Callable[..., Denoiser], patches: Callable[..., PatchInputs]
) -> None:
    denoiser, inputs = tiny_denoiser(), patches()
    calls = {"encoder": 0, "step": 0}

    def counted(name: str) -> Callable[..., None]:
        def count(*_: object) -> None:
            calls[name] += 1

        return count

    for name in calls:
        denoiser.get_submodule(name).register_forward_hook(counted(name))
    nothing = torch.zeros(2, 13, 32, 32)
    with torch.inference_mode():
        sample(denoiser, Condition.of(inputs), 4, lambda step: nothing)
    assert calls == {"encoder": 1, "step": 4}


@pytest.mark.parametrize(("steps", "least", "most"), [(1, 0.0, 0.0), (2, 0.3, 3.0), (4, 0.3, 3.0)])
def test_the_noise_decides_from_the_second_step_on(
    tiny_denoiser: Callable[..., Denoiser],
    patches: Callable[..., PatchInputs],
    steps: int,
    least: float,
    most: float,
) -> None:
    denoiser, inputs = tiny_denoiser(), patches()

    @torch.inference_mode()
    def image(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(steps, 2, 13, 32, 32, generator=generator)
        return sample(denoiser, Condition.of(inputs), steps, lambda step: noise[step])

    first = image(0)
    assert torch.isfinite(first).all()
    assert torch.equal(first, image(0))
    assert least <= float((first - image(1)).std()) <= most
