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
    """A rectangle of pixels, relative to the scene's upper left corner; it may extend beyond the scene."""

    top: int
    left: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def shifted(self, rows: int, cols: int) -> Window:
        """Return the window moved by `rows` down and `cols` to the right."""
        return Window(self.top + rows, self.left + cols, self.height, self.width)

    def grown(self, margin: int) -> Window:
        """Return the window extended by `margin` pixels on each side."""
        return Window(
            self.top - margin, self.left - margin, self.height + 2 * margin, self.width + 2 * margin
        )

    def aligned(self, step: int) -> Window:
        """Return the smallest window around this one whose edges are multiples of `step`."""
        top, left = self.top // step * step, self.left // step * step
        bottom = -(-(self.top + self.height) // step) * step
        right = -(-(self.left + self.width) // step) * step
        return Window(top, left, bottom - top, right - left)

    def slices_in(self, outer: Window) -> tuple[slice, slice]:
        """Return the slices of this window in an array that covers `outer`."""
        row, col = self.top - outer.top, self.left - outer.left
        return slice(row, row + self.height), slice(col, col + self.width)


@lru_cache(maxsize=4096)
def key_of(seed: int, name: str) -> int:
    """Return a 63-bit key for the field `name` of scene `seed`; different names give independent fields."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()) >> 1


def scramble(values: Keys) -> Keys:
    """Apply the finaliser of splitmix64 (Steele, Lea and Flood 2014): each bit depends on all bits."""
    mixed = values ^ (values >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def hash_grid(key: int, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Keys:
    """Random 64-bit keys at integer positions; `rows` and `cols` broadcast against each other."""
    by_row = scramble(np.atleast_1d(rows).astype(np.uint64) + np.uint64(key))
    return scramble(by_row + np.atleast_1d(cols).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def uniform(keys: Keys, part: int = 0) -> Field:
    """Uniform numbers in [0, 1) from 16 of the keys' 64 bits; parts 0 to 3 are independent."""
    bits = (keys >> np.uint64(16 * part)) & np.uint64(0xFFFF)
    return np.asarray(bits.astype(np.float32) * np.float32(2**-16))


def pixel_keys(key: int, window: Window) -> Keys:
    """One random key per pixel, shape (height, width)."""
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
    """Value noise of one cell size in pixels: zero mean, unit variance, twice differentiable."""
    # Each octave has its own origin, because coinciding nodes would show as a grid.
    row, y, wy = _taps(window.top, window.height, cell, (key & 0xFFFF) / 1024)
    col, x, wx = _taps(window.left, window.width, cell, (key >> 16 & 0xFFFF) / 1024)
    lattice = _lattice(key, row, col, int(y[-1]) + 4, int(x[-1]) + 4)
    across = sum(lattice[:, x + k] * wx[k] for k in range(4))
    return np.asarray(sum(across[y + k] * wy[k][:, None] for k in range(4)) / np.float32(_SPLINE_STD))


def octave_at(key: int, y: NDArray[np.float64], x: NDArray[np.float64]) -> Field:
    """Value noise of cell size 1 at arbitrary positions (height, width); slower than `octave`."""
    row, col = int(np.floor(y.min())) - 2, int(np.floor(x.min())) - 2
    lattice = _lattice(key, row, col, int(np.floor(y.max())) - row + 4, int(np.floor(x.max())) - col + 4)
    values = map_coordinates(lattice, [y - row, x - col], order=3, prefilter=False, output=np.float32)
    return np.asarray(values / np.float32(_SPLINE_STD))


def fbm(key: int, window: Window, cell: float, octaves: int, gain: float = 0.5) -> Field:
    """Fractal noise: octaves of halving cell size with amplitudes `gain`**k, scaled to unit variance."""
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
    """Voronoi cells about `cell` pixels wide around positions `y`, `x` in pixels (Worley 1996)."""
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
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)
