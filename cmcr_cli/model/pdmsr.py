"""PDMSR: progressive denoising via multistep resampling.

One evaluation at sigma_max gives a stable coarse image; each further step pastes what is known, re-noises
to a smaller sigma with ground-locked noise and predicts again (multistep consistency sampling, Song et al.
2023, algorithm 1, with data consistency).
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
    noise: Tensor,
    estimate: Tensor | None,
) -> Tensor:
    """One step: the next estimate (B, 13, H, W), from the last one or, at the first step, from None.

    `features` are what the denoiser's encoder made of `condition`, `level` is sigma, `noise` (B, 13, H, W).
    """
    start = torch.zeros_like(noise) if estimate is None else condition.pasted(estimate)
    sigma = torch.full((len(noise),), level, device=noise.device)
    x = diffuse(start, sigma, noise, condition.mean, denoiser.diffusion)
    result: Tensor = denoiser(x, sigma, features, condition)
    return result


def sample(
    denoiser: Denoiser,
    condition: Condition,
    steps: int,
    noise: Callable[[int], Tensor],
) -> Tensor:
    """The clear image in scene units (B, 13, H, W) after `steps` evaluations of patches on their own.

    `noise(step)` gives (B, 13, H, W). The encoder runs once, whatever the number of steps.
    """
    features = denoiser.encode(condition)
    first, *others = step_sigmas(steps, denoiser.diffusion)
    estimate = resample(denoiser, condition, features, first, noise(0), None)
    for step, level in enumerate(others, start=1):
        estimate = resample(denoiser, condition, features, level, noise(step), estimate)
    return condition.finished(estimate)
