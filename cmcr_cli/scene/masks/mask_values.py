"""From a raster's values to cloud classes, and which codes a mask that says nothing itself holds."""

from __future__ import annotations

import re
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.errors import InputError
from cmcr_cli.scene.masks.mask_codes import SCHEMES, CloudClass, Scheme
from cmcr_cli.scene.raster import Source

UNKNOWN = 255
"""In place of a class where a value is not among the codes."""

NAMES = (
    (r"(^|_)SCL(_\d0m)?", "scl"),
    (r"(^|_)MSK_CLASSI(_B00)?", "msk_classi"),
    (r"(^|_)(MSK_CLDPRB(_\d0m)?|CLD_\d0m)", "percent"),
    (r"(^|_)QA60", "qa60"),
    (r".*_Fmask4", "fmask"),
    (r"HLS\.[LS]30\..*\.Fmask", "hls"),
    (r".*_CLM_R[12]", "maja"),
    (r"(^|_)CLM", "s2cloudless"),
    (r"(^|_)CLP", "clp"),
    (r".*_OCM_v\d+(_\d+)*", "omnicloudmask"),
)
"""Names of files (without their suffix) and bands by the products and tools that write them, at the end
of the name. Plain "Fmask" is not here: three tools with three sets of codes use it."""

MANY = 50
"""Codes of a scheme that nearly any raster of bytes fits."""


def classes_of(scheme: Scheme, values: NDArray[Any]) -> NDArray[np.uint8]:
    """Translate the values of a mask.

    Args:
        scheme: Codes of the mask.
        values: Values (bands, ...).

    Returns:
        CloudClass codes (...); UNKNOWN where the scheme has no such code.
    """
    if scheme.bands == 1 and values.dtype in (np.uint8, np.uint16):
        every = np.arange(np.iinfo(values.dtype).max + 1)
        return np.asarray(_looked_up(scheme, every[None])[values[0]])
    return _looked_up(scheme, values)


def _looked_up(scheme: Scheme, values: NDArray[Any]) -> NDArray[np.uint8]:
    numbers = values[0].astype(np.float64)
    if scheme.bands > 1:
        weights = 2.0 ** np.arange(scheme.bands)
        numbers = np.tensordot(weights, values.astype(np.float64), axes=1)
        numbers[~np.isin(values, (0, 1)).all(axis=0)] = np.nan
    if scheme.scale > 1:
        numbers = np.floor(numbers * scheme.scale)
    keys = np.array(sorted(scheme.codes), np.float64)
    found = np.array([scheme.codes[int(key)] for key in keys], np.uint8)
    places = np.searchsorted(keys, numbers).clip(max=len(keys) - 1)
    known = keys[places] == numbers
    rest = np.where(np.isnan(numbers) | (scheme.other is None), UNKNOWN, scheme.other or CloudClass.CLEAR)
    return np.where(known, found[places], rest).astype(np.uint8)


def measured(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Find pixels with a value.

    Args:
        values: Values (bands, ...).
        nodata: Nodata value of the mask, if any.

    Returns:
        False where all bands are nodata (...).
    """
    if nodata is None:
        return np.ones(values.shape[1:], bool)
    if np.isnan(nodata):
        return np.asarray(~np.isnan(values).all(axis=0))
    return np.asarray((values != nodata).any(axis=0))


def listed(values: NDArray[Any]) -> str:
    """List values for a message.

    Args:
        values: Any values.

    Returns:
        The first few different ones.
    """
    different = np.unique(values)
    return ", ".join(f"{value:g}" for value in different[:6]) + (", ..." if len(different) > 6 else "")


def scheme_by_name(dataset: Any, path: str) -> Scheme | None:
    """Identify the codes of a mask by its tags, bands or file name.

    Args:
        dataset: The open mask.
        path: Its path.

    Returns:
        The codes; None if nothing identifies them.
    """
    tags = dataset.tags()
    # Outputs of remove have CMCR_VALUES too, of provenance or uncertainty.
    if tags.get("CMCR_VALUES", "").startswith("0 clear"):
        return SCHEMES["cmcr"]
    if "OCM_VERSION" in tags:
        return SCHEMES["omnicloudmask"]
    if dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS") == "1":
        return SCHEMES["binary"]
    file = path.partition("?")[0].rstrip("/").rpartition("/")[2]
    stem = re.sub(r"\.(tiff?|jp2|vrt|img)$", "", file, flags=re.IGNORECASE)
    bands = dataset.descriptions if dataset.count == 1 else ()
    for text in (*bands, stem):
        for pattern, name in NAMES:
            if text and re.search(f"({pattern})$", text, flags=re.IGNORECASE):
                return SCHEMES[name]
    return None


def scheme_by_values(source: Source, nodata: float | None) -> Scheme:
    """Identify the codes of a mask by its values alone.

    Fractions of 0 to 1 are a probability; 0 and 1 a binary mask; values of 4 to 11, some of them odd, SCL:
    codes of Fmask and KappaMask end at 5, those of HLS are even, and MAJA has neither 4, 5 nor 6. Only 0 is
    clear in all of them.

    Args:
        source: The mask.
        nodata: Its nodata value, if any.

    Returns:
        The codes.

    Raises:
        InputError: The values are ambiguous or unknown.
    """
    seen: set[float] = set()
    for strip in chain([source.sample()], source.strips()):
        values = strip[0][measured(strip, nodata)]
        fractions = values[values != np.floor(values)]
        if fractions.size:
            if (classes_of(SCHEMES["probability"], values[None]) == UNKNOWN).any():
                raise _doubtful(source.path, values)
            return SCHEMES["probability"]
        seen |= set(np.unique(values).tolist())
    if seen <= {0} or seen == {0, 1}:
        return SCHEMES["binary"]
    if seen <= set(range(12)) and seen & {4, 5, 6} and max(seen) > 5 and seen & {5, 7, 9, 11}:
        return SCHEMES["scl"]
    raise _doubtful(source.path, np.array(sorted(seen)))


def _doubtful(path: str, values: NDArray[Any]) -> InputError:
    """Message about values that several tools use, or none."""
    fitting = [
        scheme
        for scheme in SCHEMES.values()
        if scheme.bands == 1 and not (classes_of(scheme, values[None]) == UNKNOWN).any()
    ]
    few = [scheme for scheme in fitting if len(scheme.codes) < MANY] or fitting
    names = ", ".join(scheme.name for scheme in few)
    which = f"which may be codes of {names}" if names else "which are the codes of no tool that cmcr knows"
    cure = "Say which with --mask-codes NAME, or spell them out as in" if names else "Spell them out as in"
    return InputError(
        f"{path}: holds {listed(values)}, {which}; expected a mask whose codes are certain. {cure}"
        ' --mask-codes "1=cloud,2=thin,3=shadow".'
    )
