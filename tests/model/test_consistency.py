from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cmcr_cli.model.condition import Condition, PatchInputs
from cmcr_cli.model.consistency import (
    BEND,
    KNEE,
    denoising_loss,
    distillation_loss,
    pattern,
    pseudo_huber,
    refinement_loss,
    robust,
    step_weights,
)
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig, karras_sigmas
from tests.support.tensors import assert_close

DISTANCES = pytest.mark.parametrize("distance", [pseudo_huber, robust])


@dataclass
class Stub:
    """A denoiser for x0 ~ N(0, 0.8^2) without mean shift: exact, or its exact consistency function."""

    power: float
    diffusion: DiffusionConfig = field(default_factory=lambda: DiffusionConfig(alpha=0))

    def encode(self, condition: Condition) -> None:
        return None

    def __call__(self, x: Tensor, sigma: Tensor, features: None, condition: Condition) -> Tensor:
        shrinkage: Tensor = 0.8**2 / (0.8**2 + sigma[:, None, None, None] ** 2)
        return x * shrinkage**self.power


EXACT_DENOISER, EXACT_CONSISTENCY = Stub(1.0), Stub(0.5)
NOTHING = Condition(
    *[torch.zeros(1)] * 6,
    cover=torch.ones(1),
    hidden=torch.zeros(1),
    unexplained=torch.ones(1),
    kept=torch.ones(1),
    woven=torch.zeros(1, 1, 1, 1),
)
"""All is covered, and nothing is seen."""


@DISTANCES
def test_distance_per_sample(distance: Callable[[Tensor, Tensor], Tensor]) -> None:
    difference = torch.zeros(4, 13, 8, 8)
    difference[1], difference[2], difference[3] = 0.25, -2, 20
    found = distance(difference, torch.ones(4, 1, 8, 8))
    sizes = torch.tensor([0, 0.25, 2.0, 20.0])
    expected = sizes
    if distance is robust:
        expected = KNEE * torch.log1p(BEND * ((BEND**2 + sizes**2).sqrt() - BEND) / KNEE)
    assert_close(found, expected, rtol=0, atol=1e-3)


def test_what_sets_the_distances_apart() -> None:
    difference = torch.zeros(1, 1, 8, 8)
    difference[..., 0] = 1
    weight = torch.ones_like(difference)
    assert float(pseudo_huber(difference, weight)) == pytest.approx((1 / 8) ** 0.5, abs=1e-3)
    one = BEND * ((BEND**2 + 1) ** 0.5 - BEND)
    assert float(robust(difference, weight)) == pytest.approx(KNEE * np.log1p(one / 8 / KNEE), abs=1e-6)
    assert float(pseudo_huber(0 * difference, weight)) == 0


def test_the_robust_distance_is_square_below_its_bend_and_linear_above() -> None:
    size = torch.tensor([0.1, 0.5, 1.0, 50 * BEND, 51 * BEND])
    found = KNEE * torch.expm1(robust(size.reshape(-1, 1, 1, 1), torch.ones(len(size), 1, 1, 1)) / KNEE)
    assert_close(found[:3], size[:3] ** 2 / 2, rtol=0.016, atol=0)
    assert float(found[4] - found[3]) == pytest.approx(BEND**2, rel=1e-3)


def test_between_images_only_the_ratio_of_losses_counts() -> None:
    sea, town = (torch.full((1, 1, 8, 8), size, requires_grad=True) for size in (0.5, 2.0))
    weight = torch.ones(1, 1, 8, 8)
    (robust(sea, weight) + robust(town, weight)).sum().backward()  # type: ignore[no-untyped-call]
    relative = [float((image.grad * image.detach()).sum()) for image in (sea, town) if image.grad is not None]
    assert relative[1] < 2.5 * relative[0], "sixteen times the square, but hardly more of the gradient"


@DISTANCES
def test_pixels_of_no_weight_are_ignored(distance: Callable[[Tensor, Tensor], Tensor]) -> None:
    difference = torch.randn(2, 13, 8, 8)
    weight = (torch.rand(2, 1, 8, 8) > 0.5).float()
    weight[0, 0, 0, 0] = 0
    before = distance(difference, weight)
    difference[0, :, 0, 0] = 1e3
    assert torch.equal(distance(difference, weight), before)
    difference[0, :, weight[0, 0] == 1] *= 2
    assert distance(difference, weight)[0] > 1.5 * before[0]
    assert torch.isfinite(distance(difference, 0 * weight)).all()


