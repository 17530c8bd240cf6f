"""Fit the prior of the context (`cmcr_cli/ground/prior.npz`) to the training places, and score it.

    python benchmarks/radar_prior.py DATA [--write]

The prior predicts the spectrum of a scene without clear ground from its radar alone. For the table, each
place is predicted by the prior of all others. The images of the split val are never fitted to.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.ground.context import TYPICAL_MEAN
from cmcr_cli.ground.pyramid import block_mean
from cmcr_cli.ground.radar_basis import MARGIN, RADAR_BASIS, radar_basis
from cmcr_cli.ground.ridge import PRIOR, Prior
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.training.data.gathered import triplets
from cmcr_cli.training.data.grounds import training_images
from cmcr_cli.training.data.images import ClearImage, Pair, cirrus_subtracted, clear_of
from cmcr_cli.training.data.library import load_library

Array = NDArray[np.float64]

IMAGES = 30
"""Images of a place that are used at most."""

SAMPLES, COPIES = 400, 6
"""Blocks of 2 x 2 pixels per image, and copies of each with other calibration of the radar."""

COMMON_DB, OWN_DB = 0.7, 0.5
"""Standard deviation of that calibration in dB: of both bands together, and of each."""

RIDGE, LEVELS = 0.01, 0.001
"""Penalty per place on the squares of the slopes, and of the two levels."""

KEPT = 0.8
"""Part of the slopes that is kept: other places differ from the mean in more than their radar."""

SNOW = 0.3
"""Mean reflectance of B03 from which on an image is left out: radar does not tell snow from bare ground."""

B09, B10 = BANDS.index("B09"), BANDS.index("B10")


@dataclass(frozen=True, slots=True)
class Seen:
    """An image of a place: basis (1 + RADAR_BASIS, n) and reflectance (13, n) of all its blocks."""

    level: int  # 0 Level-1C, 1 Level-2A
    basis: NDArray[np.float32]
    spectrum: NDArray[np.float32]
    present: NDArray[np.bool_]
    gram: Array  # (2 + RADAR_BASIS, 2 + RADAR_BASIS) mean products of levels and basis
    cross: Array  # (2 + RADAR_BASIS, 13) the same with what differs from TYPICAL_MEAN


def seen(image: ClearImage, rng: np.random.Generator) -> Seen | None:
    """Sample an image; None where it has no radar, or shows snow."""
    radar = image.radar
    if radar is None or image.optical[BANDS.index("B03")].mean() > SNOW:
        return None
    height, width = (size // 2 * 2 for size in radar.shape[1:])
    margins = (0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)
    db = np.pad(radar[:, :height, :width], margins, mode="reflect")
    valid = np.asarray(np.isfinite(db).all(axis=0))
    if valid.mean() < 0.5:
        return None
    spectrum = block_mean(image.optical[:, :height, :width]).reshape(len(BANDS), -1)
    chosen = rng.permutation(spectrum.shape[1])[:SAMPLES]
    level = int(not image.present[B10])
    bases = []
    for copy in range(1 + COPIES):
        shift = rng.normal(0, COMMON_DB) + rng.normal(0, OWN_DB, 2) if copy else np.zeros(2)
        moved = db + shift.astype(np.float32)[:, None, None]
        bases.append(radar_basis(moved, valid)[:, 1:-1, 1:-1].reshape(1 + RADAR_BASIS, -1))
    levels = np.zeros((2, (1 + COPIES) * len(chosen)))
    levels[level] = 1
    inputs = np.concatenate([levels, np.concatenate([basis[1:, chosen] for basis in bases], axis=1)])
    target = np.tile(spectrum[:, chosen] - TYPICAL_MEAN[:, None], 1 + COPIES)
    count = inputs.shape[1]
    return Seen(
        level, bases[0], spectrum, image.present, inputs @ inputs.T / count, inputs @ target.T / count
    )


def fitted(places: Sequence[Sequence[Seen]], levels: Array) -> Prior:
    """Fit a prior: all places count alike. `levels` (2, 13) are the mean spectra of the two levels.

    The slopes of B09 are those of Level-1C: in Level-2A it has four times the contrast.
    """
    penalty = len(places) * np.diag([LEVELS] * 2 + [RIDGE] * RADAR_BASIS)
    slopes = np.zeros((len(BANDS), RADAR_BASIS))
    for band in range(len(BANDS)):
        gram, cross = penalty.copy(), np.zeros(2 + RADAR_BASIS)
        for images in places:
            for image in images:
                if image.present[band] and not (band == B09 and image.level):
                    gram += image.gram / len(images)
                    cross += image.cross[:, band] / len(images)
        slopes[band] = KEPT * np.linalg.solve(gram, cross)[2:]
    usual = np.mean(
        [np.mean([each.basis[1:].mean(axis=1) for each in images], axis=0) for images in places], axis=0
    )
    readout = np.concatenate([-(slopes @ usual)[:, None], slopes], axis=1)
    return Prior(levels.astype(np.float32), readout.astype(np.float32))


def mean_colours(pairs: Iterable[Pair], places: Sequence[Sequence[ClearImage]]) -> Array:
    """Mean spectra (2, 13): of the clear images of the pairs, all Level-1C; and of the places in Level-2A."""
    first = np.mean([pair.clear.mean(axis=(1, 2)) for pair in pairs], axis=0)
    first[B10] = TYPICAL_MEAN[B10]  # cirrus is subtracted from images before they are compared
    rows = []
    for images in places:
        usual = [each for each in images if each.optical[BANDS.index("B03")].mean() <= SNOW]
        if usual and not usual[0].present[B10]:
            known = [np.where(each.present, each.optical.mean(axis=(1, 2)), np.nan) for each in usual]
            rows.append(np.ma.masked_invalid(np.array(known)).mean(axis=0).filled(np.nan))
    second = np.ma.masked_invalid(np.array(rows)).mean(axis=0).filled(0)
    return np.array([first, second])


def psnr(spectrum: NDArray[np.floating], image: Seen) -> float:
    """PSNR in dB of a prediction (13, n) or (13, 1) over the bands that the image has."""
    error = np.square(np.clip(spectrum, 0, 1) - image.spectrum)[image.present]
    return float(-10 * np.log10(error.mean()))


def score(prior: Prior, images: Sequence[Seen]) -> tuple[float, float]:
    """PSNR of the mean spectrum of its level, and of the prior, mean over the images of a place."""
    rows = []
    for each in images:
        mean = prior.levels[each.level][:, None]
        rows.append((psnr(mean, each), psnr(mean + prior.readout @ each.basis, each)))
    constant, predicted = np.mean(rows, axis=0)
    return float(constant), float(predicted)


def main() -> None:
    """Print the table, and write the prior if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of training data")
    parser.add_argument("--write", action="store_true", help="replace the prior that comes with cmcr")
    asked = parser.parse_args()
    rng = np.random.default_rng(3)
    grounds = training_images(asked.data)[0]
    found = [[seen(image, rng) for image in images[:IMAGES]] for images in grounds]
    places = [kept for images in found if (kept := [each for each in images if each is not None])]
    levels = mean_colours(load_library(asked.data, "exact").pairs, grounds)
    whole = fitted(places, levels)
    rows: dict[str, list[tuple[float, float]]] = {
        "places in Level-1C": [],
        "places in Level-2A": [],
        "val": [],
    }
    for number, images in enumerate(places):
        others = [*places[:number], *places[number + 1 :]]
        rows[list(rows)[images[0].level]].append(score(fitted(others, levels), images))
    for pair in triplets(asked.data, "val").values():
        truth = cirrus_subtracted(pair)
        image = None if truth.lifted else seen(clear_of(truth), rng)
        if image is not None:
            rows["val"].append(score(whole, [image]))
    print("PSNR in dB                  n   mean colour   prior   lowest gain")
    for name, values in rows.items():
        if values:
            constant, predicted = np.mean(values, axis=0)
            lowest = min(after - before for before, after in values)
            print(f"{name:26} {len(values):2} {constant:13.2f} {predicted:7.2f} {lowest:13.1f}")
    if asked.write:
        np.savez(PRIOR, levels=whole.levels, readout=whole.readout)
        print(f"wrote {PRIOR}")


if __name__ == "__main__":
    main()
