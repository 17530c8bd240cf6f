"""Synthetic clouds, radar and masks for training; the ground below the clouds is known exactly."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.ground import cirrus
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.radiometry import RADAR_FLOOR_DB
from cmcr_cli.simulate.clouds import Sky, simulate_sky
from cmcr_cli.simulate.noise import Window
from cmcr_cli.training.data.images import Array, Pair

_SWIR = BANDS.index("B11")

SHADE = np.array([0.75, 0.8, 0.85, 0.9, 0.95, 1, 1, 1, 1, 1, 0.3, 1.05, 1.05], dtype=np.float32)
"""Factor on the darkness of a shadow per band; light from the blue sky remains in the blue bands."""


KEPT = 40
"""Clouds of pairs and procedural skies that each process caches, because making one is slow."""

SKIES, SKY_SIDE = 40, 448
"""Number of procedural skies, and their side in pixels."""

DROPS = np.array([0.98, 1, 0.96, 1.03, 1.04, 1.05, 1.06, 1.04, 1.08, 0.3, 0, 0.8, 0.66], dtype=np.float32)
CRYSTALS = np.array([1, 1, 1, 1, 1, 1, 0.97, 0.97, 0.94, 0.6, 0, 0.75, 0.6], dtype=np.float32)
"""Spectra of thick clouds of droplets and of ice."""

MICROMETRES = np.array([443, 490, 560, 665, 705, 740, 783, 842, 865, 945, 1375, 1610, 2190]) / 1000
_DRY = np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 0.3, 0, 1, 1])
"""Factor on haze per band: water vapour above it absorbs its light in B09 and B10."""


def dihedral(array: NDArray[np.generic], turn: int) -> NDArray[np.generic]:
    """Flip or rotate an image.

    Args:
        array: Of shape (..., H, W).
        turn: Which of the eight flips and rotations, 0 to 7; from 4 on it is mirrored.

    Returns:
        The image, H and W exchanged where it is turned by 90 degrees.
    """
    turned = np.rot90(array, turn % 4, axes=(-2, -1))
    return turned[..., ::-1] if turn >= 4 else turned


def transplant(clear: Array, pair: Pair, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Add the real cloud of a pair to a clear image, with a geometrically consistent shadow.

    With opacity a, the pixel of a pair is (1 - a) ground + light of the cloud. This light is added to the
    clear image. Thin parts of it are smoothed: there, the two dates of the pair differ by more than the
    cloud, and structures of the other place would be visible.

    Args:
        clear: Reflectance (13, H, W).
        pair: Pair with cloud.
        rng: Source of randomness.

    Returns:
        Cloudy reflectance (13, H, W); opacity and darkness of the shadow, 0 to 1, each (H, W).
    """
    turn = int(rng.integers(8))
    alpha, layer = (_fitted(dihedral(part, turn), clear.shape[1:]) for part in _layer_of(pair))
    shadow = _cast_shadow(alpha, rng)
    lit = clear * (1 - shadow * SHADE[:, None, None])
    blend = np.clip(alpha / 0.06, 0, 1)  # fainter clouds are noise
    cloudy = lit + blend * (layer - alpha * lit)
    return np.maximum(cloudy, 0).astype(np.float32), alpha, shadow


@lru_cache(KEPT)
def _layer_of(pair: Pair) -> tuple[Array, Array]:
    return cloud_layer(pair.cloudy, pair.clear, pair.opacity)


def cloud_layer(cloudy: Array, clear: Array, opacity: Array) -> tuple[Array, Array]:
    """Extract the cloud of a pair: cloudy = (1 - opacity) clear + light.

    Args:
        cloudy: Reflectance (13, H, W).
        clear: Reflectance (13, H, W).
        opacity: Opacity, 0 to 1, (H, W).

    Returns:
        Opacity (H, W) and light (13, H, W), smoothed where the cloud is thin.
    """
    thick = ndimage.gaussian_filter(np.clip((opacity - 0.35) / 0.3, 0, 1), 1.5)
    alpha = _mixed(opacity, thick)
    return alpha, _mixed(cloudy - (1 - alpha) * clear, thick)


