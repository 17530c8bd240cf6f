"""An image on the grid of a scene: as it is stored, moved by rows and columns, or warped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.windows import Window

from cmcr_cli.errors import OverlapError
from cmcr_cli.scene.grid import SAME_PIXEL, Grid, crs_name, same_crs
from cmcr_cli.scene.pixels.validity import Validity
from cmcr_cli.scene.pixels.warped import warped_windows
from cmcr_cli.scene.products.stack import BlockRows
from cmcr_cli.scene.raster import Source, aligned

LEAST_OVERLAP = 0.001
"""Share of a scene below which an image has no ground in common with it: rims of neighbouring tiles."""

LEAST_WEIGHT = 0.5
"""Of the valid neighbours of a new pixel; with less it takes the nearest one."""

Shift = tuple[float, float]
"""To the east and to the north, in units of the scene's CRS."""


@contextmanager
def placed(
    dataset: Any,
    path: str | Path,
    rows: BlockRows | None,
    grid: Grid,
    validity: Validity,
    *,
    indexes: tuple[int, ...],
    shift: Shift = (0.0, 0.0),
) -> Iterator[Source]:
    """Lay an open image on another grid, by cubic interpolation that takes nothing from nodata.

    Args:
        dataset: The image.
        path: Its path, for messages.
        rows: A faster way to read it.
        grid: Where to lay it.
        validity: Where it holds a measurement; the rest holds the same value in all bands once it is read.
        indexes: Its bands, from 1.
        shift: Where the image is found as seen from where it should be; this is undone.

    Yields:
        The image on `grid`, nodata where it has no pixels, read in bounded memory.

    Raises:
        OverlapError: The image does not cover any of the grid.
    """
    own = Grid.from_dataset(dataset)
    read = None if rows is None else rows.read
    stored = Source(str(path), dataset, own, indexes, warped=False, rows=read, validity=validity)
    # Where the pixels of `grid` are found in the image.
    a, _, c, _, e, f = grid.transform[:6]
    target = replace(grid, transform=Affine(a, 0, c + shift[0], 0, e, f + shift[1]))
    if target.matches(own):
        yield replace(stored, grid=grid)
        return
    overlap = grid.overlap(own)
    if overlap < LEAST_OVERLAP:
        raise OverlapError(
            f"{path}: covers {overlap:.1%} of the scene ({own.describe()}, against {crs_name(grid.crs)}); "
            "expected an image of the same ground. Leave it out."
        )
    if _same_pixels(own, target):
        yield replace(_moved(stored, target, validity.fill), grid=grid)
        return
    with _warped(stored, target, validity) as source:
        yield replace(source, grid=grid)


def _moved(stored: Source, target: Grid, fill: float) -> Source:
    """The image at pixels that differ from its own by rows and columns, whole or not."""
    mover = _Mover(stored.grid, target, fill)
    return replace(
        stored,
        rows=None if stored.rows is None else _moved_rows(mover, stored, target.width),
        window=_moved_windows(mover, stored),
        validity=None,
    )


@contextmanager
def _warped(stored: Source, target: Grid, validity: Validity) -> Iterator[Source]:
    """The image at the pixels of any other grid."""
    # A single 0 is a dark pixel, and in B10 the usual one: a pixel is nodata where all bands are.
    fill, resampling, unified = validity.fill, Resampling.cubic, True
    with aligned(
        stored.dataset,
        stored.path,
        target,
        stored.indexes,
        resampling=resampling,
        src_nodata=fill,
        nodata=fill,
        unified=unified,
    ) as source:
        if validity.plain:
            yield source
            return
        # GDAL knows one nodata value; what else tells where there is no measurement is applied before.
        rows = _full_rows(stored)
        window = warped_windows(rows, stored.grid, target, fill=fill, resampling=resampling, unified=unified)
        yield replace(source, window=window)


def _same_pixels(own: Grid, target: Grid) -> bool:
    """Whether two grids have the same CRS, and pixels of the same size to 1 % of a pixel over the target."""
    if not same_crs(own.crs, target.crs):
        return False
    a, e = own.transform.a, own.transform.e
    drift = (target.transform.a / a - 1) * target.width, (target.transform.e / e - 1) * target.height
    return bool(max(map(abs, drift)) < SAME_PIXEL)


