"""Distillation of the student from the averaged weights of the teacher."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from cmcr_cli.model.consistency import distillation_loss, refinement_loss, step_weights
from cmcr_cli.model.diffusion import karras_sigmas
from cmcr_cli.model.pdmsr import FIRST, LAST
from cmcr_cli.training.loop import Task
from cmcr_cli.training.run import Run, prepared
from cmcr_cli.training.samples.patch_samples import Sample
from cmcr_cli.training.tasks.teacher import TEACHER


def _task(run: Run) -> Task:
    """Student and target start as copies of the teacher; the target is a moving average of the student."""
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
        if objective.refined:
            share = torch.rand(len(x0), generator=generator, device=device)
            noise = torch.randn(x0.shape, generator=generator, device=device)
            sigma = LAST * (FIRST / LAST) ** share
            each += objective.refined * refinement_loss(student, x0, condition, sigma, noise, weight)
        return each.mean()

    return Task(student, loss, {"target": target})


STUDENT = replace(TEACHER, name="student", task=_task)
