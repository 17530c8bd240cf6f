"""What a STAC item says of its pixels: the reflectance of one DN, and the offset.

Catalogues differ. Some remove the offset of baseline 04.00 from the pixels, some state it, and some do
neither: then the metadata of the product, to which the item refers, tells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cmcr_cli.errors import InputError, RadiometryError
from cmcr_cli.scene.layers.reflectance_units import OFFSET_SINCE
from cmcr_cli.scene.products.safe import offset_at
from cmcr_cli.scene.radiometry import QUANTIFICATION
from cmcr_cli.warning_kinds import RadiometryWarning

LARGEST_NUMBER = 1e9
"""No size, scale or offset is as large."""

LONGEST = 60
"""Characters of a value that a message quotes."""

APPLIED = ":boa_offset_applied"
"""End of the names of properties that say whether an offset was removed from the pixels. Those of Earth
Search deny it of some pixels from which it was (github.com/Element84/earth-search, issues 66 and 71)."""

Asset = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Scaling:
    """Reflectance = DN x scale + offset x scale.

    Attributes:
        scale: Reflectance of one DN.
        offset: DN; None: not known.
        warnings: What is uncertain about them.
    """

    scale: float
    offset: float | None
    warnings: tuple[RadiometryWarning, ...] = ()


def scaling_of(
    path: str, properties: Mapping[str, Any], assets: Sequence[Asset], metadata: str | None
) -> Scaling:
    """Find what the pixels of an item mean: by its properties, else its assets, else its product's metadata.

    Args:
        path: Of the item, for messages.
        properties: Of the item.
        assets: Its bands.
        metadata: The metadata of the product, as GDAL knows it; it is read only where it decides.

    Returns:
        Scale and offset.

    Raises:
        InputError: They are not usable numbers.
        RadiometryError: They differ between the bands.
    """
    usual = 1 / QUANTIFICATION
    applied = {
        value for key, value in properties.items() if key.endswith(APPLIED) and isinstance(value, bool)
    }
    if True in applied:
        return _warned(usual, 0.0, "the item says that its offset has been applied already")
    stated = {pair for asset in assets if (pair := _stated(path, asset)) is not None}
    if len(stated) > 1:
        raise RadiometryError(
            f"{path}: its bands have different scales or offsets {sorted(stated)}; expected one pair. Give "
            "them with --scale and --offset."
        )
    baseline = baseline_of(properties)
    since = _number(baseline)
    if stated:
        scale, offset = stated.pop()
        if offset and since is not None and since < OFFSET_SINCE:
            return _warned(
                scale,
                0.0,
                f"the item states an offset of {offset:g} DN, but is of baseline {baseline}, which has none: "
                f"none is used. If it is right all the same, give --offset {offset:g}",
            )
        if offset and applied:
            return _warned(
                scale,
                offset,
                f"the item says that its offset of {offset:g} DN is still in the pixels, which is not true "
                "of all such items. If ground is dark, give --offset 0",
            )
        return Scaling(scale, offset)
    if since is None:
        return Scaling(usual, None)
    if since < OFFSET_SINCE:
        return Scaling(usual, 0.0)
    if metadata is not None:
        with suppress(InputError, RadiometryError):  # the user is told that nothing states the offset
            return Scaling(usual, offset_at(metadata))
    return Scaling(usual, None)


def baseline_of(properties: Mapping[str, Any]) -> str:
    """Take the processing baseline from the properties of an item, by the names that catalogues have for it.

    Args:
        properties: Of the item.

    Returns:
        The baseline, such as 05.09; empty where it is not stated.
    """
    named = (value for key, value in properties.items() if key.endswith(":processing_baseline"))
    return str(next(filter(None, named), None) or properties.get("processing:version") or "")


def shortened(value: Any) -> str:
    """Write a value for a message.

    Args:
        value: Any value.

    Returns:
        The value as Python writes it, shortened if it is long.
    """
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _warned(scale: float, offset: float | None, text: str) -> Scaling:
    return Scaling(scale, offset, (RadiometryWarning(text),))


def _stated(path: str, asset: Asset) -> tuple[float, float] | None:
    """Reflectance of one DN, and the offset in DN, of an asset; None where it states neither."""
    bands = asset.get("raster:bands") or asset.get("bands") or [{}]
    first = bands[0] | {
        key.removeprefix("raster:"): value for key, value in asset.items() if key.startswith("raster:")
    }
    scale = first.get("scale", first.get("raster:scale"))
    shift = first.get("offset", first.get("raster:offset"))
    if scale is None and shift is None:
        return None
    try:
        factor = float(1 / QUANTIFICATION if scale is None else scale)
        offset = round(float(shift or 0) / factor, 3)
    except (ArithmeticError, TypeError, ValueError):
        factor, offset = 0.0, math.inf
    if not (abs(offset) < LARGEST_NUMBER and 1 / LARGEST_NUMBER < factor < LARGEST_NUMBER):
        raise InputError(
            f"{path}: states scale {shortened(scale)} and offset {shortened(shift)}; expected numbers, such "
            "as 0.0001 and -0.1. Correct the item, or download it again."
        )
    return factor, offset


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
