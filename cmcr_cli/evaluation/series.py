"""Cases of restoring with references: a clear date of a real series under painted cloud, and other dates.

The clear dates of a place are known from labels/, or else from the comparison with the other dates. Each case
takes one of them as the truth, covers a part of it with opaque cloud, and offers others as references.
"""

from __future__ import annotations

import datetime
import itertools
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.radiometry import QUANTIFICATION
from cmcr_cli.training.data import gathered
from cmcr_cli.training.data.grounds import is_clear
from cmcr_cli.training.data.images import Array, Pair, cirrus_subtracted, has_cloud
from cmcr_cli.training.data.labels import has_labels, labelled_images, place_of
from cmcr_cli.training.data.series_file import open_series
from cmcr_cli.training.samples.held_out import evenly
from cmcr_cli.training.samples.synthesis import DROPS, transplant

Mask = NDArray[np.bool_]
Gap = Literal["<= 20 days", "<= 70 days", "> 70 days"]
Hole = Literal["small holes", "half the window"]
Variant = Literal["one clear", "four clear", "earlier only", "three cloudy"]

GAPS: dict[Gap, tuple[int, int]] = {"<= 20 days": (1, 20), "<= 70 days": (21, 70), "> 70 days": (71, 4000)}
"""Days between the target and the nearest reference."""

HOLES: dict[Hole, tuple[float, float]] = {"small holes": (0.25, 4.0), "half the window": (0.5, 40.0)}
"""Share of the window under cloud without its rim, and std in pixels of the smoothing of its noise field."""

VARIANTS: tuple[Variant, ...] = get_args(Variant)
"""Sets of references: the nearest one; up to four; up to four before the target; three of them, each about
40 % covered by real clouds, with true masks."""

TARGETS = 5
"""Largest number of targets for each place and gap."""

LARGEST = 192
"""Largest side of a window in pixels; larger images are cropped around their centre."""

_MOST = 4  # references
_UNIT = 16  # pixels; all networks need multiples of it
_KNOWN = 0.9  # smallest share of valid pixels of an image
_CLOUDS = 12  # pairs from which clouds are extracted
_CLOUDY = 0.32, 0.48  # range of the share of a cloudy reference that is covered
_TRIES = 12
_BRIGHTER, _DARKER, _CHANGED = 0.04, 0.5, 0.01
_MONTH = 30.4  # days
_BLUE, _INFRARED = BANDS.index("B02"), BANDS.index("B08")


@dataclass(frozen=True, slots=True, eq=False)
class SeriesReference:
    """Another date of the ground of a case.

    Attributes:
        reflectance: Reflectance (13, H, W); absent bands are 0.
        present: Bands that the image has (13,).
        clear: Pixels that are valid and not under cloud or shadow (H, W).
        days: Days before the target; negative: after it.
    """

    reflectance: Array
    present: Mask
    clear: Mask
    days: int


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """An image to restore, whose truth is known, with references.

    Attributes:
        place: Name of the place.
        date: Date of the target, as stored.
        gap: Days to the nearest reference.
        hole: Kind of the covered area.
        variant: How references were selected.
        target: True reflectance (13, H, W); absent bands are 0.
        seen: Reflectance with cloud (13, H, W).
        opacity: Opacity of the cloud, 0 to 1, (H, W).
        present: Bands that the image has (13,).
        radar: VV and VH in dB (2, H, W), NaN where invalid; None: no radar.
        valid: Pixels with data (H, W).
        covered: Pixels under cloud, to restore and score; all are valid (H, W).
        references: Other dates, the nearest first.
    """

    place: str
    date: str
    gap: Gap
    hole: Hole
    variant: Variant
    target: Array
    seen: Array
    opacity: Array
    present: Mask
    radar: Array | None
    valid: Mask
    covered: Mask
    references: tuple[SeriesReference, ...]

    @property
    def clear(self) -> Mask:
        """Valid pixels without cloud (H, W), from which a method may learn."""
        return self.valid & ~self.covered

    @property
    def name(self) -> str:
        """Name for tables; the same for all variants."""
        return f"{self.place} {self.date}, {self.gap}, {self.hole}"


@dataclass(slots=True)
class _Dates:
    """Clear dates of one place on one grid with the same bands; lists are parallel, in order of time."""

    days: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    images: list[Array] = field(default_factory=list)
    valid: list[Mask] = field(default_factory=list)
    radar: list[Array | None] = field(default_factory=list)