def recoloured(clear: Array, rng: np.random.Generator) -> Array:
    """Vary level and contrast of each band of clear ground at random.

    Otherwise the network would memorise places. It should read the relation of radar and colour from the
    clear part of the scene.

    Args:
        clear: Reflectance (13, H, W).
        rng: Random numbers.

    Returns:
        The ground in other colours.
    """
    mean = clear.mean(axis=(1, 2), keepdims=True)
    shared, own = rng.normal(0, 0.08, (2, 1)), rng.normal(0, 0.08, (2, len(clear)))
    level, contrast = np.exp(shared + own * [[0.6], [1.5]])[:, :, None, None]
    return np.asarray(np.maximum(mean * level + (clear - mean) * contrast, 0), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Haze:
    """A layer of thin cirrus or haze.

    Attributes:
        kept: Share of the ground's reflectance that passes (13, H, W).
        added: Reflectance of the layer (13, H, W).
        share: Share of the ground's light that is removed (H, W).
        high: Whether it is cirrus.
    """

    kept: Array
    added: Array
    share: Array
    high: bool

    def over(self, image: Array) -> Array:
        """Lay the layer over an image.

        Args:
            image: Reflectance (13, H, W).

        Returns:
            The image under the layer.
        """
        return np.asarray(image * self.kept + self.added, np.float32)


def draw_haze(shape: tuple[int, ...], rng: np.random.Generator) -> Haze:
    """Draw thin cirrus or haze, over all of an image or part of it.

    Cirrus has the spectrum of `ground.cirrus`, including B10. Haze is not visible in B10 and decreases with
    the wavelength to a power of about -1.3.

    Args:
        shape: Rows and columns of the image.
        rng: Source of randomness.

    Returns:
        The layer.
    """
    high = rng.random() < 0.7
    if high:
        spectrum = cirrus.SPECTRUM * rng.normal(1, np.where(cirrus.SPECTRUM == 1, 0.05, 0.15))
        spectrum[cirrus.B10] = np.exp(rng.normal(0, 0.25)) / cirrus.TYPICAL_RATIO
    else:
        spectrum = (MICROMETRES / 0.49) ** -rng.uniform(0.7, 1.8) * _DRY
    relief = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(4, 60, 2), mode="reflect")
    relief /= relief.std() + 1e-9
    relief = 1 + rng.uniform(0, 0.4) * relief if rng.random() < 0.6 else relief + rng.uniform(-1, 1)
    amount = np.clip(relief, 0, 3) * 0.2 * rng.uniform(0.1, 1) ** 2
    added = amount * np.maximum(spectrum, 0)[:, None, None]
    share = np.clip(added[1] / cirrus.WHITE, 0, 0.9)
    kept = np.clip(1 - added / cirrus.WHITE, 0.1, 1)
    return Haze(kept.astype(np.float32), added.astype(np.float32), share.astype(np.float32), high)


