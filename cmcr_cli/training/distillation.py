"""The student (SCCM), distilled from the teacher's averaged weights."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from cmcr_cli.model.consistency import distillation_loss, step_weights
from cmcr_cli.model.diffusion import Denoiser, karras_sigmas
from cmcr_cli.training.loop import LoopConfig, train
from cmcr_cli.training.recipe import Recipe, covered_scores, prepared, start, trainable

RECIPE = Recipe(loop=LoopConfig(images=16_000, learning_rate=1e-4, warmup=1_000, average=0.998))
"""What `cmcr distill` does unless told otherwise."""


def distill(data: Path, folder: Path, recipe: Recipe, teacher_path: Path) -> Path:
    """Distil a student from the denoiser in `teacher_path`. Returns the weights file in `folder`."""
    run = start(data, folder, recipe, teacher_path)
    teacher = trainable(run.weights.denoiser).requires_grad_(False)
    target = trainable(run.weights.denoiser).requires_grad_(False)
    generator = torch.Generator().manual_seed(recipe.loop.seed)
    grid = karras_sigmas(recipe.levels, teacher.diffusion)
    weights = step_weights(grid)

    def loss(network: nn.Module) -> Tensor:
        with torch.no_grad():
            for old, new in zip(target.parameters(), network.parameters(), strict=True):
                old.lerp_(new, 1 - recipe.target)
        x0, condition, weight = prepared(run.batch())
        index = torch.randint(recipe.levels - 1, (len(x0),), generator=generator)
        index[: round(recipe.at_sigma_max * len(x0))] = recipe.levels - 2
        noise = torch.randn(x0.shape, generator=generator)
        each = distillation_loss(
            cast(Denoiser, network),
            target,
            teacher,
            x0,
            condition,
            (grid[index], grid[index + 1]),
            noise,
            weight,
            weights[index],
            recipe.anchor,
        )
        return each.mean()

    def snapshot(average: nn.Module, images: int) -> dict[str, float]:
        run.weights.denoiser.load_state_dict(average.state_dict())
        run.save("student", images)
        return covered_scores(run.weights.denoiser, run.checks)

    average = train(trainable(run.weights.denoiser), loss, snapshot, recipe.loop, folder)
    run.weights.denoiser.load_state_dict(average.state_dict())
    return run.save("student", recipe.loop.images)
