"""Labelled images: cloud masks from other networks and from the eye, and the folds of their places.

    labels/items.json                  name, group (the source), level and bands present of every image
    labels/network.npz                 mask of the CloudSEN12 network by name (H, W): a CloudClass, or 4 for
                                       clear snow
    labels/network_b10_spectral.npz    the same, combined with B10 and a spectral network: above 0 is covered
    labels/by_eye.npz                  scenes labelled by eye (H, W): a CloudClass, 255 where uncertain
    labels/images_by_eye.csv           name and verdict of images that have a single class

The images are in the folders that `gathered` describes: tri_NAME_cloudy and pair_NAME_clear are in
triplets/NAME and pairs_s2/NAME; STEM_007 is the eighth image of STEM.npz.
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.errors import InputError
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.radiometry import QUANTIFICATION
from cmcr_cli.training.data.gathered import index, scene_files
from cmcr_cli.training.data.images import Array, read_raster
from cmcr_cli.training.data.series_file import DAMAGED, open_series
from cmcr_cli.training.data.suns import Suns, suns_of_raster, suns_of_series

Verdict = Literal["clear", "thick", "thin"]
Classes = NDArray[np.uint8]

FOLDS = 3
"""Number of folds of places; weights for scoring are trained without one fold."""

UNLABELLED = 255
"""Value of uncertain pixels in all masks."""

_VERDICTS: dict[str, Verdict] = {
    "clear": "clear",
    "wholly under thick cloud": "thick",
    "wholly under thin cloud or cirrus": "thin",
}

# Places with many clouds are assigned by hand, so that each fold has thick cloud, thin cloud and shadow.
# Other places are assigned by a checksum of their names, which gives each fold clear ground of every kind.
_BY_HAND = {
    1: (
        "ROIs1970_fall_s2_136", "triplets d", "triplets k", "ssl4eo_0000200", "biomassters_288afc34",
        "worldcereal_00002806639B424A", "thailand",
    ),
    2: (
        "italy", "triplets b", "triplets h", "ROIs1158_spring_s2_39", "ROIs1970_fall_s2_85",
        "sigssl4eo_000000", "biomassters_000aa810", "belgium", "ravaen_lahinch",
    ),
    3: (
        "triplets a", "triplets f", "ROIs1158_spring_s2_26", "ROIs1868_summer_s2_100",
        "ROIs1868_summer_s2_101", "ROIs2017_winter_s2_102", "mamba", "eotdl_boadella_12dates",
        "eolearn_reference_scenes",
    ),
}  # fmt: skip
_FOLD_OF = {place: fold for fold, places in _BY_HAND.items() for place in places}

# Files of one place with different names.
_SAME_PLACE = {
    "sen12mscrts_italy_2018": "italy",
    "sen12mscrts_italy_2018_more": "italy",
    "presto_wc_2020_20months": "belgium",
    "worldcereal_belgium_31UFS": "belgium",
    "ssl4eo_0000200_L1C": "ssl4eo_0000200",
    "ssl4eo_0000200_L2A": "ssl4eo_0000200",
}
_BY_TENS = ("eurosat", "benv2")
"""Files in which neighbouring numbers are neighbouring places."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image with its labels.

    Attributes:
        name: Name in items.json.
        source: Data set, such as `triplets`; the `group` of items.json.
        level: L1C or L2A.
        place: Name of the place, see `place_of`.
        image: Reflectance (13, H, W); absent bands are 0.
        present: Bands that the image has (13,).
        network: Mask of the CloudSEN12 network (H, W): a CloudClass, 4 for clear snow, or UNLABELLED.
        covered: 1 where that network, B10 or a spectral network finds cloud or shadow, else 0, (H, W); or
            None.
        by_eye: Mask by eye (H, W): a CloudClass or UNLABELLED; None: not labelled by eye.
        verdict: Class of the whole image by eye: clear, thick or thin cloud; None: mixed or not inspected.
        suns: Where the sun may have been; nothing if that is unknown. North is at the top of the image.
    """

    name: str
    source: str
    level: str
    place: str
    image: Array
    present: NDArray[np.bool_]
    network: Classes
    covered: Classes | None
    by_eye: Classes | None
    verdict: Verdict | None
    suns: Suns = ()


def has_labels(folder: Path) -> bool:
    """Tell whether training data have labels.

    Args:
        folder: Folder of training data.

    Returns:
        Whether it has labels/items.json.
    """
    return (folder / "labels" / "items.json").is_file()


def label_count(folder: Path) -> int:
    """Count the labelled images, whether their files are there or not.

    Args:
        folder: Folder of training data, with labels/.

    Returns:
        Number of images in items.json.
    """
    return len(_items(folder))


def check_labels(folder: Path) -> None:
    """Check the labels of a folder without reading images and masks.

    Args:
        folder: Folder of training data, with labels/.

    Raises:
        InputError: A file is missing or damaged, or an image has no mask.
    """
    labels, images = folder / "labels", _Images(folder)
    names = {str(item["name"]) for item in _items(folder) if images.there(str(item["name"]))}
    _verdicts(folder)
    for file in ("network", "network_b10_spectral", "by_eye"):
        path = labels / f"{file}.npz"
        if file == "network" or path.is_file():
            with _arrays(path) as masks:
                there = set(masks.files)
            if file == "network" and (lacking := names - there):
                raise InputError(
                    f"{labels}: items.json names {min(lacking)}, but network.npz has no mask of it; expected "
                    "one"
                )


def labelled_images(folder: Path) -> Iterator[LabelledImage]:
    """Yield all labelled images in the order of items.json, except those whose file is missing.

    Args:
        folder: Folder of training data, with labels/.

    Yields:
        One image after the other; only the current file is kept in memory.

    Raises:
        InputError: items.json or network.npz is missing or damaged, or a mask differs in size from its image.
    """
    items, labels, verdicts = _items(folder), folder / "labels", _verdicts(folder)
    images = _Images(folder)
    with _arrays(labels / "network.npz") as network:
        joined, by_eye = (_optional(labels / f"{name}.npz") for name in ("network_b10_spectral", "by_eye"))
        for item in items:
            name = str(item["name"])
            dn = images.read(name)
            if dn is None:
                continue
            if name not in network:
                raise InputError(
                    f"{labels}: items.json names {name}, but network.npz has no mask of it; expected one"
                )
            classes = _mask(network, name, labels)
            covered = joined.get(name)
            found = LabelledImage(
                name=name,
                source=str(item["group"]),
                level=str(item["level"]),
                place=place_of(name, folder),
                image=dn.astype(np.float32) / np.float32(QUANTIFICATION),
                present=np.array(item["present"], bool),
                network=classes,
                covered=None if covered is None else (covered > 0).astype(np.uint8),
                by_eye=by_eye.get(name),
                verdict=verdicts.get(name),
                suns=images.suns(name),
            )
            for mask in (found.network, found.covered, found.by_eye):
                if mask is not None and mask.shape != found.image.shape[1:]:
                    raise InputError(
                        f"{labels}: the mask of {name} has {mask.shape} pixels; expected those of its image, "
                        f"{found.image.shape[1:]}"
                    )
            yield found


def place_of(name: str, folder: Path) -> str:
    """Name the place that an image shows; all images of a place are in one fold.

    Args:
        name: Name of the image in items.json, or STEM_III for image III of any array file.
        folder: Folder of training data; triplets/index.csv and one array file name further places.

    Returns:
        Name of the place.
    """
    kind, _, rest = name.partition("_")
    if kind == "tri":
        scene = _scenes(folder).get(rest.rpartition("_")[0])
        return f"triplets {scene}" if scene else name
    if kind == "pair":
        return "_".join(rest.split("_")[:4])  # the season and the number of the scene
    stem, _, number = name.rpartition("_")
    if not number.isdecimal():
        return name
    if kind in _BY_TENS:
        return f"{kind}_{int(number) // 10}"
    if kind == "czech":
        return f"czech_{_czech_groups(folder)[int(number)]}"
    if kind == "terramind":
        return stem.rpartition("_")[0]  # without the level
    return _SAME_PLACE.get(stem, stem)


def fold_of(place: str) -> int:
    """Assign a place to a fold, always to the same.

    Args:
        place: Its name.

    Returns:
        1 to FOLDS.
    """
    return _FOLD_OF.get(place) or zlib.crc32(place.encode()) % FOLDS + 1


class _Images:
    """Reads images of a folder by name; keeps the last array file in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: tuple[Path | None, NDArray[Any]] = (None, np.zeros(0))
        self._suns: list[Suns] = []

    def there(self, name: str) -> bool:
        """Tell whether the file of an image is there."""
        path = self._path(name)
        return path is not None and path.is_file()

    def read(self, name: str) -> NDArray[Any] | None:
        """Read DN (13, H, W) of an image; None if its file is missing."""
        path = self._path(name)
        if path is None or not path.is_file():
            return None
        if path.suffix == ".npz":
            if self._kept[0] != path:
                with open_series(path) as data:
                    self._kept = path, data["s2"]
                    images, _, height, width = self._kept[1].shape
                    self._suns = suns_of_series(data, images, height, width)
            number = int(name.rpartition("_")[2])
            if number >= len(self._kept[1]):
                raise InputError(
                    f"{path}: has {len(self._kept[1])} images; expected one of the number {number}, as "
                    f"labels/items.json names {name}"
                )
            return np.asarray(self._kept[1][number])
        if name == "thailand":
            no_cirrus = read_raster(path, len(BANDS) - 1)
            return np.insert(no_cirrus, BANDS.index("B10"), 0, axis=0)
        return read_raster(path, len(BANDS))

    def suns(self, name: str) -> Suns:
        """Tell where the sun may have been in the image that was read last."""
        path = self._path(name)
        if path is None or path.suffix != ".npz":
            return () if path is None else suns_of_raster(path)
        return self._suns[int(name.rpartition("_")[2])]

    def _path(self, name: str) -> Path | None:
        kind, _, rest = name.partition("_")
        if folder := {"tri": "triplets", "pair": "pairs_s2"}.get(kind):
            scene, _, role = rest.rpartition("_")
            return self._folder / folder / scene / f"s2_{role}.tif"
        if name == "thailand":
            return next((path for path in scene_files(self._folder) if path.stem.startswith(name)), None)
        if name == "mamba":
            return next(self._folder.glob("scenes/mamba_*/s2_cloudy.tif"), None)
        stem, _, number = name.rpartition("_")
        if not number.isdecimal():
            return None
        paths = (self._folder / where / f"{stem}.npz" for where in ("optical", "places"))
        return next((path for path in paths if path.is_file()), None)