def under_sky(clear: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Add a part of a procedural sky to clear ground.

    Args:
        clear: Reflectance (13, H, W).
        rng: Random numbers.

    Returns:
        The same as `transplant`.
    """
    sky, turn = _sky(int(rng.integers(SKIES))), int(rng.integers(8))
    height, width = clear.shape[1:]
    rows, cols = max(height, SKY_SIDE), max(width, SKY_SIDE)
    top, left = int(rng.integers(rows - height + 1)), int(rng.integers(cols - width + 1))

    def cropped(array: NDArray[np.generic]) -> Array:
        return _fitted(dihedral(array, turn)[..., top:, left:], clear.shape[1:])

    return clear * cropped(sky.gain) + cropped(sky.added), cropped(sky.opacity), cropped(sky.shadow)


@lru_cache(KEPT)
def _sky(index: int) -> Sky:
    """Generate procedural sky `index`, in half precision."""
    cover = float(np.random.default_rng([8, index]).uniform(0.1, 0.8))
    sky = simulate_sky(200_000 + index, cover, Window(0, 0, SKY_SIDE, SKY_SIDE))
    return Sky(*(getattr(sky, f.name).astype(np.float16) for f in fields(Sky)))


def under_deck(clear: Array, rng: np.random.Generator, gaps: float) -> tuple[Array, Array, Array]:
    """Add a cloud deck to clear ground.

    The deck consists of droplets or ice, is dark or bright, and has hardly any texture. It is opaque or lets
    some light of the ground pass.

    Args:
        clear: Reflectance (13, H, W).
        rng: Source of randomness.
        gaps: Share of the ground that stays clear, 0 to 1.

    Returns:
        The same as `transplant`; the shadow is below the deck and therefore zero.
    """
    shape = clear.shape[1:]
    relief = _noise(shape, rng.uniform(3, 40), rng)
    edge = np.clip((relief - np.quantile(relief, gaps)) * rng.uniform(2, 12), 0, 1) if gaps else 1.0
    most = 1.0 if rng.random() < 0.4 else rng.uniform(0.6, 1)
    thin = rng.uniform(0, 0.3) * (rng.random() < 0.5)
    opacity = np.clip(edge * most * (1 - thin * np.clip(_noise(shape, rng.uniform(4, 40), rng), 0, 3)), 0, 1)
    ice = np.clip(rng.uniform(-0.5, 1.5), 0, 1)
    colour = (ice * CRYSTALS + (1 - ice) * DROPS) * np.exp(rng.normal(0, 0.03, len(clear)))
    colour *= rng.uniform(0.3, 0.95)
    # Large crystals are as dark as snow in the shortwave infrared; B10 depends on their height.
    colour[_SWIR:] *= 1 - ice * rng.uniform(0, 0.7)
    colour[cirrus.B10] = 0.001 + ice * rng.uniform(0.01, 0.3)
    colour[cirrus.B10 - 1] = colour[cirrus.B10 - 2] * rng.uniform(0.2, 0.85)
    texture = 1 + rng.uniform(0, 0.04) * _noise(shape, 1, rng) + rng.uniform(0, 0.1) * _noise(shape, 20, rng)
    cloudy = clear * (1 - opacity) + colour[:, None, None] * np.maximum(texture, 0.5) * opacity
    return cloudy.astype(np.float32), opacity.astype(np.float32), np.zeros(shape, np.float32)


def _noise(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> Array:
    """Smooth random field (H, W) of std 1; coarse fields are drawn small and upsampled."""
    factor = max(int(scale / 3), 1)
    small = tuple(-(-size // factor) + 2 for size in shape)
    field = ndimage.gaussian_filter(rng.standard_normal(small, np.float32), scale / factor, mode="wrap")
    if factor > 1:
        field = ndimage.zoom(field, factor, order=1)
    field = field[: shape[0], : shape[1]]
    return np.asarray((field - field.mean()) / (field.std() + 1e-9), dtype=np.float32)


def _mixed(image: Array, sharp: Array) -> Array:
    """Smooth an image (..., H, W) where `sharp` (H, W) is 0, and keep it where it is 1."""
    smooth = ndimage.gaussian_filter(image, (*[0] * (image.ndim - 2), 3, 3), mode="nearest", truncate=3)
    return np.asarray(smooth + sharp * (image - smooth), dtype=np.float32)


def _cast_shadow(alpha: Array, rng: np.random.Generator) -> Array:
    """Darkness of a shadow, 0 to 0.9: the opacity, shifted along a random sun azimuth and blurred."""
    azimuth, reach = rng.uniform(0, 2 * np.pi), rng.uniform(8, 90)
    shift = (reach * np.sin(azimuth), reach * np.cos(azimuth))
    moved = ndimage.shift(alpha, shift, order=1, mode="reflect")
    soft = ndimage.gaussian_filter(moved, 1 + reach / 40)
    return np.asarray(rng.uniform(0.3, 0.9) * np.clip(soft, 0, 1), dtype=np.float32)


def _fitted(array: NDArray[np.generic], shape: tuple[int, ...]) -> Array:
    """Crop the last two axes to `shape`, or pad them by reflection."""
    rows, cols = (max(want - have, 0) for want, have in zip(shape, array.shape[-2:], strict=True))
    pad = [(0, 0)] * (array.ndim - 2) + [(0, rows), (0, cols)]
    grown = np.pad(array, pad, mode="symmetric") if rows or cols else array
    return np.asarray(grown[..., : shape[0], : shape[1]], dtype=np.float32)


def flooded(clear: Array, radar: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Replace a part of the ground, up to a random shore, by open water.

    Few training places are at the sea, and cloud shadow is most easily confused with water. The colour is
    close to that of the darkest ground, which contains the path radiance of the image.

    Args:
        clear: Reflectance (13, H, W).
        radar: VV and VH in dB (2, H, W).
        rng: Source of randomness.

    Returns:
        Reflectance and radar, same shapes.
    """
    shape = clear.shape[1:]
    relief = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(6, 40), mode="wrap")
    slope = np.add.outer(
        np.linspace(-1, 1, shape[0]) * rng.normal(), np.linspace(-1, 1, shape[1]) * rng.normal()
    )
    level = relief / (relief.std() + 1e-9) * 0.4 + slope
    shore = np.clip((np.quantile(level, rng.uniform(0.2, 0.95)) - level) * rng.uniform(8, 40), 0, 1)
    ripples = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(0.5, 3)) * rng.uniform(0, 0.004)
    colour = (
        np.quantile(clear, 0.01, axis=(1, 2)) * rng.uniform(0.7, 1.2) * rng.uniform(0.92, 1.08, len(clear))
    )
    water = np.maximum(colour[:, None, None] + ripples, 0)
    looks, level_db = rng.uniform(3, 6), rng.normal([-19.0, -26.5], [3.0, 2.0])
    backscatter = level_db[:, None, None] + 10 * np.log10(rng.gamma(looks, 1 / looks, radar.shape) + 1e-6)
    mixed = clear + shore * (water - clear), radar + (shore > 0.5) * (backscatter - radar)
    return mixed[0].astype(np.float32), mixed[1].astype(np.float32)


