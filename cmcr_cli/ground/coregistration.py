"""How far the radar lies off the image, measured on clear ground.

Roads, shores and the borders of fields show in both, though not with the same sign: so it is the strength of
edges that is correlated, over windows spread across the scene.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.fft import irfft2, rfft2
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.radar import Radar
from cmcr_cli.scene.radiometry import RADAR_FLOOR_DB

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

WINDOW = 256
STRIPS, PER_STRIP = 4, 4
"""Windows of 256 x 256 px: at most 4 x 4 of them, those with the most clear ground."""

SEARCH = 12
"""Pixels; a larger shift is not found."""

LEAST_CLEAR = 0.3
LEAST_PIXELS = 20_000
"""Clear share of a window, and clear pixels in all, below which nothing is measured."""

DISTINCT = 0.2
"""By how much of its own height the peak must rise above all others. Of 13 real pairs of one window each, 12
did and were off by 1.3 px at most; one did not and was off by 4 px; the sum of all was off by 0.03 px."""

EDGE_BANDS = ("B02", "B03", "B04", "B08", "B12")


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where the radar lies as seen from the image, in units of the scene's CRS."""

    east: float
    north: float
    windows: int = 0  # of the scene in which it was measured

    @property
    def metres(self) -> float:
        """Length of the shift."""
        return math.hypot(self.east, self.north)

    def describe(self) -> str:
        """The shift in words."""
        parts = (
            f"{abs(value):.0f} m {ahead if value > 0 else behind}"
            for value, ahead, behind in ((self.east, "east", "west"), (self.north, "north", "south"))
        )
        return f"Sentinel-1 lies {' and '.join(parts)} of the image"


def measure_alignment(
    optical: Optical,
    radar: Radar,
    clear: Callable[[int, NDArray[np.generic]], Bools],
    each: Callable[[Callable[[int], Any], Iterable[int]], Iterable[Any]] = map,
) -> Alignment | None:
    """Measure the shift between radar and image; None where there is too little clear ground to be sure.

    `clear(top, dn)` says which pixels of full-width rows show the ground. Some strips of both are read.
    `each` is the builtin `map`, or one that works on several items at once.
    """
    grid = optical.grid
    rows, columns = min(WINDOW, grid.height), min(WINDOW, grid.width)
    if min(rows, columns) < 4 * SEARCH:
        return None
    bands = [optical.names.index(name) for name in EDGE_BANDS if name in optical.names]
    total, pixels, windows = np.zeros((2 * SEARCH + 1, 2 * SEARCH + 1)), 0, 0
    for top in np.linspace(0, grid.height - rows, min(STRIPS, grid.height // rows)).astype(int):
        dn = optical.read(int(top), rows)
        seen = clear(int(top), dn)
        lefts = np.arange(0, grid.width - columns + 1, columns)
        shares = [seen[:, left : left + columns].mean() for left in lefts]
        chosen = [n for n in np.argsort(shares)[::-1][:PER_STRIP] if shares[n] >= LEAST_CLEAR]
        if not chosen:
            continue
        db, valid = radar.read(int(top), rows)
        correlated = partial(_correlated, optical, dn[bands], seen, db, valid)
        for surface, count in each(correlated, [int(lefts[number]) for number in chosen]):
            total, pixels, windows = total + surface, pixels + count, windows + 1
    peak = _peak(total) if pixels >= LEAST_PIXELS else None
    if peak is None:
        return None
    a, e = grid.transform.a, grid.transform.e
    return Alignment(float(peak[1] * a), float(peak[0] * e), windows)


def _correlated(
    optical: Optical, dn: NDArray[np.generic], clear: Bools, db: Floats, valid: Bools, left: int
) -> tuple[NDArray[np.float64], int]:
    """`_correlation` of the window whose first column is `left`."""
    part = slice(left, left + min(WINDOW, optical.grid.width))
    image = np.sqrt(np.clip(optical.radiometry.reflectance(dn[:, :, part]), 0, 1))
    return _correlation(image, clear[:, part], db[:, :, part], valid[:, part])


def _correlation(image: Floats, clear: Bools, db: Floats, valid: Bools) -> tuple[NDArray[np.float64], int]:
    """Sum of products of edge strengths at all shifts (rows, columns) of the radar, and their number."""
    floor = RADAR_FLOOR_DB[:, None, None]
    filled = np.where(valid, np.clip(np.nan_to_num(db, nan=-99.0), floor, 0), floor / 2)
    # Edges near what is hidden or not valid are those of clouds and swaths.
    used = ndimage.binary_erosion(clear, iterations=6, border_value=1)
    inner = np.zeros_like(used)
    inner[SEARCH:-SEARCH, SEARCH:-SEARCH] = True
    weight = used & inner
    known = ndimage.binary_erosion(valid, iterations=6, border_value=1)
    mine, theirs = _edges(image, 1.5, used) * weight, _edges(filled, 2.0, known) * known
    product = irfft2(np.conj(rfft2(mine)) * rfft2(theirs), s=mine.shape)
    span = range(-SEARCH, SEARCH + 1)
    return product[np.ix_(span, span)], int(weight.sum())


def _edges(bands: Floats, sigma: float, used: Bools) -> Floats:
    """Strength of edges (H, W), evened out over the window: mean about 0 and std about 1."""
    strength = sum(ndimage.gaussian_gradient_magnitude(band, sigma) for band in bands)
    strength = np.log(strength + np.percentile(strength[used], 20) + 1e-6 if used.any() else strength + 1)
    share = ndimage.gaussian_filter(used.astype(np.float32), 12) + 1e-3
    level = ndimage.gaussian_filter(strength * used, 12) / share
    off = (strength - level) * used
    std = np.sqrt(ndimage.gaussian_filter(off * off, 20) / (ndimage.gaussian_filter(share, 16) + 1e-3))
    return np.asarray(off / (std + 1e-3), dtype=np.float32)


def _peak(surface: NDArray[np.float64]) -> tuple[float, float] | None:
    """Shift (rows, columns) of the highest peak to a fraction of a pixel; None when it is not distinct."""
    row, column = (int(n) for n in np.unravel_index(surface.argmax(), surface.shape))
    others = surface.copy()
    others[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4] = -np.inf
    height = surface.max() - np.median(surface)
    if height <= 0 or surface.max() - others.max() < DISTINCT * height:
        return None
    if not (0 < row < 2 * SEARCH and 0 < column < 2 * SEARCH):
        return None
    down, across = surface[row - 1 : row + 2, column], surface[row, column - 1 : column + 2]
    return row - SEARCH + _vertex(down), column - SEARCH + _vertex(across)


def _vertex(three: NDArray[np.float64]) -> float:
    """Where the parabola through values at -1, 0 and 1, the middle one the highest, has its vertex."""
    before, at, after = three
    return float((before - after) / (2 * (before - 2 * at + after)))
