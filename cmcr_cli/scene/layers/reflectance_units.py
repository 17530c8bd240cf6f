"""Units of optical images: what the numbers of a file are as reflectance, and whether they can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np

from cmcr_cli.errors import RadiometryError
from cmcr_cli.scene.layers.band_pixels import sample_windows
from cmcr_cli.scene.layers.brightness import BRIGHT
from cmcr_cli.scene.radiometry import QUANTIFICATION, Radiometry
from cmcr_cli.warning_kinds import RadiometryWarning

OffsetSource = Literal["product", "tag", "option", "assumed 0"]

STORED = ("uint16", "int16")
"""Types of DN that all is computed from; others are converted as they are read."""

CONVERTED = ("float32", "float64", "uint8", "int8", "uint32", "int32")

LEAST_OF_TAGGED = 0.001
"""Reflectance of the brightest pixels below which tags do not belong to them."""

ONE = 20.0
"""Fractions are reflectance up to this value, and DN above."""

LARGEST = 1e6
"""Numbers that are as large are no DN; netCDF fills with 1e20 and more."""

BASELINE_TAG = "PROCESSING_BASELINE"
"""Tag of GDAL with the processing baseline of a product."""

OFFSET_SINCE = 4.0
"""Processing baseline from which on products have an offset."""

OFFSET_OF_DN = 1000
"""What these products add to their DN."""

OFFSET_DAY = date(2022, 1, 25)
"""Day of the first products of baseline 04.00."""

OURS = "CMCR_OFFSET"
"""Tag of an image that cmcr wrote, by which it states its offset."""


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
    known = offset is not None or OURS in dataset.tags()
    if dtype in STORED:
        return Units(Radiometry(offset or 0.0), source, known)
    if not dtype.startswith("float"):
        raise RadiometryError(
            f"{path}: has {dtype} pixels; expected DN as uint16 or int16 (reflectance x {QUANTIFICATION}), "
            "or reflectance as float32. State the reflectance of one DN with --scale, such as --scale "
            "0.0001, or --scale 0.003922 for a picture of 0 to 255."
        )
    return Units(_of_fractions(dataset, indexes, path, offset or 0.0), source, known)


def find_unstated(
    units: Units, tags: Mapping[str, str], day: date | None, *, reference: bool = False
) -> tuple[RadiometryWarning, ...]:
    """Say what is assumed of numbers of which nothing states scale and offset.

    Args:
        units: What is assumed.
        tags: Of the file.
        day: When the image was taken, if that is known.
        reference: Whether it is a reference: those are fitted to the scene, and only an offset that is likely
            to be there is told.

    Returns:
        A warning with what to do where the assumption is wrong, and where it is right; none where nothing is
        assumed.
    """
    baseline = baseline_of(tags)
    since = baseline is not None and baseline >= OFFSET_SINCE
    if units.stated or (reference and not since):
        return ()
    fractions = units.radiometry.quantification == 1
    number = "the pixel value" if fractions else f"DN / {units.radiometry.quantification:g}"
    text = f"an offset or a scale is not stated: reflectance = {number} is assumed"
    cure = f"give --offset {-OFFSET_OF_DN / (QUANTIFICATION if fractions else 1):g}"
    if since:
        text += f". It is of baseline {tags[BASELINE_TAG]}: unless its offset was removed, {cure}"
    elif baseline is None and (day is None or day >= OFFSET_DAY):
        text += f". If it is of 2022 or later and its offset was not removed, {cure}"
    return (RadiometryWarning(f"{text}. State other units with --scale and --offset, these with --offset 0"),)


def baseline_of(tags: Mapping[str, str]) -> float | None:
    """Take the processing baseline from the tags of a file.

    Args:
        tags: Of the file or its product.

    Returns:
        The baseline; None where it is not stated.
    """
    try:
        return float(tags[BASELINE_TAG])
    except (KeyError, ValueError):
        return None


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
    values = pixels[:, (np.abs(pixels) < LARGEST).all(axis=0)]  # others are infinite, NaN, or fill values
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
