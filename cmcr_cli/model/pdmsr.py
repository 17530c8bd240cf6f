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
    known: Tensor,
    cover: Tensor,
) -> Tensor:
    """One step: the next estimate (B, 13, H, W), from the last one or, at the first step, from None.

    `features` are what the denoiser's encoder made of `condition`, `level` is sigma, `noise` (B, 13, H, W).
    `known` is the observation in scene units, trusted by 1 - `cover` (B, 1, H, W).
    """
    start = torch.zeros_like(known) if estimate is None else torch.lerp(known, estimate, cover)
    sigma = torch.full((len(known),), level, device=known.device)
    x = diffuse(start, sigma, noise, condition.mean, denoiser.diffusion)
    result: Tensor = denoiser(x, sigma, features, condition)
    return result


def sample(
    denoiser: Denoiser,
    condition: Condition,
    steps: int,
    noise: Callable[[int], Tensor],
    known: Tensor,
    cover: Tensor,
) -> Tensor:
    """The clear image in scene units (B, 13, H, W) after `steps` evaluations of patches on their own.

    `noise(step)` gives (B, 13, H, W); the other arguments are those of `resample`. The encoder runs once,
    whatever the number of steps.
    """
    features = denoiser.encode(condition)
    levels = step_sigmas(steps, denoiser.diffusion)
    estimate = None
    for step, level in enumerate(levels):
        estimate = resample(denoiser, condition, features, level, noise(step), estimate, known, cover)
    return torch.zeros_like(known) if estimate is None else estimate