def pseudo_radar(clear: Array, present: NDArray[np.bool_], rng: np.random.Generator) -> Array:
    """Draw pseudo-radar: a random monotone mixture of bands and texture, with speckle.

    It shares the boundaries of the ground, but its relation to colour differs in each sample. So the network
    cannot memorise the relation and must read it from the clear part of the scene.

    Args:
        clear: Reflectance (13, H, W).
        present: Bands that the image has (13,).
        rng: Source of randomness.

    Returns:
        VV and VH in dB (2, H, W).
    """
    bands = np.flatnonzero(present)
    standard = clear[bands] - clear[bands].mean(axis=(1, 2), keepdims=True)
    standard /= standard.std(axis=(1, 2), keepdims=True) + 1e-3
    energy = ndimage.uniform_filter(standard[rng.integers(len(bands))] ** 2, 7)
    texture = np.sqrt(np.maximum(energy, 0))  # the running sums of the filter may end slightly below zero
    base = []
    for _ in range(2):
        mix = np.tensordot(rng.normal(size=len(bands)) / np.sqrt(len(bands)), standard, axes=1)
        base.append(np.tanh(mix * rng.uniform(0.5, 1.5)) + rng.normal(0, 0.3) * texture)
    shared = rng.uniform(0.4, 0.9)
    vv, vh = base[0], shared * base[0] + (1 - shared) * base[1]
    level = rng.normal([-10.5, -17.0], [2.0, 2.0])
    db = np.stack([vv, vh]) * rng.uniform(1.5, 4.0) + level[:, None, None]
    looks = rng.uniform(3, 8)
    speckle = 10 * np.log10(rng.gamma(looks, 1 / looks, db.shape) + 1e-6)
    return np.asarray(np.clip(db + speckle, RADAR_FLOOR_DB[:, None, None] - 5, 5), dtype=np.float32)