@DISTANCES
def test_distance_does_not_depend_on_the_crop(distance: Callable[[Tensor, Tensor], Tensor]) -> None:
    difference, weight = torch.randn(2, 13, 8, 8), torch.rand(2, 1, 8, 8)
    larger = distance(difference.repeat(1, 1, 3, 3), weight.repeat(1, 1, 3, 3))
    assert_close(larger, distance(difference, weight))


@DISTANCES
def test_a_perfect_estimate_has_a_finite_gradient(distance: Callable[[Tensor, Tensor], Tensor]) -> None:
    difference = torch.zeros(1, 13, 4, 4, requires_grad=True)
    distance(difference, torch.ones(1, 1, 4, 4)).sum().backward()  # type: ignore[no-untyped-call]
    assert difference.grad is not None
    assert torch.isfinite(difference.grad).all()


def test_step_weights() -> None:
    grid = torch.tensor([0.1, 0.2, 0.6, 3.0])
    weights = step_weights(grid)
    assert float(weights.mean()) == pytest.approx(1)
    assert_close(weights * grid.diff(), (weights[0] * grid.diff()[0]).expand(3))


def test_denoising_loss_weighs_noise_levels_alike() -> None:
    sigma = torch.tensor([0.2, 0.5, 1.0, 5.0, 20.0])
    x0, noise = 0.8 * torch.randn(5, 13, 32, 32), torch.randn(5, 13, 32, 32)
    denoiser: Any = EXACT_DENOISER
    losses = denoising_loss(denoiser, x0, NOTHING, sigma, noise, torch.ones_like(x0))
    assert_close(losses, losses.mean().expand(5), rtol=0.05, atol=0)
    quiet = denoising_loss(denoiser, x0, NOTHING, torch.full((5,), 0.004), noise, torch.ones_like(x0))
    assert quiet.max() < 0.1 * losses.min()


def test_what_is_noised_is_the_truth_under_cover_and_the_image_elsewhere() -> None:
    cover = (torch.rand(2, 1, 8, 8) > 0.5).float()
    wisp, x0 = torch.randn(2, 13, 8, 8), torch.randn(2, 13, 8, 8)
    seen: list[Tensor] = []

    class Spy(Stub):
        def __call__(self, x: Tensor, sigma: Tensor, features: None, condition: Condition) -> Tensor:
            seen.append(x)
            return x0

    condition = replace(NOTHING, cover=cover, mean=(1 - cover) * wisp)
    spy: Any = Spy(0, DiffusionConfig(alpha=0.5))
    alpha, sigma = spy.diffusion.alpha, torch.full((2,), 0.25)
    loss = denoising_loss(spy, x0, condition, sigma, torch.zeros_like(x0), torch.ones_like(x0))
    expected = torch.where(cover > 0, x0, (1 + 0.25 * alpha) * wisp)
    assert_close(seen[0], expected)
    assert not loss.any()
    seen.clear()
    distilled(spy, spy, spy, x0, condition)
    clear = (cover == 0).expand_as(x0)
    torch.manual_seed(1)
    high = karras_sigmas(40, DiffusionConfig())[torch.tensor([7, 39])][:, None, None, None]
    noised = wisp + high * (torch.randn(x0.shape) + alpha * wisp)
    assert_close(seen[0][clear], noised[clear])


def distilled(
    student: Any, target: Any, teacher: Any, x0: Tensor, condition: Condition, anchor: float = 0.0
) -> Tensor:
    torch.manual_seed(1)
    grid = karras_sigmas(40, DiffusionConfig())
    index = torch.tensor([6, 38])
    return distillation_loss(
        student, target, teacher, x0, condition, (grid[index], grid[index + 1]), torch.randn(x0.shape),
        torch.ones_like(x0), step_weights(grid)[index], anchor,
    )  # fmt: skip


def test_the_gradient_reaches_the_student_alone(
    tiny_denoiser: Callable[..., Denoiser], patches: Callable[..., PatchInputs]
) -> None:
    student, target, teacher = (tiny_denoiser() for _ in range(3))
    loss = distilled(student, target, teacher, torch.randn(2, 13, 32, 32), Condition.of(patches()), 1.0)
    assert loss.shape == (2,)
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in student.parameters())
    assert all(p.grad is None for frozen in (target, teacher) for p in frozen.parameters())


