"""Masks by which a raster says where it is valid: mask bands, alpha, and those of the files it is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from cmcr_cli.scene.bands import band_name
from cmcr_cli.scene.pixels.validity import PLAUSIBLE, Bools, Mask, Validity
from cmcr_cli.scene.pixels.virtual import mask_of_sources, says_more_than_nodata
from cmcr_cli.scene.raster import open_raster

MASK_NAME = re.compile(r"alpha|data[ _-]?mask|valid(?:ity)?(?:[ _-]?(?:mask|data|pixels?))?", re.IGNORECASE)
"""Descriptions of bands that are 0 where there is no measurement; a mask of clouds has other names."""


def mask_bands(dataset: Any) -> tuple[int, ...]:
    """Find the bands of a raster that say where the others are valid.

    Args:
        dataset: The open raster.

    Returns:
        Their numbers, from 1.
    """
    found = []
    for index, kind, text in zip(dataset.indexes, dataset.colorinterp, dataset.descriptions, strict=True):
        said = (text or "").strip()
        if MASK_NAME.fullmatch(said) or (kind == ColorInterp.alpha and _is_alpha(dataset, index, said)):
            found.append(index)
    return tuple(found)


def _is_alpha(dataset: Any, index: int, text: str) -> bool:
    """Whether a band that is marked as alpha is; programs for pictures mark any fourth band so."""
    if band_name(text) or index not in (1, dataset.count):
        return False
    values = np.concatenate([part.ravel() for part in _spread(dataset, index)])
    return bool(((values == 0) | (values == values.max())).mean() >= ALPHA_SHARE)


LOOKS, LOOK = 6, 128
"""A band is looked at in 6 x 6 windows of 128 x 128 px."""

ALPHA_SHARE = 0.95
"""Of the pixels of alpha that are either transparent or opaque."""


@contextmanager
def open_validity(
    dataset: Any, names: Sequence[str], indexes: Sequence[int], fill: float, *, made: bool = True
) -> Iterator[Validity]:
    """Gather all that a raster says about where it is valid.

    Args:
        dataset: The open raster.
        names: Names of its bands.
        indexes: Their numbers, from 1.
        fill: What pixels without a measurement are to hold in all bands.
        made: Whether the files of which a virtual raster is made are looked at.

    Yields:
        The validity, as long as its files are open.
    """
    stated = [dataset.nodatavals[index - 1] for index in indexes]
    dtypes = [dataset.dtypes[index - 1] for index in indexes]
    fits = [value is not None and _fits(value, dtype) for value, dtype in zip(stated, dtypes, strict=True)]
    empty = tuple(float(value) if fit else 0.0 for value, fit in zip(stated, fits, strict=True))
    low, high = PLAUSIBLE
    never = tuple(() if low <= value <= high else (value,) for value in empty)
    with ExitStack() as stack:
        masks = list(_own_masks(dataset, indexes))
        text = mask_of_sources(dataset, indexes) if made else None
        if text is not None:
            masks.append(_all_bands(stack.enter_context(open_raster(text, "masks of the bands"))))

        def look(place: int) -> bool:
            return not any(
                (values != (0 if never[place] else empty[place])).any()
                for values in _spread(dataset, indexes[place])
            )

        yield Validity(
            names=tuple(names),
            width=dataset.width,
            fill=fill,
            empty=empty,
            never=never,
            masks=tuple(masks),
            look=look,
        )


def _spread(dataset: Any, index: int) -> Iterator[NDArray[Any]]:
    """Windows of a band, spread evenly over it."""
    height, width = min(LOOK, dataset.height), min(LOOK, dataset.width)
    for top in np.linspace(0, dataset.height - height, LOOKS).astype(int):
        for left in np.linspace(0, dataset.width - width, LOOKS).astype(int):
            yield dataset.read(index, window=Window(int(left), int(top), width, height))


def usable_nodata(nodata: float | None, dtype: Any) -> float:
    """Choose what pixels without a measurement hold.

    Args:
        nodata: The nodata value that the file states.
        dtype: Of its pixels.

    Returns:
        That value; 0 where there is none, or one that the pixels cannot hold.
    """
    return 0.0 if nodata is None or not _fits(nodata, dtype) else float(nodata)


def _own_masks(dataset: Any, indexes: Sequence[int]) -> Iterator[Mask]:
    yield from (_nonzero(dataset, index) for index in mask_bands(dataset))
    flags = {index: dataset.mask_flag_enums[index - 1] for index in indexes}
    telling = [
        index
        for index in indexes
        if says_more_than_nodata(flags[index]) and MaskFlags.alpha not in flags[index]
    ]
    shared = [index for index in telling if MaskFlags.per_dataset in flags[index]]
    yield from (_gdal_mask(dataset, index) for index in shared[:1])
    yield from (_gdal_mask(dataset, index) for index in telling if MaskFlags.per_dataset not in flags[index])


def _nonzero(dataset: Any, index: int) -> Mask:
    def read(window: Window) -> Bools:
        return np.asarray(dataset.read(index, window=window) != 0)

    return read


def _gdal_mask(dataset: Any, index: int) -> Mask:
    def read(window: Window) -> Bools:
        return np.asarray(dataset.read_masks(index, window=window) != 0)

    return read


def _all_bands(dataset: Any) -> Mask:
    def read(window: Window) -> Bools:
        return np.asarray((dataset.read(window=window) != 0).all(axis=0))

    return read


def _fits(value: float, dtype: Any) -> bool:
    """Whether pixels of a type can hold a value."""
    kind = np.dtype(dtype)
    if kind.kind not in "iu":
        return bool(np.isfinite(value))
    limits = np.iinfo(kind)
    return bool(np.isfinite(value)) and limits.min <= value <= limits.max and value == int(value)
