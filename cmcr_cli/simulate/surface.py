"""Simulated ground without clouds: top-of-atmosphere reflectance of 13 bands, and radar backscatter."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy.special import gammaincinv

from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.radiometry import decibels
from cmcr_cli.simulate.land_cover import LandCover, lay_cover
from cmcr_cli.simulate.noise import Field, Window, fbm, key_of, pixel_keys, smoothstep
from cmcr_cli.simulate.palette import BACKSCATTER, GROUND, MATERIALS, PATH, SceneRecipe
from cmcr_cli.simulate.seasons import Date, scene_date
from cmcr_cli.simulate.terrain import Terrain, shape_terrain

BLOCK = 6
"""Least common multiple of the native pixel sizes, in pixels of 10 m; windows are aligned to it."""

NATIVE = (6, 1, 1, 1, 2, 2, 2, 1, 2, 6, 6, 2, 2)
"""Native pixel size per band, in pixels of 10 m."""

_PSF = 0.15  # weight of each neighbour along an axis; it also correlates the speckle, as in real GRD
_SPECKLE_LOOKS = 1.3  # before the PSF, after which the equivalent number of looks is 4.5
_TINTED = ("soil", "sand", "ripe")


def native(bands: Field) -> Field:
    """Give each band its native pixel size of 10, 20 or 60 m, by means over its pixels.

    Args:
        bands: Reflectance (13, height, width), changed in place. Its window is aligned to BLOCK.

    Returns:
        The same array.
    """
    for band, size in zip(bands, NATIVE, strict=True):
        if size > 1:
            # Not mean(): its order of summation depends on the shape of the array.
            rows = sum(band[k::size] for k in range(size))
            total = sum(rows[:, k::size] for k in range(size))
            band[:] = np.repeat(np.repeat(total / np.float32(size * size), size, axis=0), size, axis=1)
    return bands


def _blur(values: Field) -> Field:
    """Apply the point spread function to the last two axes; one pixel is lost on each side."""
    centre = np.float32(1 - 2 * _PSF)
    side = np.float32(_PSF)
    rows = values[..., 1:-1, :] * centre + (values[..., :-2, :] + values[..., 2:, :]) * side
    return np.asarray(rows[..., 1:-1] * centre + (rows[..., :-2] + rows[..., 2:]) * side)


@lru_cache(maxsize=1)
def _speckle_quantiles() -> Field:
    """Quantiles of gamma-distributed speckle of mean 1, at the centres of 2**16 equal shares."""
    shares = (np.arange(2**16) + 0.5) / 2**16
    return np.asarray(gammaincinv(_SPECKLE_LOOKS, shares) / _SPECKLE_LOOKS, dtype=np.float32)


def _in_order(cover: LandCover) -> Iterator[tuple[str, Field]]:
    """Yield the shares in a fixed order, because sums of floats depend on it."""
    return ((material, cover.shares[material]) for material in MATERIALS if material in cover.shares)


def _lay_snow(cover: LandCover, recipe: SceneRecipe, seed: int, window: Window) -> None:
    """Add snow everywhere except on water; less under trees."""
    if recipe.snow <= 0:
        return
    depth = fbm(key_of(seed, "snow"), window, 180.0, 6, 0.55)
    snow = smoothstep(-0.5, 0.5, depth + np.float32(4 * recipe.snow - 1.2))
    shelter = {"water": 0.0, "turbid": 0.0, "conifer": 0.12, "asphalt": 0.4}
    total = np.zeros(window.shape, dtype=np.float32)
    for material, share in _in_order(cover):
        covered = share * snow * np.float32(shelter.get(material, 0.9))
        cover.shares[material] = share - covered
        total += covered
    cover.shares["snow"] = total


def _reflectance(date: Date, cover: LandCover, terrain: Terrain) -> Field:
    """Top-of-atmosphere reflectance (13, height - 2, width - 2)."""
    ground = np.zeros((len(BANDS), *cover.free.shape), dtype=np.float32)
    part = np.empty_like(ground[0])
    for material, share in _in_order(cover):
        spectrum = GROUND[material] * (date.recipe.tint if material in _TINTED else 1) * date.gain
        for band in range(len(BANDS)):
            ground[band] += np.multiply(share, spectrum[band], out=part)
    ground *= np.clip(cover.brightness, 0.3, 2.5) * terrain.shade
    seen = _blur(ground)
    seen += (PATH * np.float32(date.haze))[:, None, None]
    return seen


def _backscatter(cover: LandCover, terrain: Terrain, seed: int, window: Window) -> Field:
    """VV and VH in dB (2, height - 2, width - 2) with speckle."""
    gain = cover.roughness + np.clip(9 * terrain.facing, -7, 6)
    factor = np.exp(gain * np.float32(np.log(10) / 10))
    power = np.zeros((2, *window.shape), dtype=np.float32)
    for material, share in _in_order(cover):
        for channel in range(2):
            power[channel] += share * BACKSCATTER[material][channel]
    quantiles = _speckle_quantiles()
    keys = pixel_keys(key_of(seed, "speckle"), window)
    for channel in range(2):
        index = (keys >> np.uint64(16 * channel)) & np.uint64(0xFFFF)
        power[channel] *= factor * quantiles[index.astype(np.intp)]
    return decibels(_blur(power))


def simulate_ground(seed: int, window: Window) -> tuple[Field, Field]:
    """Simulate the ground of a window on the date of the scene.

    Args:
        seed: Seed of the scene.
        window: Which pixels.

    Returns:
        Clear reflectance (13, height, width), and VV and VH in dB (2, height, width).
    """
    date, whole = scene_date(seed), window.aligned(BLOCK)
    terrain, cover = _covered(date, seed, whole)
    radar = _backscatter(cover, terrain, seed, whole.grown(1))
    rows, cols = window.slices_in(whole)
    optical = _optical(date, seed, whole, terrain, cover)[:, rows, cols]
    return np.ascontiguousarray(optical), np.ascontiguousarray(radar[:, rows, cols])


def simulate_optical(seed: int, window: Window, date: Date) -> Field:
    """Simulate the ground of a window on any date, as Sentinel-2 sees it without clouds.

    Args:
        seed: Of the scene.
        window: Which pixels.
        date: From `scene_date` or `draw_dates` of the same seed.

    Returns:
        Top-of-atmosphere reflectance (13, height, width).
    """
    whole = window.aligned(BLOCK)
    rows, cols = window.slices_in(whole)
    return np.ascontiguousarray(_optical(date, seed, whole, *_covered(date, seed, whole))[:, rows, cols])


def _covered(date: Date, seed: int, whole: Window) -> tuple[Terrain, LandCover]:
    """Terrain and land cover without snow of an aligned window and one pixel around it."""
    terrain = shape_terrain(date.recipe, seed, whole.grown(1))
    return terrain, lay_cover(date, seed, whole.grown(1), terrain)


def _optical(date: Date, seed: int, whole: Window, terrain: Terrain, cover: LandCover) -> Field:
    """Reflectance (13, height, width) of an aligned window; adds snow to the cover."""
    _lay_snow(cover, date.recipe, seed, whole.grown(1))
    return native(_reflectance(date, cover, terrain))
