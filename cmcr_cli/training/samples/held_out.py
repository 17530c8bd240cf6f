"""What trainings and evaluations measure on: clear images under real clouds of other scenes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmcr_cli.errors import InputError
from cmcr_cli.model.condition import Condition, PatchInputs, to_reflectance
from cmcr_cli.model.diffusion import Denoiser
from cmcr_cli.model.pdmsr import sample
from cmcr_cli.training.data.images import Array, Pair, clear_of, has_cloud, unveiled
from cmcr_cli.training.data.library import Library, load_pairs
from cmcr_cli.training.data.sen12mscr import SplitRule
from cmcr_cli.training.metrics import covered_only
from cmcr_cli.training.samples.patch_samples import Clouded, Sample, assemble, patch_inputs
from cmcr_cli.training.samples.synthesis import cover_mask, transplant

MASKS = 4
"""Clouds under which each clear image is seen."""

IMAGES = 16
"""Clear images that a training measures itself on, evenly spread over the split if that has more."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Check:
    """A clouded image whose truth is known, and the cover (H, W) that it is given, as for `assemble`."""

    name: str
    scene: Clouded
    cover: Array

    @property
    def covered(self) -> NDArray[np.bool_]:
        """What is to be restored (H, W)."""
        return self.cover > 0

    def sample(self, *, radar: bool = True, context: bool = True) -> Sample:
        """What the network is given, all of it or without the radar or the context."""
        ground = self.scene.ground
        known = ground.radar if radar else None
        return assemble(self.scene, self.cover, ground.present, known, context=context)


def evenly(items: Sequence[Item], count: int | None) -> list[Item]:
    """`count` of the items in their order, evenly spread, or all of them if there are no more."""
    if count is None or count >= len(items):
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]


def transplanted(truths: Iterable[tuple[str, Pair]], clouds: Sequence[Pair]) -> Iterator[Check]:
    """The clear image of every pair in `truths` under MASKS of the `clouds`: the same in every run.

    A clear image under a veil of thin cirrus is no truth; the pair's other date takes its place or it is
    left out.
    """
    rng = np.random.default_rng(20_251_114)
    for name, pair in truths:
        truth = unveiled(pair)
        if truth.lifted:
            continue
        ground = clear_of(truth)
        cloudy = (int(i) for i in rng.permutation(len(clouds)) if has_cloud(clouds[int(i)]))
        for index in itertools.islice(cloudy, MASKS):
            scene = Clouded(ground, *transplant(ground.optical, clouds[index], rng), same_date=True)
            cover = cover_mask(scene.opacity, scene.shadow, rng).astype(np.float32)
            yield Check(f"{name} cloud {index}", scene, cover)


def validation_samples(data: Path, library: Library, split_rule: SplitRule = "exact") -> list[Sample]:
    """Clear images of the val split of `data` under clouds of the training pairs: the same in every run.

    Raises InputError when there are none.
    """
    pairs = load_pairs(data, "val", split_rule)
    truths = ((name, pairs[name]) for name in evenly(list(pairs), IMAGES))
    samples = [check.sample() for check in transplanted(truths, library.pairs)]
    if not samples:
        raise InputError(
            f"{data}: found no image of the split val, which the training measures itself on; expected a row "
            "with `val` in triplets/index.csv, or a ROI of SEN12MS-CR that is for validation"
        )
    return samples


def as_batch(one: Sample) -> Sample:
    """A single sample as a batch of one, float32."""
    return Sample(**{name: getattr(one, name)[None].float() for name in Sample.__slots__})


def restored(denoiser: Denoiser, batch: Sample, steps: int, seed: int = 0) -> Tensor:
    """The denoiser's image (B, 13, H, W) in reflectance for a batch, un-composited, on the CPU."""
    device = next(denoiser.parameters()).device
    seen = patch_inputs(batch)
    inputs = PatchInputs(*(getattr(seen, name).to(device) for name in PatchInputs.__slots__))
    generator = torch.Generator().manual_seed(seed)

    def noise(step: int) -> Tensor:
        # drawn on the CPU, so that it is the same on every device
        return torch.randn(batch.optical.shape, generator=generator).to(device)

    z = sample(denoiser, Condition.of(inputs), steps, noise)
    return to_reflectance(z, inputs).cpu()


@torch.inference_mode()
def covered_scores(denoiser: Denoiser, checks: list[Sample]) -> dict[str, float]:
    """Mean PSNR (dB) on covered pixels at 1 and 4 steps, beside that of the context alone."""
    denoiser.eval()
    rows = []
    for one in checks:
        batch = as_batch(one)
        where = batch.cover[0, 0].numpy() > 0
        images = [batch.context, restored(denoiser, batch, 1), restored(denoiser, batch, 4)]
        target = batch.target[0].numpy()
        rows.append([covered_only(image[0].numpy(), target, where)["psnr"] for image in images])
    context, one_step, four_steps = np.mean(rows, axis=0)
    return {"context_db": float(context), "steps1_db": float(one_step), "steps4_db": float(four_steps)}
