"""Checking a finished COG for writes that failed without GDAL reporting them.

GDAL builds overviews in a file of its own, in which a tile may then be missing, or be another one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

STRIP = 256
"""Rows of an overview that are checked at once."""

REACH = 2
"""Pixels, beside the two that an overview halves, that may count: where a size is odd, the places drift."""


def overviews_fit(cog: Path, **options: str) -> bool:
    """Tell whether each overview can follow from the level above it, by averages or by nearest pixels.

    Each pixel must lie within the range of the pixels around its place, in the first band and in the mask.
    All bands of a tile are stored together, so that one band shows whether a tile is right.

    Args:
        cog: The file.
        **options: Options of GDAL to open it with.

    Returns:
        Whether they do.

    Raises:
        RasterioError: They cannot be read.
    """
    with rasterio.open(cog, **options) as image:
        levels = len(image.overviews(1))
    return all(_fits(cog, level, options) for level in range(levels))


def _fits(cog: Path, level: int, options: dict[str, str]) -> bool:
    above = {} if level == 0 else {"overview_level": level - 1}
    with (
        rasterio.open(cog, **above, **options) as fine,
        rasterio.open(cog, overview_level=level, **options) as coarse,
    ):
        for top in range(0, coarse.height, STRIP):
            rows = min(STRIP, coarse.height - top)
            first = max(2 * top - REACH, 0)
            last = min(2 * (top + rows) + REACH, fine.height)
            within = Window(0, first, fine.width, last - first)
            part = Window(0, top, coarse.width, rows)
            found, given = coarse.read(1, window=part), fine.read(1, window=within)
            valid, were_valid = (
                file.read_masks(1, window=window) for file, window in ((coarse, part), (fine, within))
            )
            skipped = 2 * top - first
            if not _between(valid, were_valid, skipped).all():
                return False
            # Of pixels that are nodata, the values may be any.
            if not (_between(found, given, skipped) | (valid == 0)).all():
                return False
    return True


def _between(coarse: NDArray[Any], fine: NDArray[Any], skipped: int) -> NDArray[np.bool_]:
    """Which pixels (h, w) lie within the range of those around their places in `fine`, (2 h + ..., 2 w)."""
    lowest, highest = (_around(fine, coarse.shape, skipped, least) for least in (True, False))
    if coarse.dtype.kind == "f":
        slack = 1e-5 * np.abs(coarse)
        inside = (coarse >= lowest - slack) & (coarse <= highest + slack)
        return np.asarray(inside | np.isnan(coarse) | np.isnan(lowest))
    return np.asarray((coarse >= lowest) & (coarse <= highest))


def _around(fine: NDArray[Any], shape: tuple[int, ...], skipped: int, least: bool) -> NDArray[Any]:
    """Least or greatest value around the place of each pixel of a level half as large."""
    pick = np.minimum if least else np.maximum
    for axis, (size, begin) in enumerate(zip(shape, (skipped, 0), strict=True)):
        places = 2 * np.arange(size) + begin
        ends = [
            np.take(fine, np.clip(places + offset, 0, fine.shape[axis] - 1), axis)
            for offset in range(-REACH, REACH + 2)
        ]
        fine = ends[0]
        for other in ends[1:]:
            fine = pick(fine, other)
    return fine
