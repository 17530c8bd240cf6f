"""Where the scene is covered by cloud or shadow, two bits per cell of 20 m for the whole scene.

Cells are locked to even map pixels, like everything else here, so a crop has the same cells as the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.mask import CloudClass

CELL = 2
"""Pixels of 10 m along the side of a cell."""

VEIL, CLOUD = 1, 2
"""Values of cells: thin cirrus, which B10 takes off the ground that still shows; cloud or shadow."""

CODES = np.array([CloudClass.CLEAR, CloudClass.THIN, CloudClass.THICK], np.uint8)
"""Of masks, for each value of cells."""

RING = 2
"""Cells; the seam in which old and new pixels are mixed is twice as wide, and lies on the clear side."""

REACH = 2 * RING * CELL
"""Pixels beyond a covered cell that are replaced in part."""


@dataclass(frozen=True, slots=True)
class Cover:
    """Cells (rows, columns) of 0, VEIL or CLOUD. The first begins `phase` pixels before the scene.

    planes (2, rows, columns / 8) says bit by bit which cells are at least VEIL, and which at least CLOUD.
    """

    planes: NDArray[np.uint8]
    phase: tuple[int, int]
    width: int  # of the scene, pixels

    @classmethod
    def empty(cls, grid: Grid) -> Cover:
        """Nothing covered yet."""
        phase = (grid.origin[0] % CELL, grid.origin[1] % CELL)
        rows, columns = (
            -(-(size + n) // CELL) for size, n in zip((grid.height, grid.width), phase, strict=True)
        )
        return cls(np.zeros((2, rows, -(-columns // 8)), np.uint8), phase, grid.width)

    @property
    def columns(self) -> int:
        """Of cells."""
        return -(-(self.width + self.phase[1]) // CELL)

    @classmethod
    def of(cls, cells: NDArray[np.uint8], width: int) -> Cover:
        """That of given cells, which begin with the scene."""
        return cls(_packed(cells), (0, 0), width)

    def cells(self, first: int, stop: int) -> NDArray[np.uint8]:
        """The rows of cells from `first` to `stop`."""
        veiled, clouded = (self._bits(plane[first:stop]) for plane in self.planes)
        return veiled + clouded

    def enter(self, first: int, cells: NDArray[np.uint8]) -> None:
        """Replace rows of cells from `first`; what hangs over the lower or the right edge is dropped."""
        rows = len(self.planes[0, first : first + len(cells)])
        self.planes[:, first : first + rows] = _packed(cells[:rows, : self.columns])

    def mark(self, top: int, covered: NDArray[np.bool_], value: int = CLOUD) -> None:
        """Enter clouds, full-width rows of pixels from row `top`; one covered pixel covers its cell."""
        y, x = self._rows(top, len(covered)), self._cols()
        by_row = np.logical_or.reduceat(covered, np.flatnonzero(np.diff(y, prepend=-1)), axis=0)
        by_cell = np.logical_or.reduceat(by_row, np.flatnonzero(np.diff(x, prepend=-1)), axis=1)
        cells = self.cells(int(y[0]), int(y[-1]) + 1)
        np.maximum(cells, value, out=cells, where=by_cell)
        self.enter(int(y[0]), cells)

    def mark_codes(self, top: int, codes: NDArray[np.uint8]) -> None:
        """Enter full-width rows of a mask from row `top`."""
        self.mark(top, codes == CloudClass.THIN, VEIL)
        self.mark(top, (codes == CloudClass.THICK) | (codes == CloudClass.SHADOW))

    def codes(self, top: int, rows: int) -> NDArray[np.uint8]:
        """Full-width rows (rows, width) as codes of a mask."""
        return CODES[self.pixels(top, rows)]

    def pixels(self, top: int, rows: int) -> NDArray[np.uint8]:
        """What lies over the pixels of full-width rows: 0, VEIL or CLOUD, (rows, width)."""
        y = self._rows(top, rows)
        cells = self.cells(int(y[0]), int(y[-1]) + 1)
        return np.asarray(cells[(y - y[0])[:, None], self._cols()])

    def strength(self, top: int, rows: int) -> NDArray[np.float32]:
        """How much of each pixel is replaced, 0 to 1, for full-width rows (rows, width).

        1 on covered pixels; falls to 0 across the ring around them.
        """
        y = self._rows(top, rows)
        first = max(int(y[0]) - 2 * RING, 0)
        near = self._bits(self.planes[0, first : y[-1] + 2 * RING + 1])
        if not near.any():
            return np.zeros((rows, self.width), np.float32)
        grown = ndimage.maximum_filter(near, 2 * RING + 1, mode="nearest")
        sums = ndimage.uniform_filter(grown.astype(np.float32) * 64, 2 * RING + 1, mode="nearest") / 64
        # The filter's running sums leave dust where nothing is covered.
        soft = np.where(grown > 0, np.maximum(sums, near), np.where(sums > 1e-3, sums, 0))
        return np.asarray(soft[(y - first)[:, None], self._cols()], dtype=np.float32)

    def touches(self, top: int, left: int, size: int) -> bool:
        """Whether anything is replaced in a square window, which may hang over the scene's edge."""
        (y0, y1), (x0, x1) = (
            (max(start + phase - REACH, 0) // CELL, max(start + phase + size + REACH, 0) // CELL + 1)
            for start, phase in zip((top, left), self.phase, strict=True)
        )
        return bool(self._bits(self.planes[0, y0:y1])[:, x0:x1].any())

    def _bits(self, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(np.unpackbits(plane, axis=1, count=self.columns))

    def _rows(self, top: int, rows: int) -> NDArray[np.intp]:
        return (np.arange(top, top + rows) + self.phase[0]) // CELL

    def _cols(self) -> NDArray[np.intp]:
        return (np.arange(self.width) + self.phase[1]) // CELL


def _packed(cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.packbits([cells >= VEIL, cells >= CLOUD], axis=-1)
