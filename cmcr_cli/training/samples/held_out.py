"""Validation samples: clear images under real clouds of other scenes."""

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
from cmcr_cli.training.data.images import Array, Pair, cirrus_subtracted, clear_of, has_cloud
from cmcr_cli.training.data.library import Library, load_pairs
from cmcr_cli.training.data.sen12mscr import SplitRule
from cmcr_cli.training.data.watched import watched
from cmcr_cli.training.metrics import covered_only
from cmcr_cli.training.samples.patch_samples import Clouded, Sample, assemble, patch_inputs
from cmcr_cli.training.samples.synthesis import cover_mask, transplant

MASKS = 4
"""Number of clouds for each clear image."""

IMAGES = 16
"""Number of clear images that validate a training, evenly selected from the split."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Check:
    """An image with added clouds, whose truth is known.

    Attributes:
        name: Name for tables.
        scene: Image and truth.
        cover: Cover (H, W), as for `assemble`.
    """

    name: str
    scene: Clouded
    cover: Array

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Pixels to restore (H, W)."""
        return self.cover > 0

    def sample(self, *, radar: bool = True, context: bool = True) -> Sample:
        """Make a sample.

        Args:
            radar: Whether the sample includes the radar.
            context: Whether the sample includes the context.

        Returns:
            The sample; whatever it leaves out is as in a scene that lacks it.
        """
        ground = self.scene.ground
        known = ground.radar if radar else None
        return assemble(self.scene, self.cover, ground.present, known, context=context)


def evenly(items: Sequence[Item], count: int | None) -> list[Item]:
    """Select items evenly, in their order.

    Args:
        items: The items.
        count: How many; None: all.

    Returns:
        The items, no more than there are.
    """
    if count is None or count >= len(items):
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]


def transplanted(truths: Iterable[tuple[str, Pair]], clouds: Sequence[Pair]) -> Iterator[Check]:
    """Add real clouds to clear images; the same in every run.

    A clear image under thin cirrus is not a truth. The other date of its pair replaces it, or it is skipped.

    Args:
        truths: Names, and pairs whose clear images are used.
        clouds: Pairs from which the clouds are extracted.

    Yields:
        MASKS images with clouds for each clear image.
    """
    rng = np.random.default_rng(20_251_114)
    for name, pair in truths:
        truth = cirrus_subtracted(pair)
        if truth.lifted:
            continue
        ground = clear_of(truth)
        cloudy = (int(i) for i in rng.permutation(len(clouds)) if has_cloud(clouds[int(i)]))
        for index in itertools.islice(cloudy, MASKS):
            scene = Clouded(ground, *transplant(ground.optical, clouds[index], rng), same_date=True)
            cover = cover_mask(scene.opacity, scene.shadow, rng).astype(np.float32)
            yield Check(f"{name} cloud {index}", scene, cover)


def validation_samples(data: Path, library: Library, split_rule: SplitRule = "exact") -> list[Sample]:
    """Make validation samples from the val split with clouds of the training pairs; the same in every run.

    Args:
        data: Folder of training data, or the word `simulated`.
        library: Training images.
        split_rule: How SEN12MS-CR is split.

    Returns:
        The samples.

    Raises:
        InputError: The val split is empty.
    """
    pairs = load_pairs(data, "val", split_rule)
    names = evenly(list(pairs), IMAGES)
    truths = ((name, pairs[name]) for name in watched(names, "images for validation", len(names)))
    samples = [check.sample() for check in transplanted(truths, library.pairs)]
    if not samples:
        raise InputError(
            f"{data}: found no image of the split val, which validates the training; expected a row "
            "with `val` in triplets/index.csv, or a validation ROI of SEN12MS-CR"
        )
    return samples


def as_batch(one: Sample) -> Sample:
    """Convert a sample to what networks take.

    Args:
        one: The sample, float16.

    Returns:
        A batch of one, float32.
    """
    return Sample(**{name: getattr(one, name)[None].float() for name in Sample.__slots__})


def restored(denoiser: Denoiser, batch: Sample, steps: int, seed: int = 0) -> Tensor:
    """Restore a batch, without compositing.

    Args:
        denoiser: The network.
        batch: Batch of samples.
        steps: Number of steps.
        seed: Seed of the noise.

    Returns:
        Reflectance (B, 13, H, W), on the CPU.
    """
    device = next(denoiser.parameters()).device
    seen = patch_inputs(batch)
    inputs = PatchInputs(*(getattr(seen, name).to(device) for name in PatchInputs.__slots__))
    generator = torch.Generator().manual_seed(seed)

    def noise(step: int) -> Tensor:
        # Drawn on the CPU, so that it is the same on every device.
        return torch.randn(batch.optical.shape, generator=generator).to(device)

    z = sample(denoiser, Condition.of(inputs), steps, noise)
    return to_reflectance(z, inputs).cpu()


@torch.inference_mode()
def covered_scores(denoiser: Denoiser, checks: list[Sample]) -> dict[str, float]:
    """Mean PSNR on covered pixels.

    Args:
        denoiser: The network.
        checks: Validation samples.

    Returns:
        PSNR in dB of the context alone, 1 step and 4 steps, by name.
    """
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