def _items(folder: Path) -> list[dict[str, Any]]:
    path = folder / "labels" / "items.json"
    try:
        items: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        lacking = [key for item in items for key in ("name", "group", "level", "present") if key not in item]
        odd = [] if lacking else [str(item["name"]) for item in items if len(item["present"]) != len(BANDS)]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); expected a list of labelled images") from error
    if lacking:
        raise InputError(f"{path}: an image has no {lacking[0]!r}; expected name, group, level and present")
    if odd:
        raise InputError(f"{path}: {odd[0]} has another number of bands present; expected {len(BANDS)}")
    return items


def _verdicts(folder: Path) -> dict[str, Verdict]:
    path = folder / "labels" / "images_by_eye.csv"
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = {row["name"]: row["verdict"] or "" for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); expected a CSV with the columns name and verdict"
        ) from error
    if unknown := set(rows.values()) - _VERDICTS.keys():
        raise InputError(
            f"{path}: found the verdict {min(unknown)!r}; expected one of {', '.join(_VERDICTS)}"
        )
    return {name: _VERDICTS[verdict] for name, verdict in rows.items()}


def _arrays(path: Path) -> Any:
    """Open a .npz file; InputError if it cannot be read."""
    try:
        return np.load(path, allow_pickle=False)
    except DAMAGED as error:
        raise InputError(f"{path}: cannot be read ({error}); expected a complete .npz file") from error


def _optional(path: Path) -> Mapping[str, Classes]:
    """Read all masks of a file; {} if there is no such file."""
    if not path.is_file():
        return {}
    with _arrays(path) as masks:
        return {name: _mask(masks, name, path) for name in masks}


def _mask(masks: Any, name: str, where: Path) -> Classes:
    """Read one array of an open file."""
    try:
        found: Classes = masks[name]
    except DAMAGED as error:
        raise InputError(f"{where}: the array {name} cannot be read ({error}); copy it again") from error
    return found


@lru_cache
def _scenes(folder: Path) -> dict[str, str]:
    """Scene of each triplet by name."""
    return {row["name"]: row["scene"] for row in index(folder)}


@lru_cache
def _czech_groups(folder: Path) -> list[int]:
    """Group of each Czech tile; tiles of one group are neighbours."""
    path = folder / "optical" / "czech_forest_64px.npz"
    with _arrays(path) as data:
        return [int(group) for group in _mask(data, "group", path)]
