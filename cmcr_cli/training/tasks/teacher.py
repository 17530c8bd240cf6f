"""Training of the teacher: a denoiser for all noise levels, often at the level of the first step."""

from __future__ import annotations

import torch
from torch import Tensor

from cmcr_cli.model.consistency import denoising_loss
from cmcr_cli.model.costs import gflop_per_patch
from cmcr_cli.model.diffusion import Denoiser
from cmcr_cli.training.loop import Task
from cmcr_cli.training.pictures import Panel, true_colour
from cmcr_cli.training.recipe import Recipe
from cmcr_cli.training.run import Run, Training, clouded_checks, crops, prepared
from cmcr_cli.training.samples.held_out import as_batch, covered_scores, restored
from cmcr_cli.training.samples.patch_samples import Sample


def _task(run: Run) -> Task:
    network = run.trainable(run.weights.denoiser)

    def loss(batch: Sample, generator: torch.Generator) -> Tensor:
        x0, condition, weight = prepared(batch)
        sigma = _sigmas(len(x0), run.recipe, generator)
        noise = torch.randn(x0.shape, generator=generator, device=x0.device)
        periodic = run.recipe.objective.weave
        return denoising_loss(network, x0, condition, sigma, noise, weight, periodic).mean()

    return Task(network, loss)


def _sigmas(count: int, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Log-normal noise levels (count,); the first part of them is sigma_max."""
    mean, deviation = recipe.objective.log_sigma
    normal = torch.randn(count, generator=generator, device=generator.device)
    sigma = (mean + deviation * normal).exp()
    sigma[: round(recipe.objective.at_sigma_max * count)] = recipe.diffusion.sigma_max
    return sigma.clamp(2 * recipe.diffusion.sigma_min, recipe.diffusion.sigma_max)


@torch.inference_mode()
def restored_panels(denoiser: Denoiser, check: Sample) -> list[Panel]:
    """Restore a batch for pictures.

    Args:
        denoiser: The denoiser.
        check: A sample.

    Returns:
        Cloudy image, context, 1 step, 4 steps, truth.
    """
    batch = as_batch(check)
    images = [batch.optical, batch.context, *(restored(denoiser, batch, n) for n in (1, 4)), batch.target]
    return true_colour([image[0].numpy() for image in images], batch.target[0].numpy())


def _gflop(denoiser: Denoiser) -> float:
    return gflop_per_patch(denoiser, 1)


TEACHER = Training("teacher", _task, covered_scores, restored_panels, _gflop, crops, clouded_checks)
