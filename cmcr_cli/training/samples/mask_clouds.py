"""Clouds and shadows with exact masks, to be added to clear ground for the cloud network.

There are real clouds of pairs, procedural skies, decks without texture, thin cirrus and haze. All arrays are
float32 in cells of 20 m; images are reflectance (13, h, w).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.ground import cirrus
from cmcr_cli.ground.pyramid import block_mean
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.simulate.clouds import SHADOWED, simulate_sky
from cmcr_cli.simulate.noise import Window
from cmcr_cli.simulate.palette import draw_recipe
from cmcr_cli.training.data.images import Pair
from cmcr_cli.training.samples.mask_ground import (
    AIR,
    B09,
    B10,
    SHORTWAVE,
    Array,
    Noise,
    haze,
    jitter,
    spectrum,
)
from cmcr_cli.training.samples.synthesis import CRYSTALS, DROPS, SHADE, cloud_layer, dihedral

CELL_METRES = 20

SKIES, SKY_SIDE = 400, 240
"""Number of procedural skies, and their side in cells. They are cached because generating one is slow."""

KEPT = 64
"""Clouds of pairs that are cached."""

# Share of the light that a full shadow removes; diffuse light from the sky remains, mostly in the blue.
_SHADE = np.array([0.35, 0.4, 0.55, 0.65, 0.68, 0.72, 0.74, 0.78, 0.8, 0.8, 0, 0.85, 0.88], np.float32)[
    :, None, None
]


@dataclass(frozen=True, slots=True)
class CloudLayer:
    """A layer of clouds: cloudy = gain * ground + light, and the shadow that it casts.

    Attributes:
        light: Reflectance added by the clouds (13, h, w).
        gain: Share of the ground's light that passes, (13, h, w) or (1, h, w).
        opacity: Opacity, 0 to 1, (h, w).
        shadow: Darkness of the shadow, 0 to 1, (h, w).
        sun: Position of the sun (4,), see `model.cloud_network.CloudNetwork`.
    """

    light: Array
    gain: Array
    opacity: Array
    shadow: Array
    sun: Array


class Clouds:
    """Draws layers of clouds of `side` x `side` cells."""

    def __init__(self, pairs: Sequence[Pair], noise: Noise) -> None:
        """Draw clouds from pairs and random fields.

        Args:
            pairs: Pairs from which real clouds are extracted; may be empty.
            noise: Random fields.
        """
        self._pairs = pairs
        self._layers: dict[int, tuple[Array, Array]] = {}
        self._skies: dict[int, CloudLayer] = {}
        self._noise = noise

    def real(self, side: int, rng: np.random.Generator, sun: Array | None = None) -> CloudLayer:
        """Draw a real cloud with its shadow; without pairs, a procedural one.

        Args:
            side: Side in cells.
            rng: Source of randomness.
            sun: Position of the sun (4,); None: random.

        Returns:
            The layer, `side` x `side` cells.
        """
        if not self._pairs:
            return self.procedural(side, rng)
        opacity, light = self._layer(int(rng.integers(len(self._pairs))))
        both = dihedral(np.concatenate([opacity[None], light]), int(rng.integers(8)))
        if rng.random() < 0.4:
            both = block_mean(both)  # halves the size: the pairs have few small clouds
        both = fitted(both, side, rng)
        if rng.random() < 0.4:
            # Keep some of the clouds only, so that there are samples with single small clouds.
            kept = (self._noise.draw(rng, side, 4, 30) - np.float32(rng.uniform(0, 1.5))) * 4
            both *= np.clip(kept, 0, 1)
        opacity, light = both[0], both[1:]
        shadow, sun = _cast(opacity, rng, sun)
        # Fainter clouds are noise.
        light = light * np.clip(opacity / 0.06, 0, 1)
        return CloudLayer(light, (1 - opacity * np.clip(opacity / 0.06, 0, 1))[None], opacity, shadow, sun)

    def _layer(self, index: int) -> tuple[Array, Array]:
        """Opacity (h, w) and light (13, h, w) of the cloud of a pair; cached."""
        if index not in self._layers:
            if len(self._layers) == KEPT:
                del self._layers[next(iter(self._layers))]
            pair = self._pairs[index]
            opacity, light = cloud_layer(pair.cloudy, pair.clear, pair.opacity)
            self._layers[index] = block_mean(opacity), block_mean(light)
        return self._layers[index]

    def procedural(self, side: int, rng: np.random.Generator) -> CloudLayer:
        """Draw a part of a procedural sky, rotated together with its sun.

        Args:
            side: Side in cells.
            rng: Source of randomness.

        Returns:
            The layer, `side` x `side` cells.
        """
        index, turn = int(rng.integers(SKIES)), int(rng.integers(8))
        if index not in self._skies:
            self._skies[index] = _sky(index)
        sky = self._skies[index]
        top, left = (int(n) for n in rng.integers(SKY_SIDE - side + 1, size=2))

        def cropped(array: Array) -> Array:
            return np.asarray(dihedral(array, turn)[..., top : top + side, left : left + side], np.float32)

        sun = np.array([1, *turned(sky.sun[1], sky.sun[2], turn), sky.sun[3]], np.float32)
        light, gain, opacity, shadow = map(cropped, (sky.light, sky.gain, sky.opacity, sky.shadow))
        return CloudLayer(light, gain, opacity, shadow, sun)

    def deck(self, side: int, rng: np.random.Generator) -> CloudLayer:
        """Draw a deck of droplets or ice with hardly any texture, dark or bright, over all or part.

        Args:
            side: Side in cells.
            rng: Source of randomness.

        Returns:
            The layer, `side` x `side` cells, without a shadow.
        """
        edge = self._noise.draw(rng, side, 8, 64) + np.float32(rng.normal(0, 1.5))
        most = 1.0 if rng.random() < 0.5 else rng.uniform(0.3, 1)
        opacity = np.clip(edge * np.float32(rng.uniform(1, 8)), 0, 1) * np.float32(most)
        ice = np.float32(rng.choice([0, 1, rng.random()]))
        colour = spectrum(ice * CRYSTALS + (1 - ice) * DROPS, rng, 0.03)
        colour *= np.float32(rng.uniform(0.22, 0.95))
        # Large crystals are as dark as snow in the shortwave infrared; B10 depends on their height.
        colour[SHORTWAVE] *= 1 - ice * rng.uniform(0, 0.75)
        colour[B10] = 0.001 + ice * rng.uniform(0.01, 0.35)
        colour[B09] = colour[B09 - 1] * rng.uniform(0.2, 0.85)
        fine, coarse = self._noise.draw(rng, side, 1.5, 30), self._noise.draw(rng, side, 20, 64)
        texture = 1 + np.float32(rng.uniform(0, 0.04)) * fine + np.float32(rng.uniform(0, 0.1)) * coarse
        shadow, sun = np.zeros_like(opacity), np.zeros(4, np.float32)
        return CloudLayer(colour * texture * opacity, (1 - opacity)[None], opacity, shadow, sun)

    def haze(self, side: int, rng: np.random.Generator) -> tuple[CloudLayer, Array, bool]:
        """Draw thin cirrus or haze.

        Args:
            side: Side in cells.
            rng: Source of randomness.

        Returns:
            The layer, the reflectance that it adds to the visible bands (h, w), and whether it is cirrus.
        """
        high, relief = rng.random() < 0.7, self._noise.draw(rng, side, 4, 60)
        everywhere = rng.random() < 0.5
        shape = 1 + np.float32(rng.uniform(0, 0.4)) * relief if everywhere else relief + rng.uniform(-1, 1)
        amount = np.clip(shape, 0, 3).astype(np.float32) * np.float32(0.2 * rng.uniform(0.1, 1) ** 2)
        if high:
            colour = spectrum(cirrus.SPECTRUM, rng, 0.05)
            colour[B10] = np.exp(rng.normal(0, 0.25)) / cirrus.TYPICAL_RATIO
        else:
            colour = haze(rng.uniform(0.7, 1.8))
            colour[B09], colour[B10] = 0.3 * colour[B09], 0
        light = amount * colour
        gain = np.clip(1 - light / cirrus.WHITE, 0.1, 1)
        opacity, nothing = np.clip(light[1] / cirrus.WHITE, 0, 0.9), np.zeros_like(amount)
        return CloudLayer(light, gain, opacity, nothing, np.zeros(4, np.float32)), light[1], high


def in_shadow(x: Array, shadow: Array, rng: np.random.Generator, *, level2: bool) -> Array:
    """Darken an image by a shadow: direct light is removed, path radiance above the ground stays.

    Args:
        x: Reflectance (13, h, w).
        shadow: Darkness of the shadow, 0 to 1, (h, w).
        rng: Source of randomness.
        level2: Whether the image is Level-2A, which has no path radiance.

    Returns:
        Reflectance (13, h, w).
    """
    # Light that surrounding clouds scatter into a shadow is grey, not blue.
    grey = np.float32(max(rng.uniform(-1, 1), 0))
    most = (_SHADE + grey * (SHADE[:, None, None] - _SHADE)) * jitter(rng, 0.06)
    most *= np.float32(1.12 if level2 else 1)
    lit = 1 - shadow * np.clip(most, 0, 0.97)
    if level2:
        return np.asarray(x * lit, np.float32)
    dark = np.quantile(x.reshape(len(BANDS), -1)[:, ::7], 0.02, axis=1)[:, None, None]
    share = np.float32(rng.uniform(0.6, 1)) * (1 - grey)
    path = np.minimum(x, np.minimum(dark, AIR * 1.2).astype(np.float32) * share)
    return np.asarray(path + (x - path) * lit, np.float32)


def is_like_snow(layer: CloudLayer) -> NDArray[np.bool_]:
    """Find where clouds cannot be told from snow by their colour.

    Args:
        layer: The clouds.

    Returns:
        Cells (h, w) where the layer is thick and as dark in the shortwave infrared as snow (NDSI above 0.3).
    """
    green, shortwave = layer.light[BANDS.index("B03")], layer.light[BANDS.index("B11")]
    return np.asarray((layer.opacity > 0.3) & (green - shortwave > 0.3 * (green + shortwave)))


def fitted(array: NDArray[np.generic], side: int, rng: np.random.Generator) -> Array:
    """Crop a random part of an array.

    Args:
        array: Of shape (..., h, w); one that is too small is mirrored at its end.
        side: Rows and columns of the part.
        rng: Source of randomness.

    Returns:
        The part (..., side, side).
    """
    rows, columns = (max(side - size, 0) for size in array.shape[-2:])
    if rows or columns:
        pad = [(0, 0)] * (array.ndim - 2) + [(0, rows), (0, columns)]
        array = np.pad(array, pad, mode="symmetric")
    top, left = (int(rng.integers(size - side + 1)) for size in array.shape[-2:])
    return np.array(array[..., top : top + side, left : left + side], np.float32)


def random_sun(rng: np.random.Generator) -> Array:
    """Draw a position of the sun.

    Args:
        rng: Source of randomness.

    Returns:
        Position (4,), see `model.cloud_network.CloudNetwork`.
    """
    azimuth, slope = rng.uniform(0, 2 * np.pi), np.tan(np.radians(rng.uniform(18, 72)))
    return np.array([1, np.cos(azimuth), np.sin(azimuth), slope], np.float32)


def turned(row: float, column: float, turn: int) -> tuple[float, float]:
    """Turn a direction as `dihedral` turns an image.

    Args:
        row: Its part downwards.
        column: Its part to the right.
        turn: Which flip or rotation, 0 to 7.

    Returns:
        Row and column of the direction in the turned image.
    """
    for _ in range(turn % 4):
        row, column = -column, row
    return row, -column if turn >= 4 else column


def _cast(opacity: Array, rng: np.random.Generator, sun: Array | None) -> tuple[Array, Array]:
    """Shadow (h, w) of clouds at a random height, and the sun (4,), given or random."""
    sun = random_sun(rng) if sun is None else sun
    height = np.exp(rng.uniform(np.log(250), np.log(5000)))
    cells = float(min(height * sun[3] / CELL_METRES, 0.8 * len(opacity)))
    # The mirrored mode adds shadows of clouds outside the image.
    edge = "reflect" if rng.random() < 0.4 else "constant"
    moved = ndimage.shift(opacity, (-cells * sun[1], -cells * sun[2]), order=1, mode=edge)
    moved = ndimage.gaussian_filter(moved, rng.uniform(0.5, 1.5 + cells / 60), truncate=3)
    shadow = np.clip(moved * rng.uniform(0.5, 1.3), 0, 1) * rng.uniform(0.35, 1)
    return shadow.astype(np.float32), sun


def _sky(index: int) -> CloudLayer:
    """Generate procedural sky `index`: half are fair, some crowded, some overcast."""
    rng = np.random.default_rng([7, index])
    ranges = [(0.05, 0.5)] * 11 + [(0.3, 0.8)] * 6 + [(0.8, 1.0)] * 3
    seed, cover = 100_000 + index, float(rng.uniform(*ranges[int(rng.integers(len(ranges)))]))
    sky = simulate_sky(seed, cover, Window(0, 0, 2 * SKY_SIDE, 2 * SKY_SIDE))
    recipe = draw_recipe(seed)
    towards = -np.cos(recipe.sun_azimuth), np.sin(recipe.sun_azimuth)
    # Gain of the cloud without its shadow on the ground, which is applied separately each time.
    lit = np.maximum(1 - SHADOWED[:, None, None] * sky.shadow, 0.05)
    passed = block_mean(np.minimum(sky.gain / lit, 1))  # bands of 60 m and the shadow do not align exactly
    sun = np.array([1, *towards, np.tan(recipe.sun_zenith)], np.float32)
    half = np.float16  # all skies take 1.3 GB
    return CloudLayer(
        light=block_mean(sky.added).astype(half),
        gain=passed.astype(half),
        opacity=block_mean(sky.opacity).astype(half),
        shadow=block_mean(sky.shadow).astype(half),
        sun=sun,
    )
