"""Patches over a scene: a lattice locked to the map, reflection at the edges, and blending row by row.

Patch origins lie at map rows and columns that are multiples of the stride, so that a crop of a scene has the
same patches as the whole. The raised-cosine weights of a full lattice sum to one, so nothing is divided by
their sum.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.errors import OptionError

PATCH = 256
"""Side of a patch in pixels, the network's input."""

OVERLAPS = (16, 128)
"""Smallest and largest overlap: below, borders show; above, three patches would meet along one axis."""


def lattice_starts(origin: int, size: int, overlap: int) -> list[int]:
    """First pixels of all patches that touch [0, size) along one axis, relative to the scene, ascending.

    `origin` is the scene's first row or column on the map (`Grid.origin`). The first start may be negative,
    and the last patch may pass the end. Raises OptionError for an `overlap` that is odd or outside 16 to 128.
    """
    stride = _stride(overlap)
    first = (origin - PATCH) // stride + 1
    last = (origin + size - 1) // stride
    return [index * stride - origin for index in range(first, last + 1)]


def blend_ramp(overlap: int) -> NDArray[np.float32]:
    """Weights (PATCH,) along one axis: sine squared over `overlap` pixels at both ends, one between.

    Where two patches of the lattice overlap their weights sum to one; in two dimensions take the outer
    product. Raises OptionError as `lattice_starts` does.
    """
    _stride(overlap)
    rising = np.sin((np.arange(overlap) + 0.5) * (np.pi / 2 / overlap)) ** 2
    weights = np.ones(PATCH, dtype=np.float32)
    weights[:overlap] = rising
    weights[-overlap:] = rising[::-1]
    return weights


def reflected(start: int, length: int, size: int) -> NDArray[np.intp]:
    """Source pixels (length,) of the window [start, start + length) over an axis of `size` pixels.

    Beyond the edges the axis is mirrored about its end pixels as often as needed (numpy's pad mode
    "reflect"); an axis of one pixel repeats it. A patch is `array[..., rows[:, None], columns]`.
    """
    if size == 1:
        return np.zeros(length, dtype=np.intp)
    period = 2 * (size - 1)
    phase = np.arange(start, start + length) % period
    return np.minimum(phase, period - phase)


class RowBlender:
    """Sums weighted patches of a scene, a row of patches at a time, in memory that grows only with the width.

    Add all patches of one row of the lattice, then take the finished rows before the next row is added:

        for top, below in itertools.pairwise([*lattice_starts(row0, height, overlap), height]):
            blender.add(top, left, patch)  # for every patch of this row that was computed
            for first, rows in blender.finish(below): ...

    Patches left out count as zero; pixels that any of them covers must not be used.
    """

    def __init__(self, bands: int, height: int, width: int, overlap: int) -> None:
        """Blender for a scene of `height` x `width` pixels; OptionError as `lattice_starts` raises it."""
        ramp = blend_ramp(overlap)
        self._weights = np.outer(ramp, ramp)
        self._height, self._width = height, width
        # A ring: map row r lives in row r % PATCH, so that nothing is moved when rows are finished.
        self._ring = np.zeros((bands, PATCH, width), dtype=np.float32)
        self._finished = 0

    def add(self, top: int, left: int, patch: NDArray[np.float32]) -> None:
        """Add `patch` (bands, PATCH, PATCH) at a lattice start; what hangs over the scene is dropped.

        Raises ValueError when its rows are finished already or lie below the ring.
        """
        first, stop = max(top, 0), min(top + PATCH, self._height)
        if first < self._finished or stop > self._finished + PATCH:
            raise ValueError(f"rows {first} to {stop} are not among the {PATCH} from row {self._finished}")
        columns = slice(max(left, 0), min(left + PATCH, self._width))
        inside = slice(columns.start - left, columns.stop - left)
        for a, b in _unwrapped(first, stop):
            rows = slice(a - top, b - top)
            ring_rows = slice(a % PATCH, a % PATCH + b - a)
            self._ring[:, ring_rows, columns] += patch[:, rows, inside] * self._weights[rows, inside]

    def finish(self, stop: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Hand out the rows up to `stop` in order, as (first row, values (bands, rows, width)).

        The values are views that are cleared when the next ones are asked for. Exhaust the iterator.
        """
        for a, b in _unwrapped(self._finished, min(stop, self._height)):
            rows = self._ring[:, a % PATCH : a % PATCH + b - a]
            yield a, rows
            rows[:] = 0
            self._finished = b


def _unwrapped(first: int, stop: int) -> Iterator[tuple[int, int]]:
    """Split [first, stop) at the multiples of PATCH, where the ring wraps."""
    while first < stop:
        until = min(stop, (first // PATCH + 1) * PATCH)
        yield first, until
        first = until


def _stride(overlap: int) -> int:
    smallest, largest = OVERLAPS
    if overlap % 2 or not smallest <= overlap <= largest:
        raise OptionError(
            f"an overlap of {overlap} px was given; expected an even number from {smallest} to {largest}"
            ". See --overlap."
        )
    return PATCH - overlap
