"""The images that training draws from: clear ground, and real clouds cut from cloudy/clear pairs.

Reads a folder with `triplets/`, `pairs_s2/`, `places/*.npz`, `optical/*.npz` and `scenes/`: GeoTIFF stacks
and arrays in the canonical band order. Validation scenes are the rows of `triplets/index.csv` marked `val`.
"""

from __future__ import annotations

import csv
import datetime
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from scipy import ndimage

from cmcr_cli.errors import InputError
from cmcr_cli.scene.bands import BANDS, QUANTIFICATION, canonical

Array = NDArray[np.float32]

MIN_SIZE = 128
VISIBLE = [BANDS.index(name) for name in ("B02", "B03", "B04")]


@dataclass(frozen=True, slots=True)
class ClearImage:
    """Clear ground: reflectance (13, H, W), bands present (13,), radar dB (2, H, W) with NaN, or None."""

    optical: Array
    present: NDArray[np.bool_]
    radar: Array | None


@dataclass(frozen=True, slots=True)
class Pair:
    """A cloudy image and a clear one of the same place on another date, with the cloud's opacity (H, W)."""

    cloudy: Array
    clear: Array
    opacity: Array
    radar: Array | None


@dataclass(frozen=True, slots=True)
class Library:
    """Clear images grouped by place, and the pairs that hold clouds."""

    places: list[list[ClearImage]]
    pairs: list[Pair]


def load_library(folder: Path) -> Library:
    """Read the training split of `folder`; InputError when it holds no clear image or no pair."""
    pairs = [*load_triplets(folder, "train").values(), *_optical_pairs(folder)]
    places = [[ClearImage(pair.clear, np.ones(13, bool), pair.radar)] for pair in pairs]
    pairs = [pair for pair in pairs if float((pair.opacity > 0.3).mean()) > 0.05]
    for path in sorted([*folder.glob("places/*.npz"), *folder.glob("optical/*.npz")]):
        places.append(list(_series(path)))
    for path in sorted(folder.glob("scenes/*_L2A_12band.tif")):
        places.append(list(_tiles(path)))
    places = [images for images in places if images]
    if not places or not pairs:
        raise InputError(
            f"{folder}: found {len(places)} clear places and {len(pairs)} cloudy/clear pairs; expected a "
            "folder with triplets/ or pairs_s2/ holding s2_cloudy.tif and s2_clear.tif"
        )
    return Library(places, pairs)


def load_triplets(folder: Path, split: str) -> dict[str, Pair]:
    """The triplets of one split (`train` or `val`) by name; none where there is no index."""
    index = folder / "triplets" / "index.csv"
    if not index.is_file():
        return {}
    with index.open() as file:
        names = [row["name"] for row in csv.DictReader(file) if row["split"] == split]
    return {name: _pair(folder / "triplets" / name) for name in names}


def _optical_pairs(folder: Path) -> Iterator[Pair]:
    for path in sorted(folder.glob("pairs_s2/*/s2_cloudy.tif")):
        yield _pair(path.parent)


def _pair(folder: Path) -> Pair:
    cloudy, clear = _stack(folder / "s2_cloudy.tif"), _stack(folder / "s2_clear.tif")
    radar = None
    if (folder / "s1.tif").is_file():
        radar = _read(folder / "s1.tif")
        radar[(radar == 0) | ~np.isfinite(radar)] = np.nan
    return Pair(cloudy, clear, opacity(cloudy, clear), radar)


def _stack(path: Path) -> Array:
    return _read(path) / np.float32(QUANTIFICATION)


def _read(path: Path) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # training does not ask where a scene lies
        with rasterio.open(path) as file:
            return np.asarray(file.read(), dtype=np.float32)


def opacity(cloudy: Array, clear: Array) -> Array:
    """How much of the light in the visible is the cloud's, 0..1 (H, W), from the brightening against `clear`.

    Uses the darkest of the three visible bands' brightening, so that a red field that turned bare between the
    dates is not taken for cloud, and drops what is too small to be one.
    """
    white = max(float(np.percentile(cloudy[VISIBLE], 99)), 0.45)
    share = (cloudy[VISIBLE] - clear[VISIBLE]) / np.maximum(white - clear[VISIBLE], 0.1)
    alpha = ndimage.gaussian_filter(np.clip(share.min(axis=0), 0, 1), 1.0)
    return np.asarray(np.where(alpha > 0.06, alpha, 0), dtype=np.float32)


def _series(path: Path) -> Iterator[ClearImage]:
    """The clear dates of one array file, each with the radar of the nearest index."""
    with np.load(path, allow_pickle=False) as data:
        optical, present = data["s2"], data["s2_present"]
        radar = data["s1"] if "s1" in data.files else None
        dates = [str(d) for d in data["s2_dates"]] if "s2_dates" in data.files else []
        radar_dates = [str(d) for d in data["s1_dates"]] if "s1_dates" in data.files else []
    if min(optical.shape[2:]) < MIN_SIZE - 32 or not present[[1, 2, 3, 7]].all():
        return
    for index in _clear_dates(optical):
        image = optical[index].astype(np.float32) / QUANTIFICATION
        db = None if radar is None else _decode_radar(radar[_nearest(index, dates, radar_dates)])
        yield ClearImage(_grown(image), present, None if db is None else _grown(db))


def _clear_dates(optical: NDArray[Any]) -> list[int]:
    """Indices of the dates that are neither empty nor brighter in blue than the place on its good dates."""
    blue = optical[:, 1].reshape(len(optical), -1).astype(np.float32)
    seen = (blue > 0).mean(axis=1) > 0.999
    if not seen.any():
        return []
    middle, high = np.percentile(blue, 50, axis=1), np.percentile(blue, 97, axis=1)
    good_middle, good_high = np.percentile(middle[seen], 30), np.percentile(high[seen], 30)
    clear = seen & (middle <= 1.5 * good_middle) & (high <= 1.6 * good_high)
    return [int(i) for i in np.flatnonzero(clear)]


def _nearest(index: int, dates: list[str], radar_dates: list[str]) -> int:
    """The radar acquisition nearest in date; of the same month's name or the same rank where undated."""
    date = dates[index] if index < len(dates) else ""
    if len(date) >= 8:
        return int(np.argmin([abs(_day(d) - _day(date)) for d in radar_dates]))
    named = [i for i, d in enumerate(radar_dates) if date and d.startswith(date)]
    return named[0] if named else index % len(radar_dates)


def _day(date: str) -> int:
    return datetime.date.fromisoformat(date).toordinal()


def _decode_radar(raw: NDArray[np.int16]) -> Array:
    db = raw.astype(np.float32) / np.float32(100)
    db[raw == -32768] = np.nan
    return db


def _grown(image: Array) -> Array:
    """Reflect small images up to MIN_SIZE and cut sides to a multiple of 16, which all networks accept."""
    height, width = image.shape[1:]
    rows, cols = max(height, MIN_SIZE), max(width, MIN_SIZE)
    padded = np.pad(image, ((0, 0), (0, rows - height), (0, cols - width)), mode="reflect")
    return padded[:, : rows // 16 * 16, : cols // 16 * 16]


def _tiles(path: Path, size: int = 256) -> Iterator[ClearImage]:
    names = tuple(name for name in BANDS if name != "B10")
    image = canonical(_stack(path), names)
    present = np.array([name in names for name in BANDS])
    for top in range(0, image.shape[1] - size + 1, size):
        for left in range(0, image.shape[2] - size + 1, size):
            yield ClearImage(image[:, top : top + size, left : left + size].copy(), present, None)