def test_what_is_refined_is_the_first_estimate_under_cover_and_the_image_elsewhere() -> None:
    cover = (torch.rand(2, 1, 8, 8) > 0.5).float()
    image, first, x0, noise = (torch.randn(2, 13, 8, 8) for _ in range(4))
    seen: list[tuple[Tensor, Tensor]] = []

    class Spy(Stub):
        def __call__(self, x: Tensor, sigma: Tensor, features: None, condition: Condition) -> Tensor:
            seen.append((x, sigma))
            assert torch.is_grad_enabled() == (len(seen) % 2 == 0)
            return first if len(seen) % 2 else x0

    condition = replace(NOTHING, cover=cover, mean=(1 - cover) * image)
    spy: Any = Spy(0, DiffusionConfig(alpha=0.5, sigma_max=20))
    sigma = torch.tensor([0.2, 0.4])
    assert not refinement_loss(spy, x0, condition, sigma, noise, torch.ones_like(x0)).any()
    assert_close(seen[0], (10 * condition.mean, torch.full((2,), 20.0)))
    level = sigma[:, None, None, None]
    assert_close(seen[1], (torch.where(cover > 0, first, (1 + 0.5 * level) * image) + level * noise, sigma))
    worse = refinement_loss(spy, x0 + 1, condition, sigma, noise, torch.ones_like(x0))
    assert_close(worse, robust(torch.ones_like(x0), torch.ones_like(x0)))


def test_nothing_is_left_to_learn_from_a_point_mass() -> None:
    x0 = torch.randn(2, 13, 16, 16)

    @dataclass
    class Known(Stub):
        def __call__(self, x: Tensor, sigma: Tensor, features: None, condition: Condition) -> Tensor:
            return x0

    known = Known(0)
    assert distilled(known, known, known, x0, NOTHING).abs().max() < 1e-6


def test_the_exact_consistency_function_of_the_exact_teacher_is_the_optimum() -> None:
    x0 = 0.8 * torch.randn(2, 13, 16, 16)
    right = distilled(EXACT_CONSISTENCY, EXACT_CONSISTENCY, EXACT_DENOISER, x0, NOTHING)
    for student, target, teacher in (
        (EXACT_DENOISER, EXACT_CONSISTENCY, EXACT_DENOISER),
        (EXACT_CONSISTENCY, EXACT_DENOISER, EXACT_DENOISER),
        (EXACT_CONSISTENCY, EXACT_CONSISTENCY, EXACT_CONSISTENCY),
    ):
        wrong = distilled(student, target, teacher, x0, NOTHING)
        assert (right < 0.05 * wrong).all(), (right, wrong)


def test_the_anchor_pulls_at_large_sigma() -> None:
    x0 = 0.8 * torch.randn(2, 13, 16, 16)
    networks = EXACT_CONSISTENCY, EXACT_CONSISTENCY, EXACT_DENOISER
    each = [distilled(*networks, x0, NOTHING, anchor) for anchor in (0, 1, 2)]
    small, large = each[1] - each[0]
    assert_close(each[2] - each[0], 2 * (each[1] - each[0]), rtol=1e-3, atol=1e-6)
    sigma = 20.0
    torch.manual_seed(1)
    estimate = EXACT_CONSISTENCY(x0 + sigma * torch.randn(x0.shape), torch.full((2,), sigma), None, NOTHING)
    distance = robust(estimate - x0, torch.ones_like(x0))[1]
    assert float(large) == pytest.approx(float(distance) * sigma**2 / (1 + sigma**2), rel=0.01)
    assert small < 1e-3 * large


def test_a_pattern_is_what_repeats_and_nothing_else() -> None:
    weight = torch.ones(3, 1, 64, 64)
    tile = torch.zeros(8, 8)
    tile[::2] = 0.1
    difference = torch.stack(
        [torch.full((13, 64, 64), 0.7), tile.repeat(8, 8).expand(13, -1, -1), torch.zeros(13, 64, 64)]
    )
    difference[2, :, 20:40, 8:40] = 0.5
    flat, woven, patch = pattern(difference, weight)
    assert_close(flat, torch.tensor(0.0))
    assert_close(woven, torch.tensor(0.05**2))
    assert patch < 0.002
    assert not pattern(difference, torch.zeros_like(weight)).any()
