"""Map of clouds and of what is to be done about them: three bits per cell of 20 m for the whole scene.

Cells are locked to even map pixels, like everything else here, so a crop has the same cells as the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.ground.cirrus import THIN as LIFTABLE
from cmcr_cli.ground.cirrus import visible_cirrus
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.masks.mask_codes import CLEAR, SHADOW, THICK, THIN

CELL = 2
"""Pixels of 10 m along the side of a cell."""

CIRRUS, CLOUD = 1, 2
"""Values of `pixels` for covered cells: under CIRRUS the ground shows once B10's cirrus is subtracted."""

_OPAQUE = np.array([CLEAR, THIN, SHADOW, THICK], np.uint8)
"""Classes from the least to the most opaque: a cell takes the last that any of its pixels has."""

SEEN_CIRRUS = np.float32(0.0075)
"""Reflectance that B10 must show in the visible for thin cloud to be cirrus that can be subtracted."""

BRIGHT = np.float32(0.2)
"""Reflectance in B02 from which on a cell is not thin cirrus over ground: it stays bright without it. With
0.35, low thin cloud below a faint veil was taken for ground: 28.0 dB in place of 29.0 in such a scene (A),
and images under thin cirrus score the same."""

RING = 2
"""Cells; the feathered edge is twice as wide, and is on the clear side."""

EDGE_REACH = 2 * RING * CELL
"""Pixels beyond a covered cell that are replaced in part."""


