"""Scores of the cloud network: recall of clouds and shadows, and false alarms by kind of ground.

Everything is counted in cells of 20 m. Kinds of ground follow from rules on the spectrum of the clear image
(`ground_kinds`), not from labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.ground.cirrus import B10, BLUE, FITTED, fitted_ratio
from cmcr_cli.ground.pyramid import block_mean as halved
from cmcr_cli.model.cloud_network import CloudNetwork
from cmcr_cli.removal.survey.cloud_map import CELL, lifted_cells, thin_cirrus
from cmcr_cli.removal.survey.detection import UNKNOWN_SUN, detect
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.radiometry import QUANTIFICATION
from cmcr_cli.training.data.gathered import clear_dates, series, series_files
from cmcr_cli.training.data.images import Array, Pair
from cmcr_cli.training.samples.held_out import Check, evenly
from cmcr_cli.training.samples.synthesis import average_blocks

Mask = NDArray[np.bool_]

THIN, THICK = 0.5, 0.9
"""Opacity below which a cloud is thin (half of the light is from the ground), and from which it is thick."""

FAINT, SEEN = 0.02, 0.05
"""Opacity or shadow below FAINT is clear, above SEEN covered; the range between is not scored."""

KINDS = ("snow", "water", "vegetation", "sand and bare", "bright built", "other")

LEAST = 100
"""Smallest number of cells for a rate."""

DATES = 12
"""Largest number of dates per series, evenly selected."""

_LIKELY, _UNLIKELY = 90, 20
"""Cloud probability of a data set, in per cent: above the first is cloud, below the second is clear."""


@dataclass(frozen=True, slots=True)
class Truth:
    """An image and its truth.

    Attributes:
        image: Reflectance (13, H, W).
        present: Bands that the image has (13,).
        covered: Cells that are certainly covered (H / 2, W / 2).
        clear: Cells that are certainly clear (H / 2, W / 2).
        opacity: Opacity of the clouds, 0 to 1, (H / 2, W / 2).
        shadow: Darkness of the shadows, 0 to 1, (H / 2, W / 2).
        ground: Reflectance of the clear image (13, H, W), for the kinds of ground.
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
    """Find clouds and shadows as `remove` does; edges are mirrored.

    Args:
        network: Cloud network, ready for inference.
        image: Reflectance (13, H, W), H and W even.
        present: Bands that the image has (13,).
        sun: Position of the sun (4,), see `CloudNetwork`.

    Returns:
        CloudClass of each cell, and whether it is cirrus that can be subtracted, each (H / 2, W / 2).
    """
    cells = halved(image)
    classes, _ = detect(network, cells, present, sun)
    shown = thin_cirrus(cells[B10] * present[B10], cells[BLUE])
    return classes, lifted_cells(classes, shown, fitted_ratio([image[FITTED]]))


def score_clouds(network: CloudNetwork, truths: Iterable[Truth]) -> dict[str, float]:
    """Score the masks that `remove` would find.

    Args:
        network: Cloud network, ready for inference.
        truths: Images with their truth.

    Returns:
        Rates over all cells, by name. `iou`: intersection over union of covered against clear. `covered`,
        `thick`, `thin`, `shadow`: recall of these. `false alarms`: share of clear ground that is marked as
        covered, also by kind of ground (`on ...`, among `cells ...` cells). Rates of less than LEAST cells
        are omitted.
    """
    tally: Counter[str] = Counter()
    images = 0
    for truth in truths:
        images += 1
        classes, _ = find_mask(network, truth.image, truth.present)
        _count(tally, classes > 0, truth)
    return {"images": images, **_rates(tally)} if images else {}


def _count(tally: Counter[str], cells: Mask, truth: Truth) -> None:
    """Add one image: for each rate the number of hits, and the number of cells among them (`of ...`)."""
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
    """Tell the kind of ground of each cell of a clear image by rules on its spectrum; the first counts.

        snow            NDSI > 0.4 and B08 > 0.11
        water           NDWI > 0 and B08 < 0.15
        vegetation      NDVI > 0.4
        sand and bare   NDVI < 0.25, B04 > 1.2 B02 and B11 > 0.15
        bright built    NDVI < 0.25 and mean of B02, B03, B04 > 0.15
        other           the rest, and all cells if one of these bands is absent

    NDSI of B03 and B11, NDWI of B03 and B08, NDVI of B08 and B04.

    Args:
        image: Reflectance (13, H, W), H and W even.
        present: Bands that the image has (13,).

    Returns:
        Indices into KINDS (H / 2, W / 2).
    """
    blue, green, red, infrared, shortwave = (
        average_blocks(image[BANDS.index(name)], CELL) for name in ("B02", "B03", "B04", "B08", "B11")
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
    """Take the truth of clouds that were added to clear ground: opacity and shadow are known everywhere.

    Args:
        check: A validation sample.

    Returns:
        The truth. Cells above SEEN are covered, those below FAINT clear; the rest is neither.
    """
    scene = check.scene
    opacity, shadow = average_blocks(scene.opacity), average_blocks(scene.shadow)
    strongest = np.maximum(opacity, shadow)
    ground = scene.ground
    return Truth(
        scene.cloudy, ground.present, strongest > SEEN, strongest < FAINT, opacity, shadow, ground.optical
    )


def of_pair(pair: Pair) -> Truth:
    """Take the truth of a real pair.

    A cell is covered if the opacity is 0.3 or more. It is clear if it is 200 m from any cloud and has not
    become darker by 10 %. Shadows are unknown, so darker cells are not scored.

    Args:
        pair: A cloudy and a clear date of one place.

    Returns:
        The truth.
    """
    opacity = average_blocks(pair.opacity)
    infrared = BANDS.index("B08")
    darker = average_blocks(pair.cloudy[infrared]) < 0.9 * average_blocks(pair.clear[infrared])
    clear = ~ndimage.binary_dilation(opacity > 0, iterations=10) & ~darker
    nothing = np.zeros_like(opacity)
    return Truth(pair.cloudy, np.ones(13, bool), opacity >= 0.3, clear, opacity, nothing, pair.clear)


def of_series(path: Path) -> Iterator[Truth]:
    """Read the dates of an array file with their truth.

    If the file has a cloud probability, it is the truth: on dates with at most 10 % of the image above 50 %,
    cells below 20 % are clear; on all other dates, cells above 90 % are cloud. Otherwise only dates without
    cloud are used, and all their cells are clear.

    Args:
        path: A file of `gathered.series_files`.

    Yields:
        The truth of at most DATES dates.
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
            chance = average_blocks(probability[date, :height, :width].astype(np.float32))
            fine = (chance > 50).mean() <= 0.1
            covered, clear = (chance > _LIKELY) & ~fine, (chance < _UNLIKELY) & fine
        nothing = np.zeros(covered.shape, np.float32)
        yield Truth(image, present, covered, clear, nothing, nothing, image)


def all_series(folder: Path) -> dict[str, list[Path]]:
    """Group the array files of a folder of training data by their source.

    Args:
        folder: The folder.

    Returns:
        Files by source, which is the first word of their names; it is marked where training uses the file.
    """
    sources: dict[str, list[Path]] = {}
    for path in series_files(folder):
        mark = " (trained on)" if any(True for _ in series(path)) else ""
        sources.setdefault(path.stem.split("_")[0] + mark, []).append(path)
    return sources