def jittered_radar(radar: Array, rng: np.random.Generator) -> Array:
    """Vary real radar: random gain with a standard deviation of 0.7 dB, and a shift of up to 2 px.

    Args:
        radar: dB (2, H, W).
        rng: Random numbers.

    Returns:
        The radar, varied.
    """
    rows, cols = rng.integers(-2, 3, size=2) if rng.random() < 0.3 else (0, 0)
    return np.roll(radar, (rows, cols), axis=(1, 2)) + np.float32(rng.normal(0, 0.7))


def average_blocks(array: Array, factor: int = 2) -> Array:
    """Average over blocks of pixels.

    Args:
        array: Of shape (..., H, W), both multiples of `factor`.
        factor: Side of a block in pixels.

    Returns:
        Means (..., H / factor, W / factor).
    """
    height, width = array.shape[-2] // factor, array.shape[-1] // factor
    blocks = array.reshape(*array.shape[:-2], height, factor, width, factor)
    return np.asarray(blocks.mean(axis=(-3, -1)), dtype=np.float32)


def draw_faintest(rng: np.random.Generator) -> float:
    """Draw the opacity of the faintest cloud that a detector finds.

    Args:
        rng: Random numbers.

    Returns:
        Opacity, 0 to 1.
    """
    return float(rng.uniform(0.025, 0.1))


def cover_mask(
    opacity: Array, shadow: Array, rng: np.random.Generator, faintest: float | None = None
) -> NDArray[np.bool_]:
    """Simulate the mask of a cloud detector: at 20 m, dilated, without the faintest clouds.

    Args:
        opacity: Opacity of the clouds, 0 to 1, (H, W).
        shadow: Darkness of the shadows, 0 to 1, (H, W).
        rng: Source of randomness.
        faintest: Opacity below which clouds are missed; a random one by default.

    Returns:
        Covered pixels (H, W).
    """
    threshold = draw_faintest(rng) if faintest is None else faintest
    coarse = (average_blocks(opacity) > threshold) | (average_blocks(shadow) > 2 * max(threshold, 0.04))
    reach = int(rng.integers(0, 5))
    if reach:
        coarse = ndimage.binary_dilation(coarse, iterations=reach)
    return np.asarray(coarse.repeat(2, axis=0).repeat(2, axis=1))


def mistaken(
    cover: NDArray[np.bool_], opacity: Array, shadow: Array, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Add the errors of a detector to a mask: false alarms, and missed thin cloud and shadow.

    False alarms are random areas, or all ground between neighbouring clouds. Missed are areas of thin cloud,
    rarely of thicker cloud, and some or all of the shadow.

    Args:
        cover: Covered pixels (H, W).
        opacity: Opacity of the clouds, 0 to 1, (H, W).
        shadow: Darkness of the shadows, 0 to 1, (H, W).
        rng: Source of randomness.

    Returns:
        Covered pixels (H, W).
    """
    found = average_blocks(cover.astype(np.float32)) > 0
    dim, shaded = average_blocks(opacity), average_blocks(shadow) > 0.02
    shape = found.shape
    if rng.random() < 0.5:
        limit = 0.7 if rng.random() < 0.1 else 0.4
        found &= ~(_blobs(shape, rng.uniform(0, 0.5), rng) & (dim < limit))
    if rng.random() < 0.35:
        share = 1.0 if rng.random() < 0.4 else rng.uniform(0.1, 1)
        found &= ~(_blobs(shape, share, rng) & shaded & (dim < 0.1))
    if rng.random() < 0.6:
        found |= _blobs(shape, rng.uniform(0, 0.6) ** 2, rng)
    if found.any() and rng.random() < 0.35:
        between = ndimage.distance_transform_edt(~found) < rng.uniform(2, 16)
        found |= between & _blobs(shape, rng.uniform(0.3, 1), rng)
    return np.asarray(found.repeat(2, axis=0).repeat(2, axis=1))


def _blobs(shape: tuple[int, ...], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Random areas that make up a `share` of the image."""
    field = _noise(shape, rng.uniform(2, 16), rng)
    return np.asarray(field >= np.quantile(field, 1 - min(share, 1)))
