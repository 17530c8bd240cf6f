"""PDMSR: progressive denoising via multistep resampling.

One evaluation at sigma_max gives a stable coarse image. Each further step inserts the trusted part of the
image (data consistency), adds ground-locked noise of a smaller sigma, and predicts again. This is the
multistep consistency sampling of Song et al. 2023, algorithm 1, with data consistency.

The first evaluation uses the mean of the noise, not a draw. The network does not see its noisy input at
sigma_max (see `scalings`), so a draw would only be added to the answer, with a std of 0.03 scene units.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cmcr_cli.model.condition import Condition
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig, diffuse
from cmcr_cli.model.network import Features

FIRST, LAST = 0.5, 0.15
"""Noise levels of the second and of the last step, in scene units. They keep the colour of the estimate and
redraw its detail."""


def step_sigmas(steps: int, config: DiffusionConfig) -> list[float]:
    """List the noise levels of a run.

    Args:
        steps: Number of steps, 1 or more.
        config: Constants of the diffusion.

    Returns:
        One level per step, decreasing; the first is sigma_max.
    """
    if steps == 2:
        return [config.sigma_max, (FIRST * LAST) ** 0.5]
    ratio = (LAST / FIRST) ** (1 / max(steps - 2, 1))
    return [config.sigma_max, *(FIRST * ratio**i for i in range(steps - 1))]


def resample(
    denoiser: Denoiser,
    condition: Condition,
    features: Features,
    level: float,
    last: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Take one step.

    Args:
        denoiser: The network.
        condition: Inputs of the denoiser.
        features: Features of `condition`, from `Denoiser.encode`.
        level: Noise level sigma of the step.
        last: Last estimate and the noise to add to it, both (B, 13, H, W); None at the first step.

    Returns:
        The next estimate in scene units, (B, 13, H, W).
    """
    mean, diffusion = condition.mean, denoiser.diffusion
    sigma = torch.full((len(mean),), level, device=mean.device)
    if last is None:
        x = level * diffusion.alpha * mean
    else:
        x = diffuse(condition.pasted(last[0]), sigma, last[1], mean, diffusion)
    result: Tensor = denoiser(x, sigma, features, condition)
    return result


def sample(
    denoiser: Denoiser,
    condition: Condition,
    steps: int,
    noise: Callable[[int], Tensor],
) -> Tensor:
    """Restore patches independently of their neighbours.

    Args:
        denoiser: The network.
        condition: Inputs of the denoiser.
        steps: Number of steps, 1 or more.
        noise: Returns the noise (B, 13, H, W) of a step; called for steps 1 to `steps` - 1.

    Returns:
        The clear image in scene units, (B, 13, H, W).
    """
    features = denoiser.encode(condition)
    first, *others = step_sigmas(steps, denoiser.diffusion)
    estimate = resample(denoiser, condition, features, first)
    for step, level in enumerate(others, start=1):
        estimate = resample(denoiser, condition, features, level, (estimate, noise(step)))
    return condition.finished(estimate)
