"""Training of the cloud-and-shadow network, on transplanted, procedural and real clouds."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmcr_cli.model.clouds import THRESHOLD, CloudNetwork, cloud_loss
from cmcr_cli.training.loop import LoopConfig, train
from cmcr_cli.training.recipe import Recipe, as_batch, start, trainable
from cmcr_cli.training.samples import Mix, Sample

RECIPE = Recipe(
    loop=LoopConfig(images=160_000, learning_rate=1e-3, average=0.998),
    mix=Mix(
        simulated=0.25,
        gain=(0.65, 1.3),
        cloudless=0.12,
        flooded=0.25,
        other_date=0.0,  # of a real pair nobody knows where the shadows are
        no_radar=1.0,
        no_context=1.0,
    ),
)
"""What `cmcr train clouds` does unless told otherwise."""

FAINT, SEEN = 0.05, 0.12
"""Opacity or shadow below FAINT is clear, above SEEN covered; between, nothing is learnt."""

MISSED = 2.5
"""Weight of a covered pixel: a cloud that is missed stays in the image, a false one is only restored."""


def train_clouds(data: Path, folder: Path, recipe: Recipe, init: Path | None) -> Path:
    """Train the cloud network of `init` (or a fresh one) on `data`; the denoiser is kept.

    Returns the weights file in `folder`, written at every snapshot.
    """
    run = start(data, folder, recipe, init)

    def loss(network: nn.Module) -> Tensor:
        batch = run.batch()
        seen = F.avg_pool2d(batch.optical, 2).contiguous(memory_format=torch.channels_last)
        return cloud_loss(network(seen, batch.present), *_truth(batch))

    def snapshot(average: nn.Module, images: int) -> dict[str, float]:
        run.weights.clouds.load_state_dict(average.state_dict())
        run.save("clouds", images)
        return _scores(run.weights.clouds, run.checks)

    average = train(trainable(run.weights.clouds), loss, snapshot, recipe.loop, folder)
    run.weights.clouds.load_state_dict(average.state_dict())
    return run.save("clouds", recipe.loop.images)


def _truth(batch: Sample) -> tuple[Tensor, Tensor]:
    """Classes (B, h, w) at 20 m and the weight of each pixel."""
    opacity, shadow = (F.avg_pool2d(plane, 2)[:, 0] for plane in (batch.opacity, batch.shadow))
    classes = torch.zeros_like(opacity, dtype=torch.long)
    classes[shadow > SEEN] = 2
    classes[opacity > SEEN] = 1
    strongest = torch.maximum(opacity, shadow)
    weight = ((strongest < FAINT) | (strongest > SEEN)).float()
    return classes, weight * torch.where(classes > 0, MISSED, 1.0)


@torch.inference_mode()
def _scores(network: CloudNetwork, checks: list[Sample]) -> dict[str, float]:
    """Intersection over union of covered against clear, and the share of clear pixels called covered."""
    network.eval()
    hit = union = false = clear = 0.0
    for one in checks:
        batch = as_batch(one)
        cover = network.cover(F.avg_pool2d(batch.optical, 2), batch.present) > THRESHOLD
        classes, weight = _truth(batch)
        truth, counted = classes > 0, weight > 0
        hit += float((cover & truth & counted).sum())
        union += float(((cover | truth) & counted).sum())
        false += float((cover & ~truth & counted).sum())
        clear += float((~truth & counted).sum())
    return {"iou": hit / max(union, 1), "false_alarms": false / max(clear, 1)}
