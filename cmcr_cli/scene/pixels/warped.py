"""Windows of a grid, warped from pixels that were cleaned before, since GDAL knows one nodata value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import reproject
from rasterio.windows import Window

from cmcr_cli.scene.grid import Grid

MARGIN = 8
"""Pixels that are read around those that a warp needs: interpolation looks at neighbours."""

ReadWindow = Callable[[Window, Sequence[int]], NDArray[Any]]
"""Pixels (bands, rows, columns) of a window and of bands by their places."""


def warped_windows(
    read: ReadWindow, own: Grid, target: Grid, *, fill: float, resampling: Resampling, unified: bool
) -> ReadWindow:
    """Make a reader of windows of another grid.

    Args:
        read: Reads the image on its own grid.
        own: That grid.
        target: The other grid.
        fill: What pixels without a measurement hold, on both grids.
        resampling: How pixels are interpolated.
        unified: Whether a pixel holds no measurement only if all bands are `fill`.

    Returns:
        The reader. Its memory is that of the window on both grids.
    """

    def warped(window: Window, bands: Sequence[int]) -> NDArray[Any]:
        part = target.crop(window.row_off, window.col_off, window.height, window.width)
        needed = window_around(part, own)
        dn = read(needed or Window(0, 0, 1, 1), bands)
        found = np.full((len(bands), window.height, window.width), fill, dn.dtype)
        if needed is not None:
            reproject(
                dn,
                found,
                src_transform=own.crop(needed.row_off, needed.col_off, needed.height, needed.width).transform,
                src_crs=own.crs,
                src_nodata=fill,
                dst_transform=part.transform,
                dst_crs=part.crs,
                dst_nodata=fill,
                resampling=resampling,
                **({"UNIFIED_SRC_NODATA": "YES"} if unified else {}),
            )
        return found

    return warped


def window_around(part: Grid, own: Grid) -> Window | None:
    """Find the pixels of a raster that a grid covers.

    Args:
        part: The grid.
        own: Grid of the raster.

    Returns:
        The window; None where there is none.
    """
    west, south, east, north = part.footprint(own.crs).bounds
    if not all(map(math.isfinite, (west, south, east, north))):
        return Window(0, 0, own.width, own.height)
    ends = np.array([own.position(west, south), own.position(east, north)])
    (left, top), (right, bottom) = np.floor(ends.min(axis=0)), np.ceil(ends.max(axis=0))
    left, top = int(max(left - MARGIN, 0)), int(max(top - MARGIN, 0))
    right, bottom = int(min(right + MARGIN, own.width)), int(min(bottom + MARGIN, own.height))
    return Window(left, top, right - left, bottom - top) if left < right and top < bottom else None
