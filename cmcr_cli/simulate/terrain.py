"""Simulated relief and water: elevation, shading towards sun and radar, rivers and lakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from cmcr_cli.simulate.noise import Field, Window, fbm, key_of, octave, smoothstep
from cmcr_cli.simulate.palette import SceneRecipe

MARGIN = 1
"""Pixels beyond the window that `shape_terrain` needs for gradients."""

_RADAR_AZIMUTH = np.deg2rad(100.0)  # a descending pass looks west from the east


@dataclass(frozen=True, slots=True)
class Terrain:
    """Terrain of a window; all arrays are (height, width)."""

    slope: Field
    """Tangent of the slope."""
    shade: Field
    """Sunlight on the slope relative to level ground, about 0.2 to 1.6."""
    facing: Field
    """Slope towards the radar, rise over run."""
    river: Field
    """Distance from the bank of the river in pixels; negative in the water."""
    lake: Field
    """Positive in lakes; in standard deviations of the noise field of lakes."""
    ruggedness: Field
    """0 on plains and valley floors, 1 in the hills."""
    ridge: Field
    """0 along drainage lines, about 1 on crests."""


def threshold(share: float) -> float:
    """Find the value that a share of a noise field exceeds.

    Args:
        share: Of the pixels, 0 to 1.

    Returns:
        The value, for a field of mean 0 and variance 1 that is taken as normally distributed.
    """
    return float(-ndtri(np.clip(share, 1e-6, 1 - 1e-6)))


def _ridges(key: int, window: Window, cell: float, octaves: int) -> Field:
    """Folded noise, about 0 to 1.5: sharp crests in the coarse octaves, sharp valleys down their flanks."""
    total = np.ones(window.shape, dtype=np.float32)
    for k in range(octaves):
        fold = np.abs(octave(key_of(key, str(k)), window, cell / 2**k))
        total += fold * np.float32((0.6 if k else -0.6) * 0.48**k)
    return total


def _level_distance(values: Field) -> Field:
    """Distance in pixels from the zero level of a smooth field, to first order."""
    rows, cols = np.gradient(values)
    return np.asarray(np.abs(values) / np.maximum(np.hypot(rows, cols), 1e-5))


def shape_terrain(recipe: SceneRecipe, seed: int, window: Window) -> Terrain:
    """Simulate relief, rivers and lakes of a window.

    Args:
        recipe: Values of the scene.
        seed: Of the scene.
        window: Which pixels.

    Returns:
        The terrain; heights and distances are in pixels of 10 m.
    """
    outer = window.grown(MARGIN)
    inner = window.slices_in(outer)
    meander = fbm(key_of(seed, "river"), outer, 560.0, 4, 0.42)
    plain = smoothstep(0.05, 0.8 - 0.5 * min(recipe.relief, 1.0), np.abs(meander))
    hills = smoothstep(-0.9, 0.6, fbm(key_of(seed, "hills"), outer, 900.0, 2) + 2 * recipe.relief - 0.8)
    ruggedness = plain * (0.15 + 0.85 * hills)
    rough = fbm(key_of(seed, "rough"), outer, 60.0, 5, 0.5)
    ridges = _ridges(key_of(seed, "ridges"), outer, 130.0, 5)
    elevation = np.float32(recipe.relief) * ruggedness * (38 * ridges + 1.5 * rough)
    down, right = (np.asarray(part, dtype=np.float32)[inner] for part in np.gradient(elevation))
    zenith, azimuth = recipe.sun_zenith, recipe.sun_azimuth
    level = np.sqrt(1 + down * down + right * right)
    towards_sun = (down * np.cos(azimuth) - right * np.sin(azimuth)) * np.tan(zenith)
    lake = fbm(key_of(seed, "lake"), window, 170.0, 5, 0.42) - threshold(recipe.lakes)
    return Terrain(
        slope=np.sqrt(down * down + right * right),
        shade=np.clip((1 + towards_sun) / level, 0.15, 1.7).astype(np.float32),
        facing=np.asarray(down * np.cos(_RADAR_AZIMUTH) - right * np.sin(_RADAR_AZIMUTH), dtype=np.float32),
        river=(_level_distance(meander) - recipe.river)[inner],
        lake=np.asarray(lake - 1.5 * recipe.relief * ruggedness[inner], dtype=np.float32),
        ruggedness=ruggedness[inner],
        ridge=ridges[inner],
    )
