"""PDMSR: progressive denoising via multistep resampling.

One evaluation at sigma_max gives a stable coarse image; each further step pastes what is known, re-noises
to a smaller sigma with ground-locked noise and predicts again (multistep consistency sampling, Song et al.
2023, algorithm 1, with data consistency).

The first evaluation takes the mean of the noise and not a draw: the network is not shown its input there
(`scalings`), so a draw would only be added to the answer, at 0.03 spreads.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cmcr_cli.model.condition import Condition
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig, diffuse
from cmcr_cli.model.network import Features

FIRST, LAST = 0.5, 0.15
"""Noise of the second and of the last step, in spreads of the scene: colour is inherited, detail drawn."""


def step_sigmas(steps: int, config: DiffusionConfig) -> list[float]:
    """Decreasing noise levels, one per step; the first is always sigma_max."""
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
    """One step: the next estimate (B, 13, H, W).

    `features` are what the denoiser's encoder made of `condition`, `level` is sigma. `last` is the last
    estimate and the noise to add to it, both (B, 13, H, W); None at the first step.
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
    """The clear image in scene units (B, 13, H, W) after `steps` evaluations of patches on their own.

    `noise(step)` gives (B, 13, H, W) for every step but the first, which is 0. The encoder runs once.
    """
    features = denoiser.encode(condition)
    first, *others = step_sigmas(steps, denoiser.diffusion)
    estimate = resample(denoiser, condition, features, first)
    for step, level in enumerate(others, start=1):
        estimate = resample(denoiser, condition, features, level, (estimate, noise(step)))
    return condition.finished(estimate)
