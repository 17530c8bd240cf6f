"""Scores of restored images and baselines, image by image."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cmcr_cli.evaluation.cloud_scores import SEEN, THICK, THIN, find_mask
from cmcr_cli.model.costs import PATCH, gflop_per_patch
from cmcr_cli.model.weights import Weights
from cmcr_cli.removal.restore.composite import match_offsets
from cmcr_cli.removal.restore.patch_inputs import COVER
from cmcr_cli.removal.survey.cloud_map import CELL, CloudMap, treatment
from cmcr_cli.scene.masks.mask_codes import CloudClass
from cmcr_cli.training.data.images import Array, ClearImage, Pair, clear_of
from cmcr_cli.training.metrics import covered_only, detail, scores
from cmcr_cli.training.samples.held_out import Check, as_batch, restored
from cmcr_cli.training.samples.patch_samples import Clouded
from cmcr_cli.training.samples.synthesis import draw_haze

Mask = NDArray[np.bool_]
Scores = dict[str, float]

CONTEXT = "context alone"

SAMPLED_STEPS = 4
"""Steps of each sample of a mean of samples."""

HAZES = 2
"""Number of layers of thin cirrus or haze for each clear image."""

REGIONS = ("thin", "thick", "shadow")
"""Kinds of cover that are scored separately: thin cloud, thick cloud, and shadow without cloud."""

LEAST = 256
"""Smallest number of pixels for a separate score."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Setting of a comparison.

    Attributes:
        weights: The networks.
        colour: Mean reflectance of clear training images (13,).
        steps: Numbers of steps.
        samples: Number of samples in a mean.
        gflop: GFLOP per patch of 256 x 256 px, by row.
    """

    weights: Weights
    colour: Array
    steps: tuple[int, ...]
    samples: int
    gflop: dict[str, float]

    @classmethod
    def of(cls, weights: Weights, colour: Array, steps: tuple[int, ...], samples: int) -> Comparison:
        """Make a setting, and count the GFLOP of every row that runs the network.

        Args:
            weights: The networks.
            colour: Mean reflectance of clear training images (13,).
            steps: Numbers of steps that are compared.
            samples: Number of samples in a mean; 1: there is no such row.

        Returns:
            The setting.
        """
        gflop = {label(count): gflop_per_patch(weights.denoiser, count) for count in steps}
        if samples > 1:
            gflop[mean_label(samples)] = samples * gflop_per_patch(weights.denoiser, SAMPLED_STEPS)
        return cls(weights, colour, steps, samples, gflop)


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of one image.

    Attributes:
        image: Name.
        cover: Share of the image that is covered, 0 to 1.
        rows: Scores by row of the table.
    """

    image: str
    cover: float
    rows: dict[str, Scores]


def label(steps: int) -> str:
    """Name the row of a table.

    Args:
        steps: Number of steps.

    Returns:
        Such as `1 step` or `4 steps`.
    """
    return "1 step" if steps == 1 else f"{steps} steps"


def mean_label(samples: int) -> str:
    """Name the row of a mean of samples.

    Args:
        samples: Number of samples.

    Returns:
        The name, with the number of steps of each sample.
    """
    return f"mean of {samples} samples, {label(SAMPLED_STEPS)}"


def other_date(pairs: Iterable[tuple[str, Pair]], weights: Weights) -> Iterator[Check]:
    """Make samples of two dates of one place (protocol A): the clear one is not exactly what was covered.

    Args:
        pairs: Names and pairs.
        weights: Of which the cloud network finds what is covered.

    Yields:
        Samples with the clear date as truth.
    """
    for name, pair in pairs:
        clear = np.zeros(pair.clear.shape[1:], np.float32)
        yield _found(name, clear_of(pair), pair.cloudy, clear, weights, same_date=False)


def under_haze(pairs: Iterable[tuple[str, Pair]], weights: Weights) -> Iterator[Check]:
    """Make samples of clear images under cirrus or haze, the same in every run.

    Args:
        pairs: Names and pairs, of which the clear date is taken.
        weights: Of which the cloud network finds what is covered.

    Yields:
        HAZES samples for each image.
    """
    rng = np.random.default_rng(1375)
    for name, pair in pairs:
        ground = clear_of(pair)
        for index in range(HAZES):
            haze = draw_haze(ground.optical.shape[1:], rng)
            image = haze.over(ground.optical)
            yield _found(f"{name} haze {index}", ground, image, haze.share, weights, same_date=True)


def _found(
    name: str, ground: ClearImage, seen: Array, opacity: Array, weights: Weights, *, same_date: bool
) -> Check:
    cover = found_cover(weights, seen, ground.present)
    return Check(name, Clouded(ground, seen, opacity, np.zeros_like(opacity), same_date), cover)


