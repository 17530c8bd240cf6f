"""Training of the cloud network, on labelled images and on clouds that were added to clear ground."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from cmcr_cli.model.cloud_network import CloudNetwork
from cmcr_cli.model.costs import gflop_of_mask
from cmcr_cli.scene.masks.mask_codes import CLEAR, SHADOW
from cmcr_cli.training.data.library import Library
from cmcr_cli.training.loop import Batches, Task
from cmcr_cli.training.pictures import Panel, grey, true_colour
from cmcr_cli.training.recipe import Recipe
from cmcr_cli.training.run import Run, Training
from cmcr_cli.training.samples.mask_library import held_out, mask_library
from cmcr_cli.training.samples.mask_samples import MaskImage, MaskSamples, mask_batches
from cmcr_cli.training.samples.mask_views import MaskSample, views

SHADE = 1.5
"""Additional weight of shadow, which is rare and conspicuous where it is missed."""

CHECKS = 24
"""Number of validation images."""


def _task(run: Run) -> Task:
    network = run.trainable(run.weights.clouds)

    def loss(batch: MaskSample, generator: torch.Generator) -> Tensor:
        batch = views(batch, run.recipe.mask, generator)
        seen = batch.optical.contiguous(memory_format=torch.channels_last)
        logits = network(seen, batch.present, batch.sun)
        return mask_loss(logits.float(), batch.classes, batch.weight)

    return Task(network, loss)


def mask_loss(logits: Tensor, classes: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross-entropy.

    Args:
        logits: (B, 4, h, w).
        classes: Share of each class per cell (B, 4, h, w).
        weight: Weight of each cell (B, h, w).

    Returns:
        Loss, a scalar.
    """
    shares = classes / classes.sum(dim=1, keepdim=True).clamp(min=1e-3)
    weight = weight * (1 + SHADE * shares[:, SHADOW])
    entropy = -(shares * F.log_softmax(logits, dim=1)).sum(dim=1)
    return (entropy * weight).sum() / weight.sum().clamp(min=1)


def _batches(run: Run) -> Batches:
    recipe, process, loop = run.recipe, run.process, run.recipe.loop
    count = max(loop.batch // process.world_size // recipe.mask.views, 1)
    library = mask_library(run.data, run.library, recipe.data.fold)
    samples = MaskSamples(library, recipe.mask, loop.crop, count, loop.seed, process.rank)

    def batches(first: int) -> Iterator[MaskSample]:
        for batch in mask_batches(samples, recipe.data.workers, first):
            yield MaskSample(
                **{f.name: getattr(batch, f.name).to(process.device) for f in fields(MaskSample)}
            )

    return batches


def _checks(data: Path, library: Library, recipe: Recipe) -> list[MaskImage]:
    return held_out(data, library, recipe.data.fold, CHECKS)


def _probability(network: CloudNetwork, image: MaskImage) -> Tensor:
    """Probability of each class (4, h, w); the image is cropped to whole squares of 160 m."""
    device = next(network.parameters()).device
    height, width = (size // 8 * 8 for size in image.weight.shape)
    cells = torch.from_numpy(image.cells[None, :, :height, :width]).to(device)
    present = torch.from_numpy(image.present[None]).float().to(device)
    return torch.softmax(network(cells, present, cells.new_zeros(1, 4))[0], dim=0).float().cpu()


@torch.inference_mode()
def _scores(network: CloudNetwork, checks: list[MaskImage]) -> dict[str, float]:
    """IoU of covered against clear, recall of shadow, and share of clear cells that are marked as covered."""
    network.eval()
    hit = union = false = clear = found = shadow = 0.0
    for image in checks:
        cover = 1 - _probability(network, image)[CLEAR] > 0.5
        height, width = cover.shape
        classes = torch.from_numpy(image.classes[:, :height, :width]).float().argmax(dim=0)
        known = torch.from_numpy(image.weight[:height, :width]) > 0.5
        truth, dark = known & (classes != CLEAR), known & (classes == SHADOW)
        hit += float((cover & truth).sum())
        union += float(((cover & known) | truth).sum())
        false += float((cover & known & ~truth).sum())
        clear += float((known & ~truth).sum())
        found += float((cover & dark).sum())
        shadow += float(dark.sum())
    return {
        "iou": hit / max(union, 1),
        "shadow_recall": found / max(shadow, 1),
        "false_alarms": false / max(clear, 1),
    }


@torch.inference_mode()
def _panels(network: CloudNetwork, check: MaskImage) -> list[Panel]:
    """Pictures: image, probability of cloud, probability of shadow, true cover."""
    network.eval()
    cloud = _probability(network, check)
    height, width = cloud.shape[1:]
    image = check.cells[:, :height, :width]
    covered = 1 - check.classes[CLEAR, :height, :width].astype("float32")
    maps = (cloud[1] + cloud[2]).numpy(), cloud[SHADOW].numpy(), covered
    return [*true_colour([image], image), *map(grey, maps)]


CLOUDS = Training("clouds", _task, _scores, _panels, gflop_of_mask, _batches, _checks)
"""Training of the cloud network."""
