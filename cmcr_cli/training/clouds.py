"""Training of the cloud-and-shadow network, on transplanted, procedural and real clouds."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from cmcr_cli.model.clouds import THRESHOLD, CloudNetwork, cloud_loss
from cmcr_cli.model.flops import gflop_of_mask
from cmcr_cli.training.loop import Task
from cmcr_cli.training.pictures import Panel, grey, true_colour
from cmcr_cli.training.run import Run, Training
from cmcr_cli.training.samples import Sample
from cmcr_cli.training.validation import as_batch

FAINT, SEEN = 0.02, 0.05
"""Opacity or shadow below FAINT is clear, above SEEN covered; between, nothing is learnt."""

MISSED = 2.5
"""Weight of a covered pixel: a cloud that is missed stays in the image, a false one is only restored."""


def _task(run: Run) -> Task:
    network = run.trainable(run.weights.clouds)

    def loss(batch: Sample, generator: torch.Generator) -> Tensor:
        seen = F.avg_pool2d(batch.optical, 2).contiguous(memory_format=torch.channels_last)
        return cloud_loss(network(seen, batch.present), *_truth(batch))

    return Task(network, loss)


def _truth(batch: Sample) -> tuple[Tensor, Tensor]:
    """Classes (B, h, w) at 20 m and the weight of each pixel."""
    opacity, shadow = (F.avg_pool2d(plane, 2)[:, 0] for plane in (batch.opacity, batch.shadow))
    classes = torch.zeros_like(opacity, dtype=torch.long)
    classes[shadow > SEEN] = 2
    classes[opacity > SEEN] = 1
    strongest = torch.maximum(opacity, shadow)
    weight = ((strongest < FAINT) | (strongest > SEEN)).float()
    return classes, weight * torch.where(classes > 0, MISSED, 1.0)


def _cover(network: CloudNetwork, batch: Sample) -> Tensor:
    """Probability of cloud or shadow at 20 m, (B, h, w) on the CPU."""
    device = next(network.parameters()).device
    cover = network.cover(F.avg_pool2d(batch.optical, 2).to(device), batch.present.to(device))
    return cover.float().cpu()


@torch.inference_mode()
def _scores(network: CloudNetwork, checks: list[Sample]) -> dict[str, float]:
    """Intersection over union of covered against clear, and the share of clear pixels called covered."""
    network.eval()
    hit = union = false = clear = 0.0
    for one in checks:
        batch = as_batch(one)
        cover = _cover(network, batch) > THRESHOLD
        classes, weight = _truth(batch)
        truth, counted = classes > 0, weight > 0
        hit += float((cover & truth & counted).sum())
        union += float(((cover | truth) & counted).sum())
        false += float((cover & ~truth & counted).sum())
        clear += float((~truth & counted).sum())
    return {"iou": hit / max(union, 1), "false_alarms": false / max(clear, 1)}


@torch.inference_mode()
def _panels(network: CloudNetwork, check: Sample) -> list[Panel]:
    """Image, probability of cloud or shadow, what of both there is."""
    batch = as_batch(check)
    image = batch.optical[0].numpy()
    cover = F.interpolate(_cover(network, batch)[:, None], scale_factor=2.0)[0, 0]
    truth = torch.maximum(batch.opacity, batch.shadow)[0, 0]
    return [*true_colour([image], batch.target[0].numpy()), grey(cover.numpy()), grey(truth.numpy())]


CLOUDS = Training("clouds", _task, _scores, _panels, gflop_of_mask)
