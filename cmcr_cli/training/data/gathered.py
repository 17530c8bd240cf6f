"""The gathered layout: triplets, pairs without radar, series as arrays and whole scenes, in one folder.

    triplets/index.csv                                 columns name, split (train, val or test), scene
    triplets/NAME/s1.tif, s2_cloudy.tif, s2_clear.tif  13 bands of DN, and VV and VH in dB
    pairs_s2/NAME/s2_cloudy.tif, s2_clear.tif
    places/*.npz, optical/*.npz                        series: s2 (T, 13, H, W) DN, s2_present (13,),
                                                       s1 (T, 2, H, W) dB x 100, s2_dates, s1_dates
    scenes/*_L2A_12band.tif                            clear scenes without radar

Everything except the triplets of other splits is for training. The data are small enough to be kept in
memory. `grounds` selects what a training uses.
"""

from __future__ import annotations

import csv
import datetime
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.errors import InputError
from cmcr_cli.scene.bands import BANDS, canonical
from cmcr_cli.scene.radiometry import QUANTIFICATION
from cmcr_cli.training.data.images import (
    Array,
    ClearImage,
    Pair,
    is_under_cirrus,
    opacity,
    read_pair,
    read_stack,
)
from cmcr_cli.training.data.series_file import open_series

MIN_SIZE = 128

_VISIBLE = [BANDS.index(name) for name in ("B02", "B03", "B04")]


def triplets(folder: Path, split: str) -> dict[str, Pair]:
    """Read the triplets of one split.

    Args:
        folder: Folder of the gathered layout.
        split: train, val or test.

    Returns:
        Pairs by name; empty without triplets/index.csv.

    Raises:
        InputError: A file cannot be used.
    """
    names = [row["name"] for row in index(folder) if row["split"] == split]
    return {name: read_folder(folder / "triplets" / name) for name in names}


def index(folder: Path) -> list[dict[str, str]]:
    """Read triplets/index.csv.

    Args:
        folder: Folder of the gathered layout.

    Returns:
        Its rows, by the names of the columns; none if there is no such file.

    Raises:
        InputError: A column is missing.
    """
    path = folder / "triplets" / "index.csv"
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            rows, names = list(reader), set(reader.fieldnames or ())
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error}); expected a CSV in UTF-8") from error
    if lacking := {"name", "split", "scene"} - names:
        raise InputError(f"{path}: found no column {min(lacking)}; expected name, split and scene")
    for number, row in enumerate(rows, 2):
        if not all(row[column] for column in ("name", "split", "scene")):
            raise InputError(f"{path}: line {number} is incomplete; expected name, split and scene in each")
    return rows


def pair_folders(folder: Path) -> list[Path]:
    """List the pairs without radar.

    Args:
        folder: Folder of the gathered layout.

    Returns:
        Their folders, sorted.
    """
    return sorted(path for path in folder.glob("pairs_s2/*") if path.is_dir())


def series_files(folder: Path) -> list[Path]:
    """List the array files (.npz), which hold series of dates or several places.

    Args:
        folder: Folder of the gathered layout.

    Returns:
        The files, sorted within places/ and optical/.
    """
    return sorted([*folder.glob("places/*.npz"), *folder.glob("optical/*.npz")])


def scene_files(folder: Path) -> list[Path]:
    """List the clear scenes without radar.

    Args:
        folder: Folder of the gathered layout.

    Returns:
        The files, sorted.
    """
    return sorted(folder.glob("scenes/*_L2A_12band.tif"))


def read_folder(folder: Path) -> Pair:
    """Read a pair, with its radar if there is one.

    Args:
        folder: Of s2_cloudy.tif, s2_clear.tif and perhaps s1.tif.

    Returns:
        The pair.

    Raises:
        InputError: A file cannot be used.
    """
    radar = folder / "s1.tif"
    return read_pair(folder / "s2_cloudy.tif", folder / "s2_clear.tif", radar if radar.is_file() else None)


def series(path: Path) -> Iterator[ClearImage]:
    """Read the clear images of an array file, each with the radar of the nearest date.

    Args:
        path: The file.

    Yields:
        Images, padded and cropped by `grown`; none if a visible band is missing.
    """
    for _, image in chosen(path, {}):
        yield grown(image)


def chosen(path: Path, known: Mapping[str, bool]) -> Iterator[tuple[str, ClearImage]]:
    """Yield the clear images of an array file with their names.

    Args:
        path: Array file.
        known: Whether an image is clear, by name. For other images `clear_dates` decides in a series; the
            images of a file of several places are all clear.

    Yields:
        Name and image; nothing if a visible band is missing.
    """
    with open_series(path) as data:
        optical, present = data["s2"], data["s2_present"]
        radar = data["s1"] if "s1" in data.files else None
        dates = [str(d) for d in data["s2_dates"]] if "s2_dates" in data.files else []
        radar_dates = [str(d) for d in data["s1_dates"]] if "s1_dates" in data.files else []
        clear = _clear(path, data, optical, known)
    if not present[_VISIBLE].all():
        return
    for index in clear:
        db = None if radar is None else decode_radar(radar[nearest_radar(index, dates, radar_dates)])
        yield _name(path, index), ClearImage(_reflectance(optical[index]), present, db)


def is_series(path: Path) -> bool:
    """Tell whether the images of an array file are dates of one place, not different places.

    Args:
        path: The file.

    Returns:
        Whether it has no `place_id`.
    """
    with open_series(path) as data:
        return "place_id" not in data.files