def found_cover(weights: Weights, seen: Array, present: Mask) -> Array:
    """Find clouds and shadows in an image with the cloud network.

    Args:
        weights: The networks.
        seen: Reflectance (13, H, W).
        present: Which bands there are (13,).

    Returns:
        Cover (H, W), as `assemble` takes it.
    """
    cells = treatment(*find_mask(weights.clouds, seen, present))
    return COVER[cells].repeat(CELL, axis=0).repeat(CELL, axis=1)


@torch.inference_mode()
def whole_image(check: Check, setting: Comparison) -> Scored:
    """Score all pixels: PSNR, SSIM, SAM and MAE, before compositing, and of the composite.

    Args:
        check: Image with truth.
        setting: What is compared.

    Returns:
        The scores, a row for each baseline and number of steps.
    """
    target = check.scene.ground.optical
    images, seconds = _images(check, setting)
    first = label(setting.steps[0])
    images[f"composite, {first}"] = _composite(images[first], check)
    rows = {name: scores(image, target) | _taken(seconds, name) for name, image in images.items()}
    return Scored(check.name, float(check.covered.mean()), rows)


@torch.inference_mode()
def covered_pixels(check: Check, setting: Comparison) -> Scored:
    """Score covered pixels: PSNR, SAM and MAE, PSNR by kind of cover, and detail.

    For the first number of steps there are also rows without radar and without context.

    Args:
        check: Image with truth.
        setting: What is compared.

    Returns:
        The scores. A kind of cover with fewer than LEAST pixels has none of its own.
    """
    target, where = check.scene.ground.optical, check.covered
    images, seconds = _images(check, setting)
    first = setting.steps[0]
    for lack, sample in (("radar", check.sample(radar=False)), ("context", check.sample(context=False))):
        alone = restored(setting.weights.denoiser, as_batch(sample), first)
        images[f"{label(first)}, no {lack}"] = alone[0].numpy()
    regions = {name: region & where for name, region in _regions(check.scene).items()}
    regions = {name: region for name, region in regions.items() if region.sum() >= LEAST}
    rows = {}
    for name, image in images.items():
        row = covered_only(image, target, where) | detail(image, target, where) | _taken(seconds, name)
        row |= {
            f"psnr {part}": covered_only(image, target, region)["psnr"] for part, region in regions.items()
        }
        rows[name] = row
    return Scored(check.name, float(where.mean()), rows)


def _regions(scene: Clouded) -> dict[str, Mask]:
    lit = scene.shadow <= SEEN
    thin = (scene.opacity > 0) & (scene.opacity < THIN) & lit
    return dict(zip(REGIONS, (thin, scene.opacity >= THICK, (scene.opacity == 0) & ~lit), strict=True))


def _taken(seconds: dict[str, float], name: str) -> Scores:
    return {"seconds": seconds[name]} if name in seconds else {}


def _images(check: Check, setting: Comparison) -> tuple[dict[str, Array], dict[str, float]]:
    """Reflectance (13, H, W) of every row, and the seconds per 256 x 256 px where the network ran."""
    one, seen, clear = check.sample(), check.scene.cloudy, ~check.covered
    own = seen[:, clear].mean(axis=1) if clear.any() else setting.colour
    images = {
        "cloudy input": seen,
        "mean colour of train": _flat(setting.colour, seen),
        "mean of the clear pixels": _flat(own, seen),
        CONTEXT: one.context.float().numpy(),
    }
    seconds, batch = {}, as_batch(one)

    def draw(steps: int, samples: int) -> tuple[Array, float]:
        start = time.perf_counter()
        drawn = [restored(setting.weights.denoiser, batch, steps, seed)[0] for seed in range(samples)]
        taken = time.perf_counter() - start
        return torch.stack(drawn).mean(0).numpy(), taken * PATCH**2 / seen[0].size

    for steps in setting.steps:
        images[label(steps)], seconds[label(steps)] = draw(steps, 1)
    if setting.samples > 1:
        name = mean_label(setting.samples)
        images[name], seconds[name] = draw(SAMPLED_STEPS, setting.samples)
    return images, seconds


def _flat(colour: Array, like: Array) -> Array:
    return np.broadcast_to(colour[:, None, None], like.shape).astype(np.float32)


def _composite(image: Array, check: Check) -> Array:
    """Composite an image (13, H, W) as `remove` does: offset matching and feathering."""
    seen, covered = check.scene.cloudy, check.covered
    cells = (CloudClass.THICK * covered[::CELL, ::CELL]).astype(np.uint8)
    strength = CloudMap.of(cells, covered.shape[1]).strength(0, len(covered))
    planes = (torch.from_numpy(plane)[None].float() for plane in (image, seen, ~covered[None]))
    fitted: Array = match_offsets(*planes)[0].numpy()
    return strength * fitted + (1 - strength) * seen
