"""Selection of training images from a folder of the gathered layout: clear ground by place, and clouds.

If the folder has labels/, they decide which dates of a series are clear. Scenes labelled by eye are excluded,
because they are for testing. A fold of places can be excluded as well, to be scored later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.training.data import gathered
from cmcr_cli.training.data.images import Array, ClearImage, Pair, cirrus_subtracted, ground_of, has_cloud
from cmcr_cli.training.data.labels import (
    UNLABELLED,
    LabelledImage,
    fold_of,
    has_labels,
    label_count,
    labelled_images,
    place_of,
)
from cmcr_cli.training.data.watched import watched

MOST_COVERED = 0.01
"""Share of a clear image that other networks may mark as covered."""

SNOW = 4
"""Code of clear snow in the masks of labels/network.npz."""

TILE = 96
"""Side in pixels below which four images are joined to one."""

_AS_ONE = ("benv2", "czech")
"""Sources of many small places with few bands or in one region; each source is drawn like one place."""


def training_images(folder: Path, fold: int = 0) -> tuple[list[list[ClearImage]], list[Pair]]:
    """Read the training images.

    Args:
        folder: Folder of the gathered layout.
        fold: Fold of places to exclude; 0: none.

    Returns:
        Clear images of each place, and pairs that contain cloud.
    """
    labelled: list[LabelledImage] = []
    if has_labels(folder):
        labelled = list(watched(labelled_images(folder), "labelled images", label_count(folder)))
    by_eye = {image.name for image in labelled if image.by_eye is not None}
    known = {image.name: image.name not in by_eye and is_clear(image) for image in labelled}
    pairs: dict[str, Pair] = {}
    images: list[ClearImage] = []
    named = _pair_folders(folder)
    for name, place in watched(named.items(), "pairs", len(named)):
        found = gathered.read_folder(place)
        pairs[name] = pair = replace(cirrus_subtracted(found), place=place_of(f"{name}_clear", folder))
        for image in ground_of(pair):
            cloudy = image.optical is found.cloudy  # this date seemed to be nearly cloudless
            if known.get(f"{name}_cloudy", True) if cloudy else f"{name}_clear" not in by_eye:
                images.append(image)
    places: dict[str, list[ClearImage]] = defaultdict(list)
    series = gathered.series_files(folder)
    for path in watched(series, "series", len(series)):
        images += _of_arrays(path, folder, known)
    for path in gathered.scene_files(folder):
        images += [replace(tile, place=path.stem.partition("_")[0]) for tile in gathered.tiles(path)]
    for image in images:
        if fold_of(image.place) != fold:
            kind = image.place.partition("_")[0]
            places[kind if kind in _AS_ONE else image.place].append(image)
    for path in watched(series, "series again, for their clouds", len(series)):
        for name, pair in gathered.cloudy_dates(path, known):
            pairs[name] = replace(pair, place=place_of(name, folder))
    clouds = [
        pair
        for name, pair in pairs.items()
        if has_cloud(pair) and not by_eye & {name, f"{name}_cloudy"} and fold_of(pair.place) != fold
    ]
    return list(places.values()), clouds


def is_clear(image: LabelledImage) -> bool:
    """Tell whether an image is clear, by the verdict of the eye, or else by the masks of other networks.

    Args:
        image: A labelled image.

    Returns:
        Whether the eye says so, or at most MOST_COVERED of it is covered.
    """
    if image.verdict is not None:
        return image.verdict == "clear"
    mask = image.network
    covered = (mask > 0) & (mask != SNOW) & (mask != UNLABELLED)
    if image.covered is not None:
        covered |= image.covered > 0
    return float(covered.mean()) < MOST_COVERED


def _pair_folders(folder: Path) -> dict[str, Path]:
    """Folders of the training triplets and the pairs without radar, by their names in the labels."""
    names = [row["name"] for row in gathered.index(folder) if row["split"] == "train"]
    found = {f"tri_{name}": folder / "triplets" / name for name in names}
    return found | {f"pair_{path.name}": path for path in gathered.pair_folders(folder)}


def _of_arrays(path: Path, folder: Path, known: dict[str, bool]) -> Iterator[ClearImage]:
    """Yield the clear images of an array file with their places; small images are joined."""
    found = [replace(image, place=place_of(name, folder)) for name, image in gathered.chosen(path, known)]
    if found and min(found[0].optical.shape[1:]) < TILE and not gathered.is_series(path):
        found = list(mosaics(found))
    for image in found:
        yield gathered.grown(image)


def mosaics(tiles: Iterable[ClearImage]) -> Iterator[ClearImage]:
    """Join four tiles of one place to one image.

    Args:
        tiles: Images of equal size.

    Yields:
        Joined images. If the tiles of a place are not a multiple of four, some are used twice.
    """
    places: dict[str, list[ClearImage]] = defaultdict(list)
    for tile in tiles:
        places[tile.place].append(tile)
    for images in places.values():
        for first in range(0, len(images), 4):
            four = [images[(first + step) % len(images)] for step in range(4)]
            radars = [tile.radar for tile in four if tile.radar is not None]
            radar = _mosaic(radars) if len(radars) == len(four) else None
            yield replace(four[0], optical=_mosaic([tile.optical for tile in four]), radar=radar)


def _mosaic(four: list[Array]) -> Array:
    rows: list[NDArray[np.float32]] = [np.concatenate(four[i : i + 2], axis=2) for i in (0, 2)]
    return np.concatenate(rows, axis=1)