def cloudy_dates(path: Path, known: Mapping[str, bool]) -> Iterator[tuple[str, Pair]]:
    """Yield the cloudy dates of a series as pairs, each with the nearest clear date.

    The pairs are marked as `lifted` because the two dates may differ by more than the cloud.

    Args:
        path: Array file.
        known: Whether an image is clear, by name; see `chosen`.

    Yields:
        Name and pair; nothing if a band is missing or the images are smaller than MIN_SIZE.
    """
    with open_series(path) as data:
        optical, series, complete = data["s2"], "place_id" not in data.files, data["s2_present"].all()
        usable = series and complete and min(optical.shape[2:]) >= MIN_SIZE
        clear = _clear(path, data, optical, known) if usable else []
    for index in range(len(optical) if clear else 0):
        if index in clear or not optical[index, 1].all():
            continue
        nearest = min(clear, key=lambda other: abs(other - index))
        images = _reflectance(optical[index]), _reflectance(optical[nearest])
        yield _name(path, index), Pair(*images, opacity(*images), None, lifted=True)


def _clear(path: Path, data: Any, optical: NDArray[Any], known: Mapping[str, bool]) -> list[int]:
    """Indices of the clear images of an open array file."""
    if "clean" in data.files:
        clear = [int(i) for i in np.flatnonzero(data["clean"])]
    else:
        clear = list(range(len(optical))) if "place_id" in data.files else clear_dates(optical)
    return [index for index in range(len(optical)) if known.get(_name(path, index), index in clear)]


def _name(path: Path, index: int) -> str:
    """Name of an image of an array file, as in the labels."""
    return f"{path.stem}_{index:03d}"


def _reflectance(dn: NDArray[Any]) -> Array:
    return dn.astype(np.float32) / np.float32(QUANTIFICATION)


def clear_dates(optical: NDArray[Any]) -> list[int]:
    """Select the clear dates of a series: complete, and not much brighter in blue than the better dates.

    Args:
        optical: DN (T, 13, H, W).

    Returns:
        Indices of the clear dates.
    """
    blue = optical[:, 1].reshape(len(optical), -1).astype(np.float32)
    seen = (blue > 0).mean(axis=1) > 0.999
    if not seen.any():
        return []
    middle, high = np.percentile(blue, 50, axis=1), np.percentile(blue, 97, axis=1)
    good_middle, good_high = np.percentile(middle[seen], 30), np.percentile(high[seen], 30)
    clear = seen & (middle <= 1.5 * good_middle) & (high <= 1.6 * good_high)
    if optical[:, BANDS.index("B10")].any():
        clear &= ~np.array([is_under_cirrus(image / np.float32(QUANTIFICATION)) for image in optical])
    return [int(i) for i in np.flatnonzero(clear)]


def nearest_radar(index: int, dates: list[str], radar_dates: list[str]) -> int:
    """Choose the radar of the nearest date.

    Args:
        index: Place of the image among the dates.
        dates: Of the images: days in ISO 8601, names of months, or nothing.
        radar_dates: Of the radar, likewise; at least one.

    Returns:
        Index of the radar; where the days are not known, that of the same month, or of the same rank.
    """
    date = dates[index] if index < len(dates) else ""
    if len(date) >= 8:
        return int(np.argmin([abs(_day(d) - _day(date)) for d in radar_dates]))
    named = [i for i, d in enumerate(radar_dates) if date and d.startswith(date)]
    return named[0] if named else index % len(radar_dates)


def _day(date: str) -> int:
    return datetime.date.fromisoformat(date).toordinal()


def decode_radar(raw: NDArray[np.int16]) -> Array:
    """Convert stored radar to dB.

    Args:
        raw: dB x 100, -32768 where it is not valid, of any shape.

    Returns:
        dB of the same shape, NaN where it is not valid.
    """
    db = raw.astype(np.float32) / np.float32(100)
    db[raw == -32768] = np.nan
    return db


def grown(image: ClearImage) -> ClearImage:
    """Bring an image to a size that all networks can take.

    Args:
        image: Of any size.

    Returns:
        The image, padded by reflection to MIN_SIZE at least, its sides cropped to multiples of 16 pixels.
    """
    radar = None if image.radar is None else _grown(image.radar)
    return replace(image, optical=_grown(image.optical), radar=radar)


def _grown(image: Array) -> Array:
    """Pad and crop an array as `grown` does."""
    height, width = image.shape[1:]
    rows, cols = max(height, MIN_SIZE), max(width, MIN_SIZE)
    padded = np.pad(image, ((0, 0), (0, rows - height), (0, cols - width)), mode="reflect")
    return padded[:, : rows // 16 * 16, : cols // 16 * 16]


def tiles(path: Path, size: int = 256) -> Iterator[ClearImage]:
    """Cut a clear scene into squares.

    Args:
        path: File of 12 bands of Level-2A, DN.
        size: Side of a square in pixels.

    Yields:
        The whole squares, row by row, without radar.

    Raises:
        InputError: The file cannot be used.
    """
    names = tuple(name for name in BANDS if name != "B10")
    image = canonical(read_stack(path, len(names)), names)
    present = np.array([name in names for name in BANDS])
    for top in range(0, image.shape[1] - size + 1, size):
        for left in range(0, image.shape[2] - size + 1, size):
            yield ClearImage(image[:, top : top + size, left : left + size].copy(), present, None)