class _Mover:
    """Interpolation between grids that differ by a number of rows and columns, whole or not."""

    def __init__(self, own: Grid, target: Grid, nodata: float) -> None:
        left, top = own.position(target.transform.c, target.transform.f)
        (self.top, self._down), (self.left, self._across) = _parts(top), _parts(left)
        self.size, self.nodata = (own.height, own.width), nodata

    def window(self, window: Window, read: Callable[[slice, slice], NDArray[Any]]) -> NDArray[Any]:
        """Pixels (bands, rows, columns) of a window of the target.

        Args:
            window: Rows and columns.
            read: Pixels of rows and columns of the image that exist.
        """
        top, left = window.row_off + self.top, window.col_off + self.left
        # Cubic interpolation needs one pixel before and two behind.
        wanted = slice(top - 1, top + window.height + 2), slice(left - 1, left + window.width + 2)
        inside = tuple(
            slice(max(part.start, 0), min(part.stop, size))
            for part, size in zip(wanted, self.size, strict=True)
        )
        shape = window.height + 3, window.width + 3
        if any(part.start >= part.stop for part in inside):
            found = read(slice(0, 1), slice(0, 1))
            return np.full((len(found), window.height, window.width), self.nodata, found.dtype)
        found = read(*inside)
        if found.shape[1:] != shape:
            whole = np.full((len(found), *shape), self.nodata, found.dtype)
            rows, columns = (
                slice(part.start - edge.start, part.stop - edge.start)
                for part, edge in zip(inside, wanted, strict=True)
            )
            whole[:, rows, columns] = found
            found = whole
        return self._interpolated(found)

    def _interpolated(self, dn: NDArray[Any]) -> NDArray[Any]:
        near = dn[:, 1 + round(self._down) :, 1 + round(self._across) :]
        near = near[:, : dn.shape[1] - 3, : dn.shape[2] - 3]
        if self._down == self._across == 0:
            return near
        valid = (dn != self.nodata).any(axis=0)
        down, across = _cubic(self._down), _cubic(self._across)
        limits = np.iinfo(dn.dtype)
        share = None if valid.all() else _convolved(valid.astype(np.float32), down, across)
        out = np.empty_like(near)
        for band, (values, nearest) in enumerate(zip(dn, near, strict=True)):
            if share is None:
                found = _convolved(values.astype(np.float32), down, across)
            else:
                found = _convolved(np.where(valid, values, np.float32(0)), down, across)
                found = np.where(share > LEAST_WEIGHT, found / np.maximum(share, LEAST_WEIGHT), nearest)
            out[band] = np.rint(found).clip(limits.min, limits.max)
        known = (near != self.nodata).any(axis=0)
        out[:, ~known] = self.nodata
        # What is measured must not be taken for nodata, should all of its bands round to that value.
        lost = known & (out == self.nodata).all(axis=0)
        out[:, lost] = near[:, lost]
        return out


def _parts(place: float) -> tuple[int, float]:
    """Whole and fraction of a place in pixels; what differs by 1 % of a pixel is whole."""
    if abs(place - round(place)) < SAME_PIXEL:
        return round(place), 0.0
    return math.floor(place), place - math.floor(place)


def _cubic(at: float) -> NDArray[np.float32]:
    """Weights of pixels at -1, 0, 1 and 2 for a place between 0 and 1 (Keys, a = -1/2, as in GDAL)."""
    away = np.abs(np.arange(-1, 3) - at)
    inner, outer = 1.5 * away**3 - 2.5 * away**2 + 1, -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
    return np.asarray(np.where(away < 1, inner, outer), dtype=np.float32)


def _convolved(
    values: NDArray[np.float32], down: NDArray[np.float32], across: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Weighted sum of 4 x 4 neighbours (rows - 3, columns - 3)."""
    rows, columns = values.shape[0] - 3, values.shape[1] - 3
    lines = sum(weight * values[i : i + rows] for i, weight in enumerate(down) if weight)
    found: NDArray[np.float32] = sum(
        weight * lines[:, i : i + columns] for i, weight in enumerate(across) if weight
    )
    return found


def _moved_rows(
    mover: _Mover, stored: Source, width: int
) -> Callable[[int, int, Sequence[int]], NDArray[Any]]:
    """Full-width rows of the target from full-width rows of the image."""

    def read(top: int, count: int, bands: Sequence[int]) -> NDArray[Any]:
        def part(lines: slice, columns: slice) -> NDArray[Any]:
            return stored.read(lines.start, lines.stop - lines.start, bands)[:, :, columns]

        return mover.window(Window(0, top, width, count), part)

    return read


def _moved_windows(mover: _Mover, stored: Source) -> Callable[[Window, Sequence[int]], NDArray[Any]]:
    """Windows of the target from windows of the image."""

    def read(window: Window, bands: Sequence[int]) -> NDArray[Any]:
        def part(lines: slice, columns: slice) -> NDArray[Any]:
            return stored.read_window(Window.from_slices(lines, columns), bands)

        return mover.window(window, part)

    return read


def _full_rows(stored: Source) -> Callable[[Window, Sequence[int]], NDArray[Any]]:
    """Windows by way of full-width rows, in which the rim of an image shows."""

    def read(window: Window, bands: Sequence[int]) -> NDArray[Any]:
        rows = stored.read(window.row_off, window.height, bands)
        return rows[:, :, window.col_off : window.col_off + window.width]

    return read
