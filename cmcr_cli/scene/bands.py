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

COMMON_NAMES = {
    "coastal": "B01", "coastalaerosol": "B01", "ultrablue": "B01", "blue": "B02", "green": "B03",
    "red": "B04",
    "rededge1": "B05", "rededge070": "B05", "rededge071": "B05", "re1": "B05", "vre1": "B05",
    "rededge2": "B06", "rededge074": "B06", "rededge075": "B06", "re2": "B06", "vre2": "B06",
    "rededge3": "B07", "rededge078": "B07", "re3": "B07", "vre3": "B07",
    "nir": "B08", "broadnir": "B08", "nirbroad": "B08", "widenir": "B08", "nir1": "B08",
    "nearinfrared": "B08",
    "nir08": "B8A", "narrownir": "B8A", "nirnarrow": "B8A", "nnir": "B8A", "nir2": "B8A", "rededge4": "B8A",
    "nir09": "B09", "cirrus": "B10",
    "swir16": "B11", "swir1": "B11", "swir22": "B12", "swir2": "B12",
}  # fmt: skip
"""Names of STAC's eo extension, and of the tools that write stacks; without separators."""

BESIDE = re.compile(
    r"s2[a-d]?|sentinel2|msi|l2a|l1c|sr|[bt]oa|bottom|top|of|atmosphere|refl|reflectance|surface|band|vegetation"
    r"|r?[126]0m|nbart?|mean|median"
)
"""Words that stand beside the common name of a band."""

NUMBER = re.compile(r"(?<![a-z0-9])b(?:and)?[ _-]?0?(8a|1[0-2]|[1-9])(?![a-z0-9])")
WAVELENGTH = re.compile(r"(?<![0-9.])([0-9]+(?:\.[0-9]+)?) ?(nm|um|\u00b5m|\u03bcm|micrometers?)(?![a-z0-9])")

WAVELENGTHS = {
    "B01": (440, 446), "B02": (488, 498), "B03": (557, 563), "B04": (662, 668), "B05": (702, 708),
    "B06": (737, 743), "B07": (778, 786), "B08": (830, 845), "B8A": (862, 868), "B09": (940, 950),
    "B10": (1370, 1380), "B11": (1605, 1620), "B12": (2180, 2210),
}  # fmt: skip
"""Central wavelengths in nanometres: the nominal one, and those of all satellites."""

FAMILIES = (
    (re.compile(r"thermal|tirs|panchromatic|yellow"), ()),
    (re.compile(r"coastal|aerosol"), ("B01",)),
    (re.compile(r"red[ _-]?edge"), ("B05", "B06", "B07", "B8A")),
    (re.compile(r"swir|short[ _-]?wave"), ("B10", "B11", "B12")),
    (re.compile(r"nir(?![a-z])|near[ _-]?infra"), ("B07", "B08", "B8A", "B09")),
    (re.compile(r"(?<![a-z])blue(?![a-z])"), ("B02",)),
    (re.compile(r"(?<![a-z])green(?![a-z])"), ("B03",)),
    (re.compile(r"(?<![a-z])red(?![a-z])"), ("B04",)),
)
"""Which bands a text may mean that has such a word, the first that it has."""


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
    """Recognise a band in a text such as `B4`, `B04 (red)`, `band 8A`, `swir16` or `490 nm`.

    Args:
        text: A description, an asset's key, or part of a file name.

    Returns:
        Name as in BANDS; None if the text names none, or contradicts itself: band 5 of Landsat is its NIR.
    """
    lower = re.sub(r"sentinel[ _-]2", "s2", text.casefold())
    number = NUMBER.search(lower)
    by_wavelength, stated = _by_wavelength(lower)
    if number is not None:
        found = "B8A" if number[1] == "8a" else f"B{int(number[1]):02d}"
        fits = found in _family(lower) and (not stated or by_wavelength == found)
        return found if fits else None
    if stated:
        return by_wavelength
    words = [word for word in re.split(r"[^a-z0-9]+", lower) if word and not BESIDE.fullmatch(word)]
    return COMMON_NAMES.get("".join(words))


def _by_wavelength(text: str) -> tuple[str | None, bool]:
    """The band at a wavelength that a text states, and whether it states one."""
    found = WAVELENGTH.search(text)
    if found is None:
        return None, False
    return band_at(float(found[1]) * (1 if found[2] == "nm" else 1000)), True


def band_at(nanometres: float) -> str | None:
    """Find a band by its central wavelength.

    Args:
        nanometres: The wavelength, nominal or that of one of the satellites.

    Returns:
        Name as in BANDS; None where Sentinel-2 has none.
    """
    for name, (least, most) in WAVELENGTHS.items():
        if least <= nanometres <= most:
            return name
    return None


def _family(text: str) -> tuple[str, ...]:
    """The bands that the words of a text may mean; all where it has no such word."""
    for pattern, names in FAMILIES:
        if pattern.search(text):
            return names
    return BANDS


def check_names(
    names: tuple[str, ...],
    where: str,
    needs: tuple[tuple[str, ...], ...] = SCENE_NEEDS,
    texts: tuple[str, ...] | None = None,
) -> None:
    """Check the names of the bands of a scene.

    Args:
        names: The names.
        where: Name of the file, for messages.
        needs: Sets of bands, as SCENE_NEEDS.
        texts: What the file calls these bands; None: by their names.

    Raises:
        RadiometryError: A name is unknown or occurs twice, or needed bands are missing.
    """
    unknown = [name for name in names if name not in BANDS]
    if unknown:
        raise RadiometryError(
            f"{where}: band names {', '.join(unknown)} are not Sentinel-2 bands; expected names among "
            f"{' '.join(BANDS)}. Name the bands in file order with --bands."
        )
    if twice := [name for name in BANDS if names.count(name) > 1]:
        called = [text for text, name in zip(texts or names, names, strict=True) if name == twice[0]]
        raise RadiometryError(
            f"{where}: has duplicate band names: {twice[0]} occurs {len(called)} times, as "
            f"{' and '.join(map(repr, called))}; expected each band once. Leave one out with "
            "gdal_translate -b, "
            "or name all bands with --bands."
        )
    if not any(set(needed) <= set(names) for needed in needs):
        needed = " or ".join(map(" ".join, needs))
        raise RadiometryError(
            f"{where}: found bands {' '.join(names) or 'none'}; at least {needed} are needed. If the "
            "file has "
            "them under other names, name all bands with --bands."
        )
