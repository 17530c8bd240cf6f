"""The cloud-and-shadow network on its own: what it finds, what it misses, and where it is wrong.

Everything is counted in cells of 20 m. Kinds of ground are told by rules on the spectrum of the clear image,
not by labels (`ground_kinds`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.ground.cirrus import B10, FITTED, fitted_ratio
from cmcr_cli.ground.pyramid import block_mean as halved
from cmcr_cli.model.cloud_network import CloudNetwork
from cmcr_cli.removal.survey.cloud_map import CELL, lifted_cells
from cmcr_cli.removal.survey.detection import UNKNOWN_SUN, detect
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.radiometry import QUANTIFICATION
from cmcr_cli.training.data.gathered import clear_dates, series, series_files
from cmcr_cli.training.data.images import Array, Pair
from cmcr_cli.training.samples.held_out import Check, evenly
from cmcr_cli.training.samples.synthesis import block_mean

Mask = NDArray[np.bool_]

THIN, THICK = 0.5, 0.9
"""Opacity below which a cloud is thin, since half the light is the ground's, and from which it is thick."""

FAINT, SEEN = 0.02, 0.05
"""Opacity or shadow below FAINT is clear, above SEEN covered; between, nobody can be sure."""

KINDS = ("snow", "water", "vegetation", "sand and bare", "bright built", "other")

LEAST = 100
"""Cells that a rate must be a share of."""

DATES = 12
"""Dates of one series that are looked at, evenly spread."""

_LIKELY, _UNLIKELY = 90, 20
"""Cloud probability of a source, in per cent, that is taken as cloud and as clear ground."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of one image (13, H, W): all else in cells, (H / 2, W / 2).

    `covered` and `clear` leave out what nobody can be sure of. `ground` is the clear image, for its kinds.
    """

    image: Array
    present: Mask
    covered: Mask
    clear: Mask
    opacity: Array
    shadow: Array
    ground: Array


def find_mask(
    network: CloudNetwork, image: Array, present: Mask, sun: Array = UNKNOWN_SUN
) -> tuple[NDArray[np.uint8], Mask]:
    """The mask of an image (13, H, W) as `remove` finds it, in cells (H / 2, W / 2); edges are mirrored.

    Returns the CloudClass of each cell, and where it is cirrus that B10 subtracts. H and W are even.
    """
    cells = halved(image)
    classes, _ = detect(network, cells, present, sun)
    return classes, lifted_cells(classes, cells[B10] * present[B10], fitted_ratio([image[FITTED]]))


def score_clouds(network: CloudNetwork, truths: Iterable[Truth]) -> dict[str, float]:
    """Rates over all cells of `truths`, of the mask as `remove` finds it.

    `iou` is the intersection over union of covered against clear; `covered`, and of that `thick`, `thin` and
    `shadow`, the share of these that is found; `false alarms` the share of clear ground that is called
    covered, also by kind (`on ...`, of so many `cells ...`). What there is too little of is left out.
    """
    tally: Counter[str] = Counter()
    images = 0
    for truth in truths:
        images += 1
        classes, _ = find_mask(network, truth.image, truth.present)
        _count(tally, classes > 0, truth)
    return {"images": images, **_rates(tally)} if images else {}


def _count(tally: Counter[str], cells: Mask, truth: Truth) -> None:
    """Add one image: per rate the number of cells that meet it, and out of how many (`of ...`)."""
    thin = truth.covered & (truth.opacity > 0) & (truth.opacity < THIN) & (truth.shadow <= SEEN)
    in_shade = truth.covered & (truth.opacity < FAINT) & (truth.shadow > SEEN)
    known = truth.covered | truth.clear
    within = {
        "iou": (cells & truth.covered, (cells | truth.covered) & known),
        "covered": (cells, truth.covered),
        "thick": (cells, truth.covered & (truth.opacity >= THICK)),
        "thin": (cells, thin),
        "shadow": (cells, in_shade),
        "false alarms": (cells, truth.clear),
    }
    kinds = ground_kinds(truth.ground, truth.present)
    within |= {f"on {name}": (cells, truth.clear & (kinds == i)) for i, name in enumerate(KINDS)}
    for name, (hit, among) in within.items():
        tally[name] += int((hit & among).sum())
        tally[f"of {name}"] += int(among.sum())


def _rates(tally: Counter[str]) -> dict[str, float]:
    rates = {}
    for name in (name for name in tally if not name.startswith("of ")):
        among = tally["of covered"] if name == "iou" else tally[f"of {name}"]
        if among >= LEAST:
            rates[name] = tally[name] / tally[f"of {name}"]
            if name.startswith("on "):
                rates[name.replace("on", "cells", 1)] = float(among)
    return rates


