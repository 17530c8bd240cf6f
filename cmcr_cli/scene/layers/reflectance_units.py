"""Units of optical images: what the numbers of a file are as reflectance, and whether they can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.errors import RadiometryError
from cmcr_cli.scene.layers.band_pixels import are_alike, sample_windows
from cmcr_cli.scene.radiometry import QUANTIFICATION, Radiometry
from cmcr_cli.warning_kinds import RadiometryWarning

OffsetSource = Literal["product", "tag", "option", "assumed 0"]

STORED = ("uint16", "int16")
"""Types of DN that all is computed from; others are converted as they are read."""

CONVERTED = ("float32", "float64", "uint8", "int8", "uint32", "int32")

BRIGHT = 2.4
"""Reflectance that 1 % of the pixels of a band do not exceed; they exceed 1.97 in one of 275 real images."""

DARKEST = ((0.06, 0.8), (0.1, 1.3))
"""Reflectance below which hardly all is, where the infrared is more than this part of the red."""

CURE = (
    "Give the reflectance of one DN as --scale: 0.0001 if DN = reflectance x 10000 is right all the same, "
    "1.526e-05 for x 65535, 0.003922 for x 255, 0.001 for x 1000"
)

STEPS = (3.2767, 3.2768, 6.5535, 6.5536, 257.0)
"""Steps of DN that had 1 / 10 000 or 8 bits, and were stretched to 15 or 16 bits."""

LEAST_VALUES = 100
"""Distinct values that show whether DN have a step."""

OCCUPIED_RANGE, LEAST_EACH, LEAST_OCCUPIED = (10, 60), 20, 0.6
"""Percentiles between which DN are counted, pixels for each of them, and share of them that occur."""

LEAST_OF_TAGGED = 0.001
"""Reflectance of the brightest pixels below which tags do not belong to them."""

ONE = 20.0
"""Fractions are reflectance up to this value, and DN above."""


@dataclass(frozen=True, slots=True)
class Units:
    """What the numbers of a file mean.

    Attributes:
        radiometry: Reflectance of its numbers.
        source: Where the offset comes from.
        stated: Whether the option, the file or its product says so.
        warnings: What is odd.
    """

    radiometry: Radiometry
    source: OffsetSource
    stated: bool
    warnings: tuple[RadiometryWarning, ...] = ()


def find_units(
    dataset: Any, indexes: Sequence[int], path: str, *, scale: float | None, offset: float | None
) -> Units:
    """Find out what the numbers of a file mean: by the options, else its tags, else its type.

    Args:
        dataset: The open file.
        indexes: Its bands, from 1.
        path: Its path, for messages.
        scale: Reflectance of one number, by the option.
        offset: In numbers of the file, by the option.

    Returns:
        The units.

    Raises:
        RadiometryError: They are not known, or the tags make no sense.
    """
    dtypes = {dataset.dtypes[index - 1] for index in indexes}
    if len(dtypes) > 1 or not dtypes <= {*STORED, *CONVERTED}:
        raise RadiometryError(
            f"{path}: has {', '.join(sorted(dtypes))} pixels; expected DN as uint16 or int16 (reflectance x "
            f"{QUANTIFICATION}), or reflectance as float32. Convert them with gdal_translate -ot."
        )
    (dtype,) = dtypes
    tags = {(dataset.scales[index - 1], dataset.offsets[index - 1]) for index in indexes}
    tagged = _of_tags(tags, path) if scale is None and tags != {(1.0, 0.0)} else None
    if tagged is not None:
        if dtype.startswith("float"):
            _check_tagged(dataset, indexes, path, tagged)
        if offset is None or offset == tagged.offset:
            return Units(tagged, "tag", True)
        found = RadiometryWarning(f"--offset {offset:g} is used; the file's tags say {tagged.offset:g}")
        return Units(Radiometry(offset, tagged.quantification), "option", True, (found,))
    source: OffsetSource = "assumed 0" if offset is None else "option"
    if scale is not None:
        warnings: tuple[RadiometryWarning, ...] = ()
        if tags != {(1.0, 0.0)}:
            stated = ", ".join(f"{one:g} and {other:g}" for one, other in sorted(tags))
            warnings = (
                RadiometryWarning(
                    f"--scale {scale:g} is used; the file's tags say scale and offset {stated}"
                ),
            )
        return Units(Radiometry(offset or 0.0, round(1 / scale, 3)), source, True, warnings)
    if dtype in STORED:
        return Units(Radiometry(offset or 0.0), source, False)
    if not dtype.startswith("float"):
        raise RadiometryError(
            f"{path}: has {dtype} pixels; expected DN as uint16 or int16 (reflectance x {QUANTIFICATION}), "
            "or reflectance as float32. State the reflectance of one DN with --scale, such as --scale "
            "0.0001, or --scale 0.003922 for a picture of 0 to 255."
        )
    return Units(_of_fractions(dataset, indexes, path, offset or 0.0), source, False)


def _of_tags(tags: set[tuple[float, float]], path: str) -> Radiometry:
    if len(tags) > 1:
        raise RadiometryError(
            f"{path}: its bands have different scale or offset tags {sorted(tags)}; expected one pair. Make "
            "them agree with gdal_edit -scale -offset, or give --scale and --offset."
        )
    ((scale, shift),) = tags
    if not 0 < scale <= 0.01:
        raise RadiometryError(
            f"{path}: its tags say reflectance = DN x {scale:g} + {shift:g}; expected a scale near "
            f"{1 / QUANTIFICATION}. Set the tags right with gdal_edit -scale -offset, or give --scale and "
            "--offset."
        )
    # Some writers keep tags as float32: -0.1 / 0.0001 must be -1000, not a number beside it.
    return Radiometry(offset=round(shift / scale, 3), quantification=round(1 / scale, 3))


def _check_tagged(dataset: Any, indexes: Sequence[int], path: str, tagged: Radiometry) -> None:
    """Refuse the tags of DN on fractions to which they have been applied already."""
    high = _high(dataset, indexes)
    if 0 < high <= BRIGHT and tagged.reflectance(np.array([high]))[0] < LEAST_OF_TAGGED:
        raise RadiometryError(
            f"{path}: its tags say reflectance = (DN + {tagged.offset:g}) / {tagged.quantification:g}, but "
            f"its {dataset.dtypes[indexes[0] - 1]} pixels are up to {high:.3g}; expected DN, or no such "
            "tags. If the pixels are reflectance already, give --scale 1."
        )


def _high(dataset: Any, indexes: Sequence[int]) -> float:
    """What 1 % of the valid pixels are above in the brightest band; 0 where none is valid."""
    pixels = sample_windows(dataset, indexes)
    values = pixels[:, np.isfinite(pixels).all(axis=0)]
    nodata = 0 if dataset.nodata is None else dataset.nodata
    values = values[:, (values != nodata).any(axis=0)]
    return float(np.percentile(values, 99, axis=1).max()) if values.size else 0.0


def _of_fractions(dataset: Any, indexes: Sequence[int], path: str, offset: float) -> Radiometry:
    """Units of floating-point numbers without tags: reflectance, or DN that were converted."""
    high = _high(dataset, indexes)
    if high <= BRIGHT:
        return Radiometry(offset, 1.0)
    if high <= ONE:
        raise RadiometryError(
            f"{path}: has {dataset.dtypes[indexes[0] - 1]} pixels of which 1 % are above {high:.3g} in a "
            f"band; expected reflectance, 0 to 1, or DN = reflectance x {QUANTIFICATION}. Give the "
            "reflectance of 1 as --scale, such as --scale 0.01 for per cent."
        )
    return Radiometry(offset, QUANTIFICATION)


def check_range(
    dn: NDArray[Any], radiometry: Radiometry, names: Sequence[str], path: str
) -> tuple[RadiometryWarning, ...]:
    """Refuse numbers that are no reflectance in the units that were assumed.

    Args:
        dn: Of valid pixels (bands, n).
        radiometry: Of them.
        names: Of the bands.
        path: For messages.

    Returns:
        A warning where they may be none.

    Raises:
        RadiometryError: The pixels are too bright or too dark for any scene, or have too few values.
    """
    reflectance = radiometry.reflectance(dn)
    high = float(np.percentile(reflectance, 99, axis=1).max())
    found = f"{path}: with reflectance = (DN + {radiometry.offset:g}) / {radiometry.quantification:g}"
    if high > BRIGHT:
        raise RadiometryError(
            f"{found}, 1 % of the pixels are above {high:.2f} in a band; expected {BRIGHT} at most. {CURE}."
        )
    top = float(dn.max()) + radiometry.offset
    if top <= 2:
        raise RadiometryError(
            f"{found}, no DN is above {top:g}; expected thousands. The fractions were probably cut off when "
            "reflectance was converted to whole numbers: write them again, times 10000."
        )
    if _too_dark(reflectance, names, high):
        raise RadiometryError(
            f"{found}, nothing is above {high:.3f} and yet it is not water; expected brighter ground. {CURE}."
        )
    if (step := _step(dn)) is not None:
        raise RadiometryError(
            f"{found}, the DN are multiples of {step:.4g}; expected DN = reflectance x {QUANTIFICATION}. "
            f"{CURE}."
        )
    if _stretched(dn, reflectance):
        raise RadiometryError(
            f"{path}: all bands have the same maximum, {top - radiometry.offset:g}, as after stretching each "
            "to one range; expected reflectance, in which bands can be compared. Write them again without "
            "stretching."
        )
    share = _occupied(dn)
    if share < LEAST_OCCUPIED:
        text = (
            f"only {share:.0%} of all DN occur, as if they had been multiplied: expected DN = reflectance x "
            f"{QUANTIFICATION}. {CURE}"
        )
        return (RadiometryWarning(text),)
    if top <= 255:
        return (RadiometryWarning(f"no DN is above {top:g}. If this is not dark water: {CURE}"),)
    return ()


def _too_dark(reflectance: NDArray[np.float32], names: Sequence[str], high: float) -> bool:
    """Whether all is nearly black, but brighter in the infrared than water is."""
    if not {"B04", "B08"} <= set(names):
        return False
    red, infrared = (np.median(reflectance[list(names).index(name)]) for name in ("B04", "B08"))
    return any(high < most and infrared > ratio * red for most, ratio in DARKEST)


def _step(dn: NDArray[Any]) -> float | None:
    """The step of DN that were stretched to 16 bits, None where all numbers occur."""
    values = dn.ravel()[:: max(1, dn.size // 50_000)].astype(np.float64)
    values = values[values > 500]
    if len(np.unique(values)) < LEAST_VALUES:
        return None
    for step in STEPS:
        if (np.abs(values / step - np.rint(values / step)) * step <= 0.51).mean() > 0.98:
            return step
    return None


def _stretched(dn: NDArray[Any], reflectance: NDArray[np.float32]) -> bool:
    """Whether all bands of an image end at the same DN."""
    maxima = dn.max(axis=1)
    if len(dn) < 4 or (maxima != maxima[0]).any() or maxima[0] >= np.iinfo(dn.dtype).max:
        return False
    various = min(len(np.unique(band[::7])) for band in dn) >= LEAST_VALUES
    return various and are_alike(reflectance[:, :: max(1, reflectance.shape[1] // 4096)].astype(np.float64))


def _occupied(dn: NDArray[Any]) -> float:
    """Share of the DN of the common range that occur, 1 where too few pixels could show them all."""
    low, high = np.percentile(dn, OCCUPIED_RANGE).astype(np.int64)
    inside = dn[(dn >= low) & (dn < high)].astype(np.int64) - low
    if high - low < LEAST_VALUES or len(inside) < LEAST_EACH * (high - low):
        return 1.0
    return float(np.count_nonzero(np.bincount(inside, minlength=high - low)) / (high - low))
