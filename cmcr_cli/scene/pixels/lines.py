"""Rows of a raster for windows that move down it: those that two windows share are read once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIECE = 64
"""Lines that are read at once on the way into a larger array."""


class Lines:
    """Full-width lines of a raster for windows that move down it: lines that two windows share are read once.

    `read(top, rows)` gives arrays whose last axes are lines and columns.
    """

    def __init__(self, read: Callable[[int, int], tuple[NDArray[Any], ...]]) -> None:
        """Window that has read nothing.

        Args:
            read: Called with the first row and the number of rows; returns arrays (..., rows, width).
        """
        self._read = read
        self._first = self._stop = 0
        self._held: tuple[NDArray[Any], ...] = ()

    def window(self, first: int, stop: int, following: int) -> tuple[NDArray[Any], ...]:
        """Read the lines of a window. Windows move down.

        Args:
            first: First line.
            stop: Line after the last.
            following: First line of the next window; those from there on are kept for it.

        Returns:
            Arrays (..., stop - first, columns).
        """
        shared: tuple[NDArray[Any], ...] = ()
        start = first
        if self._first <= first < self._stop < stop:
            shared, start = tuple(array[..., first - self._first :, :] for array in self._held), self._stop
        whole: list[NDArray[Any]] = []
        # Read in pieces into what was made once: these arrays are large.
        for top in range(start, stop, PIECE):
            parts = self._read(top, min(PIECE, stop - top))
            shapes = ((*part.shape[:-2], stop - first, part.shape[-1]) for part in parts)
            whole = whole or [np.empty(shape, part.dtype) for shape, part in zip(shapes, parts, strict=True)]
            _put(whole, parts, top - first)
        if shared:
            _put(whole, shared, 0)
        shared = self._held = ()  # before what takes their place is made
        self._first, self._stop = min(max(following, first), stop), stop
        self._held = tuple(array[..., self._first - first :, :].copy() for array in whole)
        return tuple(whole)


class RollingRows:
    """Full-width rows of a raster for windows that move down it, in one buffer of `most` rows.

    What two windows share is moved up in place: two copies of rows of a whole scene would be too large.
    """

    def __init__(self, read: Callable[[int, int], NDArray[Any]], most: int) -> None:
        """Window that has read nothing.

        Args:
            read: Called with the first row and the number of rows; returns an array (..., rows, width).
            most: Largest number of rows of a window.
        """
        self._read, self._most = read, most
        self._first = self._stop = 0
        self._buffer: NDArray[Any] | None = None

    def window(self, first: int, stop: int) -> NDArray[Any]:
        """Read the rows of a window. Windows move down.

        Args:
            first: First row.
            stop: Row after the last; no more than `most` rows.

        Returns:
            Pixels (bands, rows, width), valid until the next call.
        """
        start = first
        if self._first <= first < self._stop:
            start = min(self._stop, stop)
            shift = first - self._first
            for top in range(0, start - first, shift) if shift else ():
                rows = min(shift, start - first - top)
                self._rows(top, rows)[:] = self._rows(top + shift, rows)
        for top in range(start, stop, PIECE):
            part = self._read(top, min(PIECE, stop - top))
            if self._buffer is None:
                self._buffer = np.empty((len(part), self._most, part.shape[-1]), part.dtype)
            self._rows(top - first, part.shape[1])[:] = part
        self._first, self._stop = first, stop
        return self._rows(0, stop - first)

    def _rows(self, top: int, rows: int) -> NDArray[Any]:
        if self._buffer is None:
            raise RuntimeError("no rows were read yet")
        return self._buffer[:, top : top + rows]


def _put(whole: Sequence[NDArray[Any]], parts: Sequence[NDArray[Any]], line: int) -> None:
    """Copy parts into the whole arrays, from `line` on."""
    for target, part in zip(whole, parts, strict=True):
        target[..., line : line + part.shape[-2], :] = part
