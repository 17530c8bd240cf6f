"""The student (SCCM), distilled from the teacher's averaged weights."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from cmcr_cli.model.consistency import distillation_loss, step_weights
from cmcr_cli.model.diffusion import karras_sigmas
from cmcr_cli.training.loop import Task
from cmcr_cli.training.run import Run, prepared
from cmcr_cli.training.samples.patch_samples import Sample
from cmcr_cli.training.tasks.teacher import TEACHER


def _task(run: Run) -> Task:
    """The student begins as its teacher, and so does the target, which follows the student."""
    objective, device = run.recipe.objective, run.process.device
    student = run.trainable(run.weights.denoiser)
    teacher = run.trainable(run.weights.denoiser).requires_grad_(False)
    target = run.trainable(run.weights.denoiser).requires_grad_(False)
    grid = karras_sigmas(objective.levels, teacher.diffusion).to(device)
    weights = step_weights(grid)

    def loss(batch: Sample, generator: torch.Generator) -> Tensor:
        with torch.no_grad():
            for old, new in zip(target.parameters(), student.parameters(), strict=True):
                old.lerp_(new, 1 - objective.target)
        x0, condition, weight = prepared(batch)
        index = torch.randint(objective.levels - 1, (len(x0),), generator=generator, device=device)
        index[: round(objective.at_sigma_max * len(x0))] = objective.levels - 2
        noise = torch.randn(x0.shape, generator=generator, device=device)
        each = distillation_loss(
            student,
            target,
            teacher,
            x0,
            condition,
            (grid[index], grid[index + 1]),
            noise,
            weight,
            weights[index],
            objective.anchor,
            objective.weave,
        )
        return each.mean()

    return Task(student, loss, {"target": target})


STUDENT = replace(TEACHER, name="student", task=_task)
