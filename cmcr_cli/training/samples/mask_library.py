"""Training images of the cloud network, in cells of 20 m with the class of each cell.

If a folder has labels/, the classes come from other networks and from the eye, and further files are clear
ground. Otherwise they come from the opacity of pairs, and possible shadows are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.ground.pyramid import block_mean
from cmcr_cli.model.cloud_network import N_CLASSES
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.masks.mask_codes import CLEAR, SHADOW, THICK, THIN
from cmcr_cli.scene.radiometry import QUANTIFICATION
from cmcr_cli.training.data.gathered import (
    clear_dates,
    index,
    pair_folders,
    read_folder,
    series_files,
    triplets,
)
from cmcr_cli.training.data.grounds import SNOW
from cmcr_cli.training.data.images import Array, ClearImage, Pair, cirrus_subtracted, has_cloud, opacity
from cmcr_cli.training.data.labels import (
    UNLABELLED,
    LabelledImage,
    fold_of,
    has_labels,
    label_count,
    labelled_images,
    place_of,
)
from cmcr_cli.training.data.lazy import LazySequence
from cmcr_cli.training.data.library import Library
from cmcr_cli.training.data.series_file import open_series
from cmcr_cli.training.data.suns import Suns
from cmcr_cli.training.data.watched import watched
from cmcr_cli.training.samples.held_out import evenly
from cmcr_cli.training.samples.mask_ground import B09, B10
from cmcr_cli.training.samples.mask_samples import (
    CELL,
    CLEAR_BELOW,
    POOL,
    THICK_FROM,
    THIN_FROM,
    MaskImage,
    MaskLibrary,
)

SHOWN_CIRRUS = 0.015
"""Reflectance of B10 from which on a cell is cirrus, whatever other networks find."""

SMALLEST_PAIR = 150
"""Smallest side, in pixels, of images of a series from which clouds are extracted."""

CLEAR_CIRRUS = 0.0015
"""Reflectance of B10 over clear ground."""

_INFRARED = BANDS.index("B08")
_NEEDED = [BANDS.index(name) for name in ("B02", "B03", "B04", "B08")]


def mask_library(data: Path, library: Library, fold: int) -> MaskLibrary:
    """Make the training images of the cloud network.

    Scenes labelled by eye and other splits are excluded.

    Args:
        data: Folder of training data.
        library: Training images of the same folder.
        fold: Fold of places to exclude; 0: none.

    Returns:
        The images.

    Raises:
        InputError: The labels cannot be used.
    """
    if not has_labels(data):
        pair_of = lru_cache(POOL)(lambda n: _of_pair(library.pairs[n]))
        place_of_number = lru_cache(POOL)(lambda n: _clear(library.places[n][0], str(n), ""))
        return MaskLibrary(
            LazySequence(range(len(library.pairs)), pair_of),
            LazySequence(range(len(library.places)), place_of_number),
            library.pairs,
        )
    found, names, others = [], set(), _other_splits(data)
    for image in _labelled(data, "masks"):
        names.add(image.name)
        if image.by_eye is None and image.place not in others:
            found.append(_of_labels(image))
    found += list(_further(data, names))
    found = [image for image in found if fold_of(image.place) != fold]
    clear = [image for image in found if _is_clear(image)]
    return MaskLibrary([image for image in found if not _is_clear(image)], clear, _pairs(data, fold))


def held_out(data: Path, library: Library, fold: int, most: int) -> list[MaskImage]:
    """Make the validation images of the cloud network: images with clouds.

    Args:
        data: Folder of training data.
        library: Training images of the same folder; their pairs are used if there are no labels.
        fold: Fold of places to use; 0: the scenes labelled by eye, which are never used for training.
        most: Largest number of images.

    Returns:
        The images.
    """
    if not has_labels(data):
        return [_of_pair(library.pairs[n]) for n in evenly(range(len(library.pairs)), most)]
    found = (
        _of_labels(image)
        for image in _labelled(data, "masks for validation")
        if (fold_of(image.place) == fold if fold else image.by_eye is not None)
    )
    return evenly([image for image in found if not _is_clear(image)], most)


def _pairs(data: Path, fold: int) -> list[Pair]:
    """Pairs from which clouds are extracted, except those labelled by eye and those of `fold`."""
    by_eye = {image.name for image in _labelled(data, "masks by eye") if image.by_eye is not None}
    folders = {f"tri_{name}_cloudy": pair for name, pair in triplets(data, "train").items()}
    folders |= {f"pair_{path.name}_cloudy": read_folder(path) for path in pair_folders(data)}
    chosen = [
        cirrus_subtracted(pair)
        for name, pair in folders.items()
        if name not in by_eye and fold_of(place_of(name, data)) != fold
    ]
    return [pair for pair in [*chosen, *_series_pairs(data, fold)] if has_cloud(pair)]


def _series_pairs(data: Path, fold: int) -> Iterator[Pair]:
    """Yield cloudy dates of series, each with the nearest clear date, except those labelled by eye."""
    series: dict[str, list[LabelledImage]] = {}
    for image in _labelled(data, "masks of series"):
        if image.name.rpartition("_")[2].isdecimal() and fold_of(image.place) != fold:
            series.setdefault(image.name.rpartition("_")[0], []).append(image)
    for dates in series.values():
        clear = [number for number, image in enumerate(dates) if image.verdict == "clear"]
        if not clear or min(dates[0].image.shape[1:]) < SMALLEST_PAIR:
            continue
        for number, image in enumerate(dates):
            if number not in clear and image.by_eye is None and (image.network > CLEAR).any():
                yield _pair_of(image, dates[min(clear, key=lambda other: abs(other - number))])


def _pair_of(cloudy: LabelledImage, clear: LabelledImage) -> Pair:
    """Make a pair with opacity where the labels have cloud; absent bands are derived from neighbours."""
    images = _completed(cloudy), _completed(clear)
    labelled = (cloudy.network > CLEAR) & (cloudy.network < SHADOW)
    there = ndimage.binary_dilation(labelled, iterations=CELL)
    return Pair(*images, np.where(there, opacity(*images), 0).astype(np.float32), None)


def _completed(labelled: LabelledImage) -> Array:
    image, present = labelled.image.copy(), labelled.present
    for band, neighbour, share in ((0, 1, 1.0), (B09, B09 - 1, 0.5)):
        if not present[band]:
            image[band] = share * image[neighbour]
    if not present[B10]:
        image[B10] = CLEAR_CIRRUS
    return image


def _labelled(data: Path, what: str) -> Iterator[LabelledImage]:
    return watched(labelled_images(data), what, label_count(data))


def _other_splits(data: Path) -> set[str]:
    """Places of the triplets that are not for training."""
    return {f"triplets {row['scene']}" for row in index(data) if row["split"] != "train"}


def _of_labels(image: LabelledImage) -> MaskImage:
    """Make an image from its labels, corrected where the other network is known to fail."""
    labels = np.where(image.network == SNOW, CLEAR, image.network)
    if image.verdict in ("clear", "thick"):
        labels = np.full_like(labels, CLEAR if image.verdict == "clear" else THICK)
    elif image.verdict == "thin":
        labels = np.where(labels == THICK, THICK, THIN)
    elif image.covered is not None:
        missed = (labels == CLEAR) & (image.covered > 0)
        high = (image.image[B10] > SHOWN_CIRRUS) & image.present[B10]
        labels = np.where(missed, np.where(high, THIN, THICK), labels)
    measured: NDArray[np.bool_] = image.image[_NEEDED].max(axis=0) > 0
    known = (labels != UNLABELLED) & measured
    classes = np.stack([labels == kind for kind in range(N_CLASSES)])
    return _image(image.place, image.source, image.image, image.present, classes, known, image.suns)


def _further(data: Path, labelled: set[str]) -> Iterator[MaskImage]:
    """Yield the clear images of array files that have no label."""
    for path in series_files(data):
        with open_series(path) as arrays:
            optical, present = arrays["s2"], arrays["s2_present"]
            # The images of such a file are clear images of different places, not dates of a series.
            places = "place_id" in arrays.files
            clean = np.flatnonzero(arrays["clean"]) if "clean" in arrays.files else None
        if not present[_NEEDED].all():
            continue
        chosen = range(len(optical)) if places else clear_dates(optical)
        for number in chosen if clean is None else clean:
            name = f"{path.stem}_{number:03d}"
            if name not in labelled:
                image = optical[number].astype(np.float32) / np.float32(QUANTIFICATION)
                yield _clear(ClearImage(image, present, None), place_of(name, data), path.stem)


def _is_clear(image: MaskImage) -> bool:
    """Whether all known cells of an image are clear."""
    return float(image.classes[CLEAR].sum(dtype=np.float32)) >= float(image.weight.sum()) - 0.5


def _of_pair(pair: Pair) -> MaskImage:
    classes = np.zeros((N_CLASSES, *pair.opacity.shape), np.bool_)
    classes[THICK] = pair.opacity >= THICK_FROM
    classes[THIN] = (pair.opacity >= THIN_FROM) & ~classes[THICK]
    darker = ndimage.uniform_filter(pair.cloudy[_INFRARED], 5) < 0.9 * ndimage.uniform_filter(
        pair.clear[_INFRARED], 5
    )
    classes[CLEAR] = (pair.opacity < CLEAR_BELOW) & ~darker
    present = np.ones(len(BANDS), np.bool_)
    known = np.asarray(classes.any(axis=0))
    return _image("", "", pair.cloudy, present, classes, known)


def _clear(image: ClearImage, place: str, source: str) -> MaskImage:
    known = np.asarray(image.optical[_NEEDED].max(axis=0) > 0)
    classes = np.zeros((N_CLASSES, *known.shape), np.bool_)
    classes[CLEAR] = True
    return _image(place, source, image.optical, image.present, classes, known)


def _image(
    place: str,
    source: str,
    image: Array,
    present: NDArray[np.bool_],
    classes: NDArray[np.bool_],
    known: NDArray[np.bool_],
    suns: Suns = (),
) -> MaskImage:
    """Convert an image of 10 m pixels to cells; classes in half precision to save memory."""
    cells = block_mean(image * present[:, None, None])
    shares, weight = block_mean((classes & known).astype(np.float32)), block_mean(known.astype(np.float32))
    return MaskImage(place, source, cells, present, shares.astype(np.float16), weight, suns)
