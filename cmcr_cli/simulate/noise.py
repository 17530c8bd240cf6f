"""Noise that is a pure function of a seed and the absolute pixel position.

All simulated scenes are built from these fields, so a pixel does not depend on the window it is computed in.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

Field: TypeAlias = NDArray[np.float32]
Keys: TypeAlias = NDArray[np.uint64]

_STRATUM = 4
# Std of cubic B-spline interpolation: 151/315 for white nodes, times a measured factor for stratified ones.
_SPLINE_STD = 0.927 * 151 / 315


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels; it may extend beyond the scene.

    Attributes:
        top: First row, relative to the scene's upper left corner.
        left: First column, likewise.
        height: Number of rows.
        width: Number of columns.
    """

    top: int
    left: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def shifted(self, rows: int, cols: int) -> Window:
        """Move the window.

        Args:
            rows: Pixels down; negative: up.
            cols: Pixels to the right; negative: to the left.

        Returns:
            A window of the same size.
        """
        return Window(self.top + rows, self.left + cols, self.height, self.width)

    def grown(self, margin: int) -> Window:
        """Extend the window on all sides.

        Args:
            margin: Pixels on each side.

        Returns:
            The larger window; it may begin at negative rows and columns.
        """
        return Window(
            self.top - margin, self.left - margin, self.height + 2 * margin, self.width + 2 * margin
        )

    def aligned(self, step: int) -> Window:
        """Extend the window to a lattice that begins at the scene's upper left corner.

        Args:
            step: Pixels between the lines of the lattice.

        Returns:
            The smallest window around this one whose edges are multiples of `step`.
        """
        top, left = self.top // step * step, self.left // step * step
        bottom = -(-(self.top + self.height) // step) * step
        right = -(-(self.left + self.width) // step) * step
        return Window(top, left, bottom - top, right - left)

    def slices_in(self, outer: Window) -> tuple[slice, slice]:
        """Find the window in an array.

        Args:
            outer: Window that the array covers; it contains this one.

        Returns:
            Rows and columns, to index the last two axes.
        """
        row, col = self.top - outer.top, self.left - outer.left
        return slice(row, row + self.height), slice(col, col + self.width)


@lru_cache(maxsize=4096)
def key_of(seed: int, name: str) -> int:
    """Make the key of a random field.

    Args:
        seed: Of the scene.
        name: Of the field; fields of different names are independent.

    Returns:
        A number of 63 bits, from the BLAKE2b hash of both.
    """
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()) >> 1


def scramble(values: Keys) -> Keys:
    """Mix the bits of keys with the finaliser of splitmix64 (Steele, Lea and Flood 2014).

    Args:
        values: Keys of any shape.

    Returns:
        As many keys, each bit of which depends on all bits of the key that it was made of.
    """
    mixed = values ^ (values >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def hash_grid(key: int, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Keys:
    """Make random keys at integer positions.

    Args:
        key: Of the field, see `key_of`.
        rows: Rows, which are broadcast against `cols`.
        cols: Columns.

    Returns:
        64-bit keys of the common shape.
    """
    by_row = scramble(np.atleast_1d(rows).astype(np.uint64) + np.uint64(key))
    return scramble(by_row + np.atleast_1d(cols).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def uniform(keys: Keys, part: int = 0) -> Field:
    """Make uniform random numbers of 16 of the 64 bits of keys.

    Args:
        keys: Keys of any shape.
        part: Which 16 bits, 0 to 3. Numbers of different parts are independent.

    Returns:
        Numbers in [0, 1) of the same shape.
    """
    bits = (keys >> np.uint64(16 * part)) & np.uint64(0xFFFF)
    return np.asarray(bits.astype(np.float32) * np.float32(2**-16))


def pixel_keys(key: int, window: Window) -> Keys:
    """Make a random key for each pixel of a window.

    Args:
        key: Of the field, see `key_of`.
        window: The pixels.

    Returns:
        64-bit keys (height, width).
    """
    rows = np.arange(window.top, window.top + window.height)
    cols = np.arange(window.left, window.left + window.width)
    return hash_grid(key, rows[:, None], cols[None, :])


def _lattice(key: int, row: int, col: int, rows: int, cols: int) -> Field:
    """Lattice values of zero mean and unit variance, stratified over blocks of 4x4 nodes.

    Each block holds one value from each sixteenth of the distribution, so the mean over some blocks hardly
    varies. The share of a scene above a threshold (cloud cover) is then as requested without a second pass.
    """
    outer = Window(row, col, rows, cols).aligned(_STRATUM)
    keys = pixel_keys(key, outer)
    blocks = keys.reshape(outer.height // _STRATUM, _STRATUM, outer.width // _STRATUM, _STRATUM).swapaxes(
        1, 2
    )
    flat = blocks.reshape(-1, _STRATUM * _STRATUM)
    rank = np.empty(flat.shape, dtype=np.float32)
    np.put_along_axis(rank, flat.argsort(axis=1), np.arange(flat.shape[1], dtype=np.float32)[None], axis=1)
    rank += uniform(flat)
    values = (rank / np.float32(flat.shape[1]) - np.float32(0.5)) * np.float32(12**0.5)
    repeated = values.reshape(blocks.shape).swapaxes(1, 2).reshape(outer.shape)
    return repeated[Window(row, col, rows, cols).slices_in(outer)]


def _taps(first: int, count: int, cell: float, origin: float) -> tuple[int, NDArray[np.intp], Field]:
    """First lattice node, node index (count,) and cubic B-spline weights (4, count) of `count` pixels."""
    position = (np.arange(first, first + count) + 0.5) / cell + origin
    node = np.floor(position)
    f = (position - node).astype(np.float32)
    weights = np.stack([(1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3]) / 6
    start = int(node[0]) - 1
    return start, (node - start - 1).astype(np.intp), np.asarray(weights, dtype=np.float32)


def octave(key: int, window: Window, cell: float) -> Field:
    """Make value noise of one size: random values on a lattice, joined by cubic B-splines.

    Args:
        key: Of the field, see `key_of`.
        window: The pixels.
        cell: Spacing of the lattice in pixels.

    Returns:
        Noise (height, width) of mean 0 and variance 1, twice differentiable.
    """
    # Each octave has its own origin, because coinciding nodes would show as a grid.
    row, y, wy = _taps(window.top, window.height, cell, (key & 0xFFFF) / 1024)
    col, x, wx = _taps(window.left, window.width, cell, (key >> 16 & 0xFFFF) / 1024)
    lattice = _lattice(key, row, col, int(y[-1]) + 4, int(x[-1]) + 4)
    across = sum(lattice[:, x + k] * wx[k] for k in range(4))
    return np.asarray(sum(across[y + k] * wy[k][:, None] for k in range(4)) / np.float32(_SPLINE_STD))


def octave_at(key: int, y: NDArray[np.float64], x: NDArray[np.float64]) -> Field:
    """Make value noise at any positions; slower than `octave`, which is for whole pixels.

    Args:
        key: Of the field, see `key_of`.
        y: Rows in units of the lattice's spacing (height, width).
        x: Columns in the same units (height, width).

    Returns:
        Noise (height, width) of mean 0 and variance 1.
    """
    row, col = int(np.floor(y.min())) - 2, int(np.floor(x.min())) - 2
    lattice = _lattice(key, row, col, int(np.floor(y.max())) - row + 4, int(np.floor(x.max())) - col + 4)
    values = map_coordinates(lattice, [y - row, x - col], order=3, prefilter=False, output=np.float32)
    return np.asarray(values / np.float32(_SPLINE_STD))


def fbm(key: int, window: Window, cell: float, octaves: int, gain: float = 0.5) -> Field:
    """Make fractal noise: a sum of octaves, each with half the spacing of the one before.

    Args:
        key: Of the field, see `key_of`.
        window: The pixels.
        cell: Spacing of the first octave in pixels.
        octaves: How many there are.
        gain: Amplitude of each over that of the one before, 0 to 1; higher is rougher.

    Returns:
        Noise (height, width) of mean 0 and variance 1.
    """
    total = np.zeros(window.shape, dtype=np.float32)
    for k in range(octaves):
        total += octave(key_of(key, str(k)), window, cell / 2**k) * np.float32(gain**k)
    return total / np.float32(sum(gain ** (2 * k) for k in range(octaves)) ** 0.5)


@dataclass(frozen=True, slots=True)
class Cells:
    """Voronoi cells of jittered lattice sites; all arrays have the shape of the given positions."""

    keys: Keys
    """Random key of each position's cell."""
    edge_keys: Keys
    """Random key of the edge nearest to each position, the same on both sides."""
    edge: Field
    """Distance to that edge, in pixels."""
    y: Field
    """Rows from the cell's site."""
    x: Field
    """Columns from the cell's site."""


def voronoi(key: int, y: Field, x: Field, cell: float) -> Cells:
    """Divide the plane into irregular cells (Worley 1996): around one random site per square of a lattice.

    Args:
        key: Of the field, see `key_of`.
        y: Rows in pixels, of any shape.
        x: Columns in pixels, of the same shape.
        cell: Side of the squares in pixels, about the width of a cell.

    Returns:
        The cell of each position, and its nearest edge.
    """
    iy, ix = np.floor(y / cell).astype(np.int32), np.floor(x / cell).astype(np.int32)
    row, col = int(iy.min()) - 1, int(ix.min()) - 1
    rows, cols = int(iy.max()) - row + 2, int(ix.max()) - col + 2
    keys = hash_grid(key, np.arange(row, row + rows)[:, None], np.arange(col, col + cols)[None, :])
    site_y = (
        ((np.arange(row, row + rows)[:, None] + 0.1 + 0.8 * uniform(keys, 0)) * cell)
        .astype(np.float32)
        .ravel()
    )
    site_x = (
        ((np.arange(col, col + cols)[None, :] + 0.1 + 0.8 * uniform(keys, 1)) * cell)
        .astype(np.float32)
        .ravel()
    )
    flat = keys.ravel()
    home = (iy - row) * cols + (ix - col)
    first, second = (np.full(y.shape, np.inf, dtype=np.float32) for _ in range(2))
    nearest, other = np.zeros(y.shape, dtype=np.int32), np.zeros(y.shape, dtype=np.int32)
    for step in (dy * cols + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
        site = home + np.int32(step)
        distance = np.square(y - site_y.take(site)) + np.square(x - site_x.take(site))
        closer = distance < first
        runner_up = ~closer & (distance < second)
        other = np.where(closer, nearest, np.where(runner_up, site, other))
        second = np.where(closer, first, np.minimum(second, distance))
        nearest = np.where(closer, site, nearest)
        first = np.minimum(first, distance)
    near_y, near_x = site_y.take(nearest), site_x.take(nearest)
    apart = np.hypot(near_y - site_y.take(other), near_x - site_x.take(other))
    return Cells(
        keys=flat.take(nearest),
        edge_keys=scramble(flat.take(nearest) ^ flat.take(other)),
        edge=(second - first) / (2 * apart),
        y=y - near_y,
        x=x - near_x,
    )


def smoothstep(low: float, high: float, values: Field) -> Field:
    """Make a smooth step of a field.

    Args:
        low: Value up to which the step is 0.
        high: Value from which on it is 1.
        values: The field, of any shape.

    Returns:
        Values 0 to 1 of the same shape, with a slope of 0 at both ends (3 t^2 - 2 t^3).
    """
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)