def cases(
    data: Path,
    variants: Sequence[Variant] = VARIANTS,
    targets: int = TARGETS,
    progress: Callable[[float], None] = lambda done: None,
) -> Iterator[Case]:
    """Yield cases from the series of a folder; the same in every run.

    All variants of a target and hole follow each other. A target without enough references for a variant
    does not have it: "three cloudy" needs three, "earlier only" one before the target within the gap.

    Args:
        data: Folder of the gathered layout.
        variants: Which sets of references.
        targets: Largest number of targets for each place and gap.
        progress: Called with the share of the places that is done, 0 to 1.

    Yields:
        One case after the other; one place is in memory at a time.
    """
    grouped: dict[tuple[Any, ...], list[Path]] = defaultdict(list)
    for path in gathered.series_files(data):
        if key := _key(path, data):
            grouped[key].append(path)
    if not grouped:
        return
    known = {}
    if has_labels(data):
        known = {image.name: is_clear(image) for image in labelled_images(data)}
    clouds = _clouds(data) if "three cloudy" in variants else []
    for done, ((place, *_), paths) in enumerate(grouped.items()):
        progress(done / len(grouped))
        dates, present = _read(paths, known)
        for gap, hole in itertools.product(GAPS, HOLES):
            for index in evenly(_targets(dates.days, gap), targets):
                yield from _of_target(str(place), dates, present, index, gap, hole, variants, clouds)
    progress(1.0)


def _key(path: Path, data: Path) -> tuple[Any, ...] | None:
    """Key of a series: place, size and bands; None for files that are not a series of dates."""
    with open_series(path) as file:
        shape, present = file["s2"].shape, file["s2_present"]
        dated = "s2_dates" in file.files and _day(str(file["s2_dates"][0])) is not None
        if "place_id" in file.files or not dated or not present[_BLUE]:
            return None
    return place_of(f"{path.stem}_000", data), shape[2:], tuple(present)


def _day(date: str) -> int | None:
    """Number of the day of a date such as 2020-06-04, 20200604 or 03Dec, the fourth month; None: unknown."""
    if date[:2].isdecimal() and date[2:].isalpha():
        return round(int(date[:2]) * _MONTH)
    try:
        return datetime.date.fromisoformat(date).toordinal()
    except ValueError:
        return None


def _read(paths: Sequence[Path], known: dict[str, bool]) -> tuple[_Dates, Mask]:
    """Read the clear dates of a place, and the bands that they have."""
    found: dict[int, tuple[str, Array, Mask, Array | None]] = {}
    for path in paths:
        with open_series(path) as file:
            optical, present = file["s2"], file["s2_present"].astype(bool)
            inside = file["valid"] if "valid" in file.files else np.ones_like(optical[:, 0], bool)
            radar = file["s1"] if "s1" in file.files else None
            dates = [str(date) for date in file["s2_dates"]]
            radar_dates = [str(date) for date in file["s1_dates"]] if radar is not None else []
        for index in _clear_dates(path.stem, optical, known):
            day = _day(dates[index])
            valid = _cut(inside[index] & (optical[index][present] > 0).all(axis=0))
            if day is None or day in found or valid.mean() < _KNOWN:
                continue
            nearest = None if radar is None else radar[gathered.nearest_radar(index, dates, radar_dates)]
            image = _cut(optical[index]).astype(np.float32) / np.float32(QUANTIFICATION)
            db = None if nearest is None else gathered.decode_radar(_cut(nearest))
            found[day] = dates[index], image * present[:, None, None], valid, db
    series = _Dates()
    for day, (name, image, valid, db) in sorted(found.items()):
        for values, value in zip(
            (series.days, series.names, series.images, series.valid, series.radar),
            (day, name, image, valid, db),
            strict=True,
        ):
            values.append(value)  # type: ignore[attr-defined]
    return series, present


def _cut(image: NDArray[Any]) -> NDArray[Any]:
    """The centre of an image, at most LARGEST px wide, in whole units."""
    for axis in (-2, -1):
        size = min(image.shape[axis], LARGEST) // _UNIT * _UNIT
        start = (image.shape[axis] - size) // 2
        image = np.take(image, range(start, start + size), axis)
    return image


def _clear_dates(stem: str, optical: NDArray[Any], known: dict[str, bool]) -> list[int]:
    """Indices of dates without cloud: by the labels, or else those without bright or dark areas of their own.

    In a series that has labels, unlabelled dates are left out.
    """
    names = [f"{stem}_{index:03d}" for index in range(len(optical))]
    if any(name in known for name in names):
        return [index for index, name in enumerate(names) if known.get(name, False)]
    chosen = gathered.clear_dates(optical)
    if not chosen:
        return []
    blue, infrared = (optical[chosen, band] / np.float32(QUANTIFICATION) for band in (_BLUE, _INFRARED))
    cloud = blue > np.median(blue, axis=0) + _BRIGHTER
    dark = (infrared < _DARKER * np.median(infrared, axis=0)) & (infrared.max(axis=0) > 0)
    changed = (cloud | dark).mean(axis=(1, 2))
    return [index for index, share in zip(chosen, changed, strict=True) if share < _CHANGED]


