"""Variation of clear ground for the cloud network: snow, water, deserts, roofs and relief.

The training data show few places. All arrays are float32 reflectance in cells of 20 m, (13, h, w).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.scene.bands import BANDS
from cmcr_cli.simulate.palette import PATH, TRANSMITTANCE
from cmcr_cli.training.samples.synthesis import MICROMETRES, dihedral

Array = NDArray[np.float32]

B09, B10 = BANDS.index("B09"), BANDS.index("B10")
SHORTWAVE = slice(BANDS.index("B11"), None)

AIR: Array = PATH[:, None, None]
CLEARNESS: Array = TRANSMITTANCE[:, None, None]

_SNOW = np.array([0.95, 0.97, 0.96, 0.95, 0.94, 0.92, 0.9, 0.88, 0.85, 0.6, 0, 0.12, 0.1], np.float32)
_WATER = np.array(
    [0.12, 0.09, 0.055, 0.033, 0.028, 0.022, 0.019, 0.016, 0.011, 0.006, 0.001, 0.003, 0.002], np.float32
)
_TURBID = np.array([0.04, 0.06, 0.1, 0.08, 0.07, 0.04, 0.04, 0.03, 0.025, 0.02, 0, 0.006, 0.004], np.float32)
_SAND = np.array([0.19, 0.2, 0.25, 0.3, 0.32, 0.34, 0.35, 0.36, 0.39, 0.14, 0.001, 0.44, 0.39], np.float32)

_SCALES = np.geomspace(1.2, 64, 16)  # cells
_BANK = 448  # side of a precomputed field, in cells


class Noise:
    """Smooth random fields, cropped from fields that are computed once because computing one is slow."""

    def __init__(self) -> None:
        rng = np.random.default_rng(20)
        self._fields = [
            ndimage.gaussian_filter(rng.standard_normal((_BANK, _BANK), np.float32), scale, mode="wrap")
            for scale in _SCALES
        ]

    def draw(self, rng: np.random.Generator, side: int, low: float, high: float) -> Array:
        """Draw a smooth field.

        Args:
            rng: Source of randomness.
            side: Rows and columns in cells.
            low: Smallest size of structures in cells, and
            high: the largest; the size is drawn between them.

        Returns:
            Field (side, side) of mean 0 and std 1.
        """
        scale = np.exp(rng.uniform(np.log(low), np.log(high)))
        field = self._fields[int(np.abs(np.log(_SCALES / scale)).argmin())]
        top, left = (int(n) for n in rng.integers(_BANK - side + 1, size=2))
        found = dihedral(field[top : top + side, left : left + side], int(rng.integers(8)))
        return np.asarray((found - found.mean()) / (found.std() + 1e-6), np.float32)


def spectrum(values: Array, rng: np.random.Generator, deviation: float) -> Array:
    """Vary a spectrum at random.

    Args:
        values: Reflectance, or a factor, per band (13,).
        rng: Source of randomness.
        deviation: Std of the logarithm of each band.

    Returns:
        The spectrum (13, 1, 1).
    """
    return np.asarray(values.reshape(-1, 1, 1) * jitter(rng, deviation), np.float32)


def jitter(rng: np.random.Generator, deviation: float) -> Array:
    """Draw factors near 1.

    Args:
        rng: Source of randomness.
        deviation: Std of the logarithm of each band.

    Returns:
        Factors (13, 1, 1).
    """
    factors: Array = np.exp(deviation * rng.standard_normal((len(BANDS), 1, 1), np.float32))
    return factors


def varied(x: Array, noise: Noise, rng: np.random.Generator) -> Array:
    """Vary the ground of a clear image at random, or not at all; it stays clear.

    Args:
        x: Reflectance (13, h, w).
        noise: Random fields.
        rng: Source of randomness.

    Returns:
        Reflectance (13, h, w).
    """
    if rng.random() < 0.25:
        x = with_relief(x, noise, rng)
    kind = rng.random()
    if kind < 0.15:
        x = as_desert(x, noise, rng)
    elif kind < 0.31:
        x = with_snow(x, noise, rng)
    if rng.random() < 0.25:
        x = with_water(x, noise, rng)
    if rng.random() < 0.3:
        x = with_roofs(x, rng)
    if rng.random() < 0.3:
        x = with_dark_ground(x, noise, rng)
    return x


def with_relief(x: Array, noise: Noise, rng: np.random.Generator) -> Array:
    """Add slopes with more and less light; path radiance does not change.

    Args:
        x: Clear ground, reflectance (13, side, side), in cells of 20 m.
        noise: Random fields.
        rng: Random numbers.

    Returns:
        The ground with slopes, of the same shape.
    """
    light = 1 + np.float32(rng.uniform(0.05, 0.3)) * noise.draw(rng, x.shape[1], 2, 14)
    air = np.minimum(x, AIR * np.float32(rng.uniform(0.5, 1)))
    return np.asarray(air + (x - air) * np.clip(light, 0.35, 1.6), np.float32)


def with_dark_ground(x: Array, noise: Noise, rng: np.random.Generator) -> Array:
    """Add patches of darker ground with sharp edges: burnt, wet or wooded.

    They may be darker in any part of the spectrum, unlike shadows, which keep some blue light from the sky.

    Args:
        x: Clear ground, as for `with_relief`.
        noise: Random fields.
        rng: Random numbers.

    Returns:
        The ground with patches.
    """
    level = noise.draw(rng, x.shape[1], 2, 30)
    edge = np.quantile(level[::4, ::4], rng.uniform(0.5, 0.97))
    share = np.clip((level - edge) * rng.uniform(3, 20), 0, 1).astype(np.float32)
    tilt = (MICROMETRES / 0.8).astype(np.float32) ** np.float32(rng.uniform(-0.3, 0.6))
    kept = np.clip(spectrum(tilt, rng, 0.12) * np.float32(rng.uniform(0.3, 0.8)), 0.1, 1)
    # Path radiance does not change.
    air = np.minimum(x, AIR * np.float32(rng.uniform(0, 1)))
    return np.asarray(x - share * (x - air) * (1 - kept), np.float32)


def as_desert(x: Array, noise: Noise, rng: np.random.Generator) -> Array:
    """Turn the ground into sand of random brightness; the structures of the image remain.

    Args:
        x: Clear ground, as for `with_relief`.
        noise: Random fields.
        rng: Random numbers.

    Returns:
        The sand.
    """
    mean = x.mean(axis=(1, 2), keepdims=True)
    sand = spectrum(_SAND, rng, 0.07) * np.float32(rng.uniform(0.6, 1.9))
    dunes = 1 + np.float32(rng.uniform(0, 0.12)) * noise.draw(rng, x.shape[1], 2, 10)
    contrast = np.clip(sand / (mean + 0.02), 0.3, 2) * np.float32(rng.uniform(0.2, 1))
    y = np.maximum(sand * dunes + (x - mean) * contrast, 0)
    y[B10] = x[B10]
    return np.asarray(y, np.float32)


def with_snow(x: Array, noise: Noise, rng: np.random.Generator) -> Array:
    """Add old or fresh snow on slopes, over part of the image or all; snow at altitude shows in B10.

    Args:
        x: Clear ground, as for `with_relief`.
        noise: Random fields.
        rng: Random numbers.

    Returns:
        The ground with snow.
    """
    side = x.shape[1]
    level = noise.draw(rng, side, 4, 60) + 0.3 * noise.draw(rng, side, 1.5, 12)
    share = np.clip((level - rng.normal()) * rng.uniform(1, 6), 0, 1) * rng.uniform(0.5, 1)
    snow = spectrum(_SNOW, rng, 0.04) * np.float32(rng.uniform(0.35, 1.05))
    snow[B10] = rng.uniform(0.001, 0.004) if rng.random() < 0.5 else rng.uniform(0.003, 0.014)
    snow[SHORTWAVE] *= rng.uniform(0.4, 2.2)
    # Always with slopes: a bright surface without any texture is a cloud.
    light = np.float32(rng.uniform(0.05, 0.35)) * noise.draw(rng, side, 2, 12)
    snow = snow * np.clip(1 + light, 0.12, 1.5)
    texture = np.clip(x[3] / (x[3].mean() + 1e-3), 0.3, 2) ** rng.uniform(0, 0.4)
    snow = snow * texture.astype(np.float32)
    if rng.random() < 0.5:
        snow = snow + AIR * np.float32(0.5)
    return np.asarray(x + share.astype(np.float32) * (snow - x), np.float32)


def with_water(x: Array, noise: Noise, rng: np.random.Generator) -> Array:
    """Add water up to a random shore: dark or turbid, calm, with waves or with sun glint.

    Args:
        x: Clear ground, as for `with_relief`.
        noise: Random fields.
        rng: Random numbers.

    Returns:
        The ground with water.
    """
    side = x.shape[1]
    level = noise.draw(rng, side, 4, 50)
    shore = np.quantile(level[::4, ::4], rng.uniform(0, 0.8))
    share = np.clip((shore - level) * rng.uniform(3, 20), 0, 1).astype(np.float32)
    water = spectrum(_WATER, rng, 0.05) * np.float32(rng.uniform(0.3, 1.1))
    turbid = spectrum(_TURBID, rng, 0.15)
    if rng.random() < 0.4:
        water = water + turbid * np.float32(rng.uniform(0, 1.6))
    if rng.random() < 0.35:
        waves = 1 + 0.3 * rng.standard_normal((1, side, side), np.float32)
        water = water + waves * np.float32(rng.uniform(0, 0.06)) * jitter(rng, 0.05)
    if rng.random() < 0.3:
        water = water + turbid * np.float32(0.6) * np.clip(noise.draw(rng, side, 3, 20), 0, 2)
    water[B10] = 0.001
    return np.asarray(x + share * (water - x), np.float32)


def with_roofs(x: Array, rng: np.random.Generator) -> Array:
    """Add bright rectangles: many small roofs, or a few large greenhouses and salt pans.

    Args:
        x: Clear ground, as for `with_relief`.
        rng: Random numbers.

    Returns:
        The ground with roofs.
    """
    x, side, large = x.copy(), x.shape[1], rng.random() < 0.3
    colour = rng.uniform(0.7, 1.15, len(BANDS)) if rng.random() < 0.5 else np.ones(len(BANDS))
    colour[B09] *= 0.4
    for _ in range(int(rng.integers(1, 6) if large else rng.integers(8, 90))):
        rows, columns = rng.integers(8, 40, 2) if large else rng.integers(1, 7, 2)
        top, left = rng.integers(side, size=2)
        roof = spectrum(colour.astype(np.float32), rng, 0.06) * np.float32(rng.uniform(0.2, 0.95))
        roof[B10] = 0.001
        roof[SHORTWAVE] *= rng.uniform(0.5, 1.1)
        part = x[:, top : top + rows, left : left + columns]
        grain = np.float32(0.05) * rng.standard_normal(part.shape[1:], np.float32)
        part[:] = roof * (1 + grain)
    return np.asarray(np.maximum(x, 0), np.float32)


def haze(exponent: float) -> Array:
    """Make the spectrum of haze.

    Args:
        exponent: The haze falls with the wavelength to the power of minus this (Angstrom's law).

    Returns:
        Spectrum (13, 1, 1), 1 in B02.
    """
    return np.asarray((MICROMETRES / 0.49) ** -exponent, np.float32)[:, None, None]