def ground_kinds(image: Array, present: Mask) -> NDArray[np.intp]:
    """The kind of ground in each cell of a clear image (13, H, W), as an index into KINDS; first rule wins.

        snow            NDSI > 0.4 and B08 > 0.11
        water           NDWI > 0 and B08 < 0.15
        vegetation      NDVI > 0.4
        sand and bare   NDVI < 0.25, B04 > 1.2 B02 and B11 > 0.15
        bright built    NDVI < 0.25 and mean of B02, B03, B04 > 0.15
        other           the rest, and everything where one of these bands is absent

    NDSI of B03 and B11, NDWI of B03 and B08, NDVI of B08 and B04.
    """
    blue, green, red, infrared, shortwave = (
        block_mean(image[BANDS.index(name)], CELL) for name in ("B02", "B03", "B04", "B08", "B11")
    )
    if not present[[BANDS.index(name) for name in ("B02", "B03", "B04", "B08", "B11")]].all():
        return np.full(blue.shape, KINDS.index("other"))

    def index(a: Array, b: Array) -> Array:
        return np.asarray((a - b) / np.maximum(a + b, 1e-4), np.float32)

    bald = index(infrared, red) < 0.25
    rules = [
        (index(green, shortwave) > 0.4) & (infrared > 0.11),
        (index(green, infrared) > 0) & (infrared < 0.15),
        index(infrared, red) > 0.4,
        bald & (red > 1.2 * blue) & (shortwave > 0.15),
        bald & ((blue + green + red) / 3 > 0.15),
    ]
    return np.asarray(np.select(rules, range(len(rules)), default=len(rules)))


def of_check(check: Check) -> Truth:
    """Clouds that were laid over clear ground: opacity and shadow are known everywhere."""
    scene = check.scene
    opacity, shadow = block_mean(scene.opacity), block_mean(scene.shadow)
    strongest = np.maximum(opacity, shadow)
    ground = scene.ground
    return Truth(
        scene.cloudy, ground.present, strongest > SEEN, strongest < FAINT, opacity, shadow, ground.optical
    )


def of_pair(pair: Pair) -> Truth:
    """A real pair: cloud where the opacity is 0.3 or more; clear 200 m off any, unless it darkened by 10 %.

    Where the shadows are nobody knows, so what darkened is left out.
    """
    opacity = block_mean(pair.opacity)
    infrared = BANDS.index("B08")
    darker = block_mean(pair.cloudy[infrared]) < 0.9 * block_mean(pair.clear[infrared])
    clear = ~ndimage.binary_dilation(opacity > 0, iterations=10) & ~darker
    nothing = np.zeros_like(opacity)
    return Truth(pair.cloudy, np.ones(13, bool), opacity >= 0.3, clear, opacity, nothing, pair.clear)


def of_series(path: Path) -> Iterator[Truth]:
    """Dates of an array file.

    Where the file has a cloud probability, that is the truth: on dates with at most a tenth of the image
    above 50 % what is below 20 % is clear, on all others what is above 90 % is cloud. Otherwise only the
    dates that show no cloud are taken, all of them as clear.
    """
    with np.load(path, allow_pickle=False) as data:
        optical, present = data["s2"], data["s2_present"]
        key = next((name for name in ("cloudprob", "cloud_prob") if name in data.files), None)
        probability = None if key is None else data[key]
        clean = np.flatnonzero(data["clean"]) if "clean" in data.files else None
    height, width = (size // 16 * 16 for size in optical.shape[2:])
    dates = [int(date) for date in clean] if clean is not None else clear_dates(optical)
    if probability is not None:
        dates = list(range(len(optical)))
    for date in evenly(dates, DATES):
        image = optical[date, :, :height, :width].astype(np.float32) / np.float32(QUANTIFICATION)
        covered = np.zeros((height // CELL, width // CELL), bool)
        clear = ~covered
        if probability is not None:
            chance = block_mean(probability[date, :height, :width].astype(np.float32))
            fine = (chance > 50).mean() <= 0.1
            covered, clear = (chance > _LIKELY) & ~fine, (chance < _UNLIKELY) & fine
        nothing = np.zeros(covered.shape, np.float32)
        yield Truth(image, present, covered, clear, nothing, nothing, image)


def all_series(folder: Path) -> dict[str, list[Path]]:
    """Array files of `folder` by source, the first word of their names; "(trained on)" where they were."""
    sources: dict[str, list[Path]] = {}
    for path in series_files(folder):
        mark = " (trained on)" if any(True for _ in series(path)) else ""
        sources.setdefault(path.stem.split("_")[0] + mark, []).append(path)
    return sources