def _targets(days: Sequence[int], gap: Gap) -> list[int]:
    """Indices of dates that have a reference within the gap."""
    low, high = GAPS[gap]
    return [i for i, day in enumerate(days) if any(low <= abs(day - other) <= high for other in days)]


def _of_target(
    place: str,
    dates: _Dates,
    present: Mask,
    index: int,
    gap: Gap,
    hole: Hole,
    variants: Sequence[Variant],
    clouds: Sequence[Pair],
) -> Iterator[Case]:
    """Yield the variants of one target and hole."""
    rng = np.random.default_rng([zlib.crc32(place.encode()), dates.days[index], list(HOLES).index(hole)])
    truth, valid = dates.images[index], dates.valid[index]
    seen, opacity = _painted(truth, *HOLES[hole], rng)
    low, high = GAPS[gap]
    usable = [
        SeriesReference(dates.images[i], present, dates.valid[i], dates.days[index] - day)
        for i, day in enumerate(dates.days)
        if abs(dates.days[index] - day) >= low
    ]
    usable.sort(key=lambda reference: (abs(reference.days), reference.days))
    earlier = [reference for reference in usable if reference.days > 0]
    whole = Case(
        place, dates.names[index], gap, hole, "one clear", truth, seen * present[:, None, None], opacity,
        present, dates.radar[index], valid, (opacity > 0) & valid, tuple(usable[:1]),
    )  # fmt: skip
    for variant in variants:
        if variant == "one clear":
            yield whole
        elif variant == "four clear" and len(usable) > 1:
            yield replace(whole, variant=variant, references=tuple(usable[:_MOST]))
        elif variant == "earlier only" and earlier and earlier[0].days <= high:
            yield replace(whole, variant=variant, references=tuple(earlier[:_MOST]))
        elif variant == "three cloudy" and len(usable) >= 3 and clouds:
            cloudy = tuple(_clouded(reference, clouds, rng) for reference in usable[:3])
            yield replace(whole, variant=variant, references=cloudy)


def _painted(truth: Array, share: float, size: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Cover a share of an image with opaque cloud of droplets, about `size` pixels wide.

    Returns:
        Reflectance (13, H, W), and opacity (H, W), which falls from 1 to 0 within two pixels.
    """
    shape = truth.shape[1:]
    size = min(size, min(shape) / 6)
    shapes = ndimage.gaussian_filter(rng.standard_normal(shape), size, mode="wrap", truncate=3)
    core = shapes >= np.quantile(shapes, 1 - share)
    opacity = np.clip(2 * ndimage.gaussian_filter(core.astype(np.float32), 0.8, truncate=2), 0, 1)
    opacity = np.where(core, 1, opacity).astype(np.float32)
    texture = ndimage.gaussian_filter(rng.standard_normal(shape), 3, mode="wrap")
    light = rng.uniform(0.45, 0.9) * (1 + 0.05 * texture / texture.std()) * DROPS[:, None, None]
    return np.asarray(truth * (1 - opacity) + light * opacity, np.float32), opacity


def _clouds(data: Path) -> list[Pair]:
    """Some pairs of the folder that contain cloud."""
    folders = [data / "triplets" / row["name"] for row in gathered.index(data) if row["split"] == "train"]
    folders += gathered.pair_folders(data)
    pairs = (cirrus_subtracted(gathered.read_folder(folder)) for folder in evenly(folders, 2 * _CLOUDS))
    return list(itertools.islice((pair for pair in pairs if has_cloud(pair)), _CLOUDS))


def _clouded(reference: SeriesReference, clouds: Sequence[Pair], rng: np.random.Generator) -> SeriesReference:
    """Add real cloud and its shadow to a reference, so that about 40 % of it are covered."""
    best, distance = reference, np.inf
    for _ in range(_TRIES):
        pair = clouds[int(rng.integers(len(clouds)))]
        image, opacity, shadow = transplant(reference.reflectance, pair, rng)
        covered = (opacity > 0.02) | (shadow > 0.04)
        share = float(covered.mean())
        off = max(_CLOUDY[0] - share, share - _CLOUDY[1])
        if off < distance:
            image = image * reference.present[:, None, None]
            best, distance = replace(reference, reflectance=image, clear=reference.clear & ~covered), off
        if off <= 0:
            break
    return best