@dataclass(frozen=True, slots=True)
class CloudMap:
    """Cells (rows, columns) with a CloudClass each.

    Attributes:
        planes: Bits (3, rows, columns / 8): the low and the high bit of the class, and whether the cell is
            thin cirrus that B10 subtracts well enough for the ground below to be learnt from.
        phase: Rows and columns of pixels by which the first cell begins before the scene.
        width: Columns of the scene, pixels.
    """

    planes: NDArray[np.uint8]
    phase: tuple[int, int]
    width: int

    @classmethod
    def empty(cls, grid: Grid) -> CloudMap:
        """Make a map without clouds.

        Args:
            grid: Grid of the scene.

        Returns:
            The map.
        """
        phase = (grid.origin[0] % CELL, grid.origin[1] % CELL)
        rows, columns = (
            -(-(size + n) // CELL) for size, n in zip((grid.height, grid.width), phase, strict=True)
        )
        return cls(np.zeros((3, rows, -(-columns // 8)), np.uint8), phase, grid.width)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return self.planes.shape[1], self.columns

    @property
    def columns(self) -> int:
        """Of cells."""
        return -(-(self.width + self.phase[1]) // CELL)

    @classmethod
    def of(cls, classes: NDArray[np.uint8], width: int) -> CloudMap:
        """Make a map of given classes.

        Args:
            classes: CloudClass of cells (rows, columns), which begin with the scene.
            width: Columns of the scene in pixels.

        Returns:
            The map.
        """
        return cls(_packed(classes, np.zeros(classes.shape, np.bool_)), (0, 0), width)

    def cells(self, first: int, stop: int) -> NDArray[np.uint8]:
        """Read rows of cells.

        Args:
            first: First row.
            stop: Row after the last.

        Returns:
            CloudClass (rows, columns).
        """
        low, high = (self._bits(plane[first:stop]) for plane in self.planes[:2])
        return low + 2 * high

    def enter(self, first: int, classes: NDArray[np.uint8], lifted: NDArray[np.bool_]) -> None:
        """Replace rows of cells.

        Args:
            first: First row of cells.
            classes: CloudClass (rows, columns). Cells beyond the lower or the right edge are ignored.
            lifted: Which cells are cirrus that can be subtracted, see `lifted_cells`.
        """
        rows = len(self.planes[0, first : first + len(classes)])
        inside = slice(rows), slice(self.columns)
        self.planes[:, first : first + rows] = _packed(classes[inside], lifted[inside])

    def mark(self, top: int, classes: NDArray[np.uint8]) -> None:
        """Replace cells of rows of pixels. A cell gets the class of its most opaque pixel; see also `lift`.

        Args:
            top: First row of pixels, with which cells begin.
            classes: CloudClass of full-width rows (rows, width), which end with cells.
        """
        y, x = self._rows(top, len(classes)), self._cols()
        rank = np.argsort(_OPAQUE).astype(np.uint8)[classes]
        by_row = np.maximum.reduceat(rank, np.flatnonzero(np.diff(y, prepend=-1)), axis=0)
        cells = _OPAQUE[np.maximum.reduceat(by_row, np.flatnonzero(np.diff(x, prepend=-1)), axis=1)]
        self.enter(int(y[0]), cells, np.zeros(cells.shape, np.bool_))

    def lift(self, top: int, rows: int, cirrus: NDArray[np.float32], cirrus_ratio: np.float32) -> None:
        """Find the cells of rows of pixels that are cirrus which can be subtracted, see `lifted_cells`.

        Args:
            top: First row of pixels.
            rows: Number of rows.
            cirrus: As `thin_cirrus` returns it, in cells.
            cirrus_ratio: What cirrus adds to the visible bands for 1 in B10.
        """
        y = self._rows(top, rows)
        cells = self.cells(int(y[0]), int(y[-1]) + 1)
        self.enter(int(y[0]), cells, lifted_cells(cells, cirrus[: len(cells), : self.columns], cirrus_ratio))

    def classes(self, top: int, rows: int) -> NDArray[np.uint8]:
        """Read full-width rows of pixels.

        Args:
            top: First row.
            rows: Number of rows.

        Returns:
            CloudClass (rows, width).
        """
        y = self._rows(top, rows)
        return np.asarray(self.cells(int(y[0]), int(y[-1]) + 1)[(y - y[0])[:, None], self._cols()])

    def to_pixels(self, cells: NDArray[np.uint8], top: int, rows: int, first: int = 0) -> NDArray[np.uint8]:
        """Repeat values of cells for full-width rows of pixels.

        Args:
            cells: Values of cells, all or those from row `first`.
            top: First row of pixels.
            rows: Number of rows.
            first: First row of `cells`.

        Returns:
            Values (rows, width).
        """
        return np.asarray(cells[self._rows(top, rows)[:, None] - first, self._cols()])

    def pixels(self, top: int, rows: int) -> NDArray[np.uint8]:
        """Read what is to be done with full-width rows of pixels.

        Args:
            top: First row.
            rows: Number of rows.

        Returns:
            0 (nothing), CIRRUS or CLOUD (rows, width).
        """
        y = self._rows(top, rows)
        first, stop = int(y[0]), int(y[-1]) + 1
        cells = treatment(self._covered(first, stop), self._bits(self.planes[2, first:stop]))
        return np.asarray(cells[(y - first)[:, None], self._cols()])

    def strength(self, top: int, rows: int) -> NDArray[np.float32]:
        """Compute how much of each pixel is replaced in full-width rows.

        Args:
            top: First row.
            rows: Number of rows.

        Returns:
            1 on covered pixels, falling to 0 across the ring around them (rows, width).
        """
        y = self._rows(top, rows)
        first = max(int(y[0]) - 2 * RING, 0)
        near = self._covered(first, int(y[-1]) + 2 * RING + 1)
        if not near.any():
            return np.zeros((rows, self.width), np.float32)
        grown = ndimage.maximum_filter(near, 2 * RING + 1, mode="nearest")
        sums = ndimage.uniform_filter(grown.astype(np.float32) * 64, 2 * RING + 1, mode="nearest") / 64
        # The filter's running sums leave dust where nothing is covered.
        soft = np.where(grown > 0, np.maximum(sums, near), np.where(sums > 1e-3, sums, 0))
        return np.asarray(soft[(y - first)[:, None], self._cols()], dtype=np.float32)

    def replaced(self, top: int, rows: int) -> NDArray[np.bool_]:
        """Tell which pixels of full-width rows are replaced at all: those whose `strength` is above 0.

        Args:
            top: First row.
            rows: Number of rows.

        Returns:
            Booleans (rows, width).
        """
        y = self._rows(top, rows)
        first = max(int(y[0]) - 2 * RING, 0)
        near = self._covered(first, int(y[-1]) + 2 * RING + 1)
        if not near.any():
            return np.zeros((rows, self.width), np.bool_)
        grown = ndimage.maximum_filter(near, 4 * RING + 1, mode="nearest") > 0
        return np.asarray(grown[(y - first)[:, None], self._cols()])

    def touches(self, top: int, left: int, size: int) -> bool:
        """Check a square window, which may pass the edges of the scene.

        Args:
            top: First row.
            left: First column.
            size: Side in pixels.

        Returns:
            Whether anything in it is replaced.
        """
        (y0, y1), (x0, x1) = (
            (
                max(start + phase - EDGE_REACH, 0) // CELL,
                max(start + phase + size + EDGE_REACH, 0) // CELL + 1,
            )
            for start, phase in zip((top, left), self.phase, strict=True)
        )
        return bool(self._covered(y0, y1)[:, x0:x1].any())

    def _covered(self, first: int, stop: int) -> NDArray[np.uint8]:
        return self._bits(self.planes[0, first:stop] | self.planes[1, first:stop])

    def _bits(self, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(np.unpackbits(plane, axis=1, count=self.columns))

    def _rows(self, top: int, rows: int) -> NDArray[np.intp]:
        return (np.arange(top, top + rows) + self.phase[0]) // CELL

    def _cols(self) -> NDArray[np.intp]:
        return (np.arange(self.width) + self.phase[1]) // CELL


def treatment(classes: NDArray[np.uint8], lifted: NDArray[Any]) -> NDArray[np.uint8]:
    """Decide what is to be done with cells.

    Args:
        classes: CloudClass.
        lifted: Which cells are cirrus that can be subtracted.

    Returns:
        0 (nothing), CIRRUS or CLOUD.
    """
    return np.where(classes == CLEAR, 0, np.where(lifted, CIRRUS, CLOUD)).astype(np.uint8)


def thin_cirrus(b10: NDArray[np.float32], blue: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take B10 only where B02 allows for thin cirrus over ground.

    A few cells of bright cloud that were learnt from as ground would fill the hole around them with cloud.

    Args:
        b10: Reflectance of B10.
        blue: Reflectance of B02.

    Returns:
        Reflectance of B10, else 0.
    """
    return np.where(blue < BRIGHT, b10, np.float32(0))


def lifted_cells(
    classes: NDArray[np.uint8], cirrus: NDArray[np.float32], cirrus_ratio: np.float32
) -> NDArray[np.bool_]:
    """Find cells of thin cloud that are cirrus, and can be subtracted well enough to learn from the ground.

    Args:
        classes: CloudClass (rows, columns).
        cirrus: As `thin_cirrus` returns it (rows, columns); 0: none, or no B10.
        cirrus_ratio: What cirrus adds to the visible bands for 1 in B10.

    Returns:
        Booleans (rows, columns).
    """
    visible = visible_cirrus(cirrus, cirrus_ratio)
    return np.asarray((classes == THIN) & (visible > SEEN_CIRRUS) & (visible <= LIFTABLE))


def _packed(classes: NDArray[np.uint8], lifted: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.packbits(np.stack([classes & 1 > 0, classes > 1, lifted]), axis=-1)
