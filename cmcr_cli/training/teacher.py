"""The teacher (SCSBD): a denoiser trained over all noise levels, and often at that of the first step."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from cmcr_cli.model.consistency import denoising_loss
from cmcr_cli.model.diffusion import Denoiser
from cmcr_cli.training.loop import LoopConfig, train
from cmcr_cli.training.recipe import Recipe, covered_scores, prepared, start, trainable

RECIPE = Recipe(loop=LoopConfig(images=160_000, learning_rate=3e-4, average=0.998))
"""What `cmcr train teacher` does unless told otherwise."""


def train_teacher(data: Path, folder: Path, recipe: Recipe, init: Path | None) -> Path:
    """Train the denoiser of `init` (or a fresh one) on `data`; the cloud network is kept.

    Returns the weights file in `folder`, written at every snapshot.
    """
    run = start(data, folder, recipe, init)
    generator = torch.Generator().manual_seed(recipe.loop.seed)

    def loss(network: nn.Module) -> Tensor:
        x0, condition, weight = prepared(run.batch())
        sigma = _sigmas(len(x0), recipe, generator)
        noise = torch.randn(x0.shape, generator=generator)
        return denoising_loss(cast(Denoiser, network), x0, condition, sigma, noise, weight).mean()

    def snapshot(average: nn.Module, images: int) -> dict[str, float]:
        run.weights.denoiser.load_state_dict(average.state_dict())
        run.save("teacher", images)
        return covered_scores(run.weights.denoiser, run.checks)

    average = train(trainable(run.weights.denoiser), loss, snapshot, recipe.loop, folder)
    run.weights.denoiser.load_state_dict(average.state_dict())
    return run.save("teacher", recipe.loop.images)


def _sigmas(count: int, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Log-normal noise levels, the first share of them at sigma_max."""
    mean, deviation = recipe.log_sigma
    sigma = (mean + deviation * torch.randn(count, generator=generator)).exp()
    sigma[: round(recipe.at_sigma_max * count)] = recipe.diffusion.sigma_max
    return sigma.clamp(2 * recipe.diffusion.sigma_min, recipe.diffusion.sigma_max)
