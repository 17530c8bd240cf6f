"""Names and order of the bands of Sentinel-2 and Sentinel-1."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.errors import RadiometryError

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""The canonical order of the 13 Sentinel-2 bands; every 13-band array in cmcr has it."""

L2A_BANDS = tuple(name for name in BANDS if name != "B10")
"""Level-2A products have no cirrus band."""

SCENE_NEEDS = (("B02", "B03", "B04", "B08"), ("B02", "B03", "B04", "B8A"))
REFERENCE_NEEDS = (("B02", "B03", "B04"), ("B03", "B04", "B08"), ("B03", "B04", "B8A"))
"""Bands without which a scene, or a reference, tells too little: all of one of these."""

RADAR_BANDS = ("VV", "VH")


def _zeros(shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.zeros(shape, np.float32)


def present(names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Tell which of the 13 bands there are.

    Args:
        names: Names of bands.

    Returns:
        Booleans (13,), in the order of BANDS.
    """
    return np.array([name in names for name in BANDS])


def canonical(values: Any, names: tuple[str, ...], zeros: Callable[[tuple[int, ...]], Any] = _zeros) -> Any:
    """Put bands into the canonical order, for arrays and tensors alike.

    Args:
        values: Bands in file order (len(names), ...).
        names: Of these bands.
        zeros: Makes an array or tensor of a shape, as `values` is.

    Returns:
        The 13 bands (13, ...), absent ones 0; `values` itself, which may be large, where it is that already.
    """
    if names == BANDS:
        return values
    out = zeros((len(BANDS), *values.shape[1:]))
    for source, name in enumerate(names):
        out[BANDS.index(name)] = values[source]
    return out


def band_name(text: str) -> str | None:
    """Recognise a band in a text such as `B4`, `B04 (red)` or `band 8A`.

    Args:
        text: A description.

    Returns:
        Name as in BANDS; None if the text names none.
    """
    found = re.search(r"(?<![a-z0-9])b(?:and)?[ _-]?0?(8a|1[0-2]|[1-9])(?![a-z0-9])", text, re.IGNORECASE)
    if found is None:
        return None
    number = found[1].upper()
    return "B8A" if number == "8A" else f"B{int(number):02d}"


def described_names(descriptions: tuple[str | None, ...], where: str) -> tuple[str, ...] | None:
    """Take the names of bands from descriptions.

    Args:
        descriptions: Those of a file, in its order.
        where: Name of the file, for messages.

    Returns:
        Names as in BANDS; None if no description names a band.

    Raises:
        RadiometryError: Some bands are named and others are not.
    """
    texts = [text or "" for text in descriptions]
    counted = [re.fullmatch(r"b(?:and)?[ _-]?0*([1-9]\d*)", text, re.IGNORECASE) for text in texts]
    # Some writers number the bands of a stack; beyond B08 that is not what Sentinel-2 calls them.
    if len(texts) > 8 and all(found and int(found[1]) == 1 + i for i, found in enumerate(counted)):
        return None
    names = [band_name(text) for text in texts]
    known = tuple(name for name in names if name is not None)
    if not known:
        return None
    if len(known) < len(names):
        unknown = ", ".join(repr(text) for text, name in zip(texts, names, strict=True) if name is None)
        raise RadiometryError(
            f"{where}: the descriptions name {len(known)} of {len(names)} bands, and {unknown} is not a "
            "Sentinel-2 band; expected all or none named. Leave other layers out with gdal_translate -b, or "
            "name all with --bands."
        )
    return known


def check_names(names: tuple[str, ...], where: str, needs: tuple[tuple[str, ...], ...] = SCENE_NEEDS) -> None:
    """Check the names of the bands of a scene.

    Args:
        names: The names.
        where: Name of the file, for messages.
        needs: Sets of bands, as SCENE_NEEDS.

    Raises:
        RadiometryError: A name is unknown or occurs twice, or needed bands are missing.
    """
    unknown = [name for name in names if name not in BANDS]
    if unknown:
        raise RadiometryError(
            f"{where}: band names {', '.join(unknown)} are not Sentinel-2 bands; expected names among "
            f"{' '.join(BANDS)}. Name the bands in file order with --bands."
        )
    if len(set(names)) != len(names):
        raise RadiometryError(f"{where}: duplicate band names in {' '.join(names)}; see --bands.")
    if not any(set(needed) <= set(names) for needed in needs):
        needed = " or ".join(map(" ".join, needs))
        raise RadiometryError(f"{where}: found bands {' '.join(names)}; at least {needed} are needed.")
