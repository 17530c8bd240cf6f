"""Simulated clouds, haze and cloud shadows over any clear image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cmcr_cli.errors import OptionError
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.simulate.noise import Field, Window, fbm, key_of, octave, octave_at
from cmcr_cli.simulate.palette import SceneRecipe, draw_recipe
from cmcr_cli.simulate.surface import BLOCK, native

CLEAR, SHADOW, CLOUD, THIN = 4, 3, 9, 10
"""Values of the mask: codes of the scene classification (SCL), which `cmcr remove --mask` reads."""

OPAQUE, FAINTEST, DARK = 0.5, 0.05, 0.25
"""Thresholds of the mask: opacity of thick cloud, opacity of thin cloud, and darkening of shadow."""

_WAVELENGTH = np.array(
    [0.443, 0.490, 0.560, 0.665, 0.705, 0.740, 0.783, 0.842, 0.865, 0.945, 1.375, 1.610, 2.190], np.float32
)  # micrometres
_WATER = np.array([0.98, 1.0, 0.96, 1.03, 1.04, 1.05, 1.06, 1.04, 1.08, 0.0, 0.0, 0.80, 0.66], np.float32)
_ICE = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.97, 0.97, 0.94, 0.0, 0.0, 0.85, 0.72], np.float32)
_SMOKE = np.array([1.0, 0.96, 0.88, 0.82, 0.80, 0.79, 0.78, 0.76, 0.75, 0.25, 0.01, 0.6, 0.5], np.float32)
# Diffuse light from the sky still reaches a shadow, mostly in the blue.
SHADOWED = np.array([0.18, 0.26, 0.40, 0.52, 0.55, 0.60, 0.63, 0.65, 0.67, 0.60, 0.0, 0.72, 0.75], np.float32)
# Times at which the bands see a point, 0 to 1: detectors that are far apart see a high cloud displaced.
_TRACK = np.array([11, 0, 2, 4, 5, 7, 8, 1, 9, 12, 3, 6, 10], np.float32) / 12

_SOFT = 1.5  # exponent of the optical depth as a function of the distance from the edge
_PARALLAX = 3.0  # pixels
_SMOOTH = 2.5
_MARGIN = 9  # pixels of margin that smoothing, gradient and parallax need


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of cloud. Values are drawn from the ranges by the seed."""

    cell: tuple[float, float]
    """Size of the largest structures, in pixels."""
    octaves: int
    gain: float
    puff: float
    """Strength of rounded bulges."""
    stretch: float
    """Length over width of the structures; above 1 they are streaks."""
    depth: tuple[float, float]
    """Optical depth where the noise is one standard deviation above the edge."""
    bright: tuple[float, float]
    """Reflectance of an infinitely thick cloud in B02."""
    height: tuple[float, float]
    """Height above ground in metres."""
    vapour: float
    """Ratio of B09 to B8A of the cloud: larger for dry air above it."""
    cirrus: float
    """Ratio of B10 to B02 of the cloud."""
    spectrum: Field
    exponent: float = 0.0
    """Exponent with which the optical depth decreases with the wavelength."""


_KINDS = {
    "cumulus": _Kind((70, 130), 7, 0.5, 0.4, 1.0, (3, 7), (0.65, 0.95), (900, 2200), 0.30, 0.001, _WATER),
    "stratus": _Kind((100, 160), 8, 0.5, 0.15, 1.0, (2.5, 6), (0.6, 0.9), (500, 1500), 0.22, 0.001, _WATER),
    "alto": _Kind((90, 200), 7, 0.55, 0.25, 1.0, (1.5, 5), (0.6, 0.85), (2800, 4500), 0.52, 0.012, _WATER),
    "cirrus": _Kind((60, 110), 7, 0.6, 0.0, 4.0, (0.3, 1.0), (0.5, 0.75), (8000, 11000), 0.75, 0.7, _ICE),
    "haze": _Kind((110, 160), 4, 0.45, 0.0, 1.0, (0.15, 0.6), (0.38, 0.5), (0, 0), 0.0, 0.0, _SMOKE, 1.3),
}

_SKIES = (
    (("cumulus",), 0.30), (("stratus",), 0.18), (("alto",), 0.12), (("cirrus",), 0.07), (("haze",), 0.06),
    (("cumulus", "haze"), 0.1), (("cumulus", "cirrus"), 0.09), (("alto", "cumulus"), 0.08),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Layer:
    """One cloud layer with all values drawn."""

    key: int
    kind: _Kind
    cell: float
    angle: float
    edge: float
    """Value of the noise at which the cloud begins."""
    depth: float
    bright: float
    height: float


@dataclass(frozen=True, slots=True)
class Sky:
    """Optical effect of the clouds of a window."""

    gain: Field
    """Factor on the clear reflectance, (13, height, width)."""
    added: Field
    """Reflectance added by the clouds, (13, height, width)."""
    opacity: Field
    """Share of the ground's light in B02 that clouds absorb or scatter, 0 to 1, (height, width)."""
    shadow: Field
    """Share of the direct sunlight that clouds block, 0 to 1, (height, width)."""

    def mask(self) -> NDArray[np.uint8]:
        """Classify the pixels; cloud overrides shadow.

        Returns:
            CLEAR, CLOUD, THIN or SHADOW (height, width).
        """
        mask = np.where(self.shadow >= DARK, SHADOW, CLEAR).astype(np.uint8)
        mask[self.opacity >= FAINTEST] = THIN
        mask[self.opacity >= OPAQUE] = CLOUD
        return mask


def _shape(layer_key: int, kind: _Kind, cell: float, angle: float, window: Window) -> Field:
    """Noise field of a layer; it is cloud where it exceeds a threshold."""
    if kind.stretch > 1:
        y = np.arange(window.top, window.top + window.height)[:, None] / cell
        x = np.arange(window.left, window.left + window.width)[None, :] / cell
        bend = octave(key_of(layer_key, "bend"), window, 4 * cell) * np.float32(0.5)
        across = y * np.cos(angle) - x * np.sin(angle) + bend
        along = (y * np.sin(angle) + x * np.cos(angle)) / kind.stretch + 0.3 * bend
        total = np.zeros(window.shape, dtype=np.float32)
        for k in range(kind.octaves):
            total += octave_at(key_of(layer_key, str(k)), across * 2**k, along * 2**k) * np.float32(
                kind.gain**k
            )
        return total / np.float32(sum(kind.gain ** (2 * k) for k in range(kind.octaves)) ** 0.5)
    shape = fbm(layer_key, window, cell, kind.octaves, kind.gain)
    for k in range(3 if kind.puff else 0):
        bulge = np.abs(octave(key_of(layer_key, f"bulge {k}"), window, cell / 3 / 2**k))
        shape += bulge * np.float32(kind.puff * 0.6**k)
    return shape


@lru_cache(maxsize=len(_KINDS))
def _distribution(name: str) -> Field:
    """Quantiles of the noise of a kind; equal for every seed because the noise is stationary."""
    kind = _KINDS[name]
    values = [_shape(key_of(i, name), kind, 40.0, 0.7, Window(0, 0, 640, 640)) for i in range(2)]
    return np.asarray(np.quantile(values, np.linspace(0, 1, 201)), dtype=np.float32)


def _draw_layers(seed: int, cloud_cover: float) -> list[_Layer]:
    """Draw the layers of sky `seed`, which together cover about `cloud_cover`."""
    if cloud_cover <= 0:
        return []
    rng = np.random.default_rng(key_of(seed, "sky"))
    names = _SKIES[int(rng.choice(len(_SKIES), p=[weight for _, weight in _SKIES]))][0]
    parts = rng.dirichlet([3.0] * len(names))
    layers = []
    for name, part in zip(names, parts, strict=True):
        kind = _KINDS[name]
        depth = float(rng.uniform(*kind.depth))
        # Layers are independent, so their clear shares multiply.
        clear = (1 - cloud_cover) ** float(part)
        start = float(np.interp(clear, np.linspace(0, 1, 201), _distribution(name)))
        layers.append(
            _Layer(
                key=key_of(seed, name),
                kind=kind,
                cell=float(rng.uniform(*kind.cell)),
                angle=float(rng.uniform(0, np.pi)),
                edge=start - (-float(np.log1p(-FAINTEST)) / depth) ** (1 / _SOFT),
                depth=depth,
                bright=float(rng.uniform(*kind.bright)),
                height=float(rng.uniform(*kind.height)),
            )
        )
    return layers


def _optical_depth(layer: _Layer, window: Window) -> Field:
    shape = _shape(layer.key, layer.kind, layer.cell, layer.angle, window)
    return np.asarray(
        np.maximum(shape - np.float32(layer.edge), 0) ** np.float32(_SOFT) * np.float32(layer.depth)
    )


def _light(layer: _Layer, depth: Field, sun_azimuth: float) -> Field:
    """Factor on the cloud's reflectance: thick parts and sunlit sides are brighter."""
    relief = gaussian_filter(np.log1p(depth), _SMOOTH, truncate=2.0)
    down, right = np.gradient(relief)
    towards_sun = down * np.float32(np.cos(sun_azimuth)) - right * np.float32(np.sin(sun_azimuth))
    body = 0.6 + 0.4 * (1 - np.exp(depth * np.float32(-0.2)))
    return np.asarray(body * np.clip(1 + 2.2 * towards_sun, 0.55, 1.35), dtype=np.float32)


def _cover_with(layer: _Layer, sky: Sky, window: Window, sun_azimuth: float) -> None:
    """Add a layer on top of a sky of the same window, in place."""
    kind = layer.kind
    outer = window.grown(_MARGIN)
    depth = _optical_depth(layer, outer)
    light = _light(layer, depth, sun_azimuth)
    top = layer.bright * kind.spectrum
    top[BANDS.index("B09")] += kind.vapour * top[BANDS.index("B8A")]
    top[BANDS.index("B10")] += kind.cirrus * layer.bright
    fall = (_WAVELENGTH / _WAVELENGTH[1]) ** np.float32(-kind.exponent)
    offsets = np.rint(_TRACK * min(_PARALLAX, layer.height * 3.5e-4)).astype(int)
    for band, offset in enumerate(offsets):
        rows, cols = window.shifted(int(offset), 0).slices_in(outer)
        passed = np.exp(depth[rows, cols] * -fall[band])
        sky.gain[band] *= passed
        sky.added[band] *= passed
        sky.added[band] += (1 - passed) * light[rows, cols] * top[band]
    rows, cols = window.slices_in(outer)
    sky.opacity[:] = 1 - (1 - sky.opacity) * np.exp(-depth[rows, cols])


def _shadow_of(layer: _Layer, window: Window, sun_zenith: float, sun_azimuth: float) -> Field:
    """Share of the direct sun that a layer blocks on level ground: its field, seen along the rays."""
    distance = layer.height * np.tan(sun_zenith) / 10
    outer = window.grown(_MARGIN)
    towards_sun = outer.shifted(round(-distance * np.cos(sun_azimuth)), round(distance * np.sin(sun_azimuth)))
    kept = 1 - np.exp(-_optical_depth(layer, towards_sun))
    # The sun has a diameter of half a degree, and light leaves a cloud sideways.
    soft = gaussian_filter(kept, min(1.0 + layer.height / 2500, 2.5), truncate=3.0)
    return np.asarray(soft[window.slices_in(outer)])


def check_cover(cloud_cover: float) -> None:
    """Check a share of cloud that a user asks for.

    Args:
        cloud_cover: The share.

    Raises:
        OptionError: It is not from 0 to 1.
    """
    if not 0 <= cloud_cover <= 1:
        raise OptionError(f"--cloud-cover {cloud_cover}: expected a share of the scene, 0 to 1")


def simulate_sky(seed: int, cloud_cover: float, window: Window, recipe: SceneRecipe | None = None) -> Sky:
    """Simulate the clouds over a window.

    Args:
        seed: Which sky.
        cloud_cover: Approximate share of a whole scene under cloud, 0 to 1.
        window: Which pixels.
        recipe: Values of the scene, for its sun; None: those of scene `seed`.

    Returns:
        The optical effect of the clouds.

    Raises:
        OptionError: `cloud_cover` is out of range.
    """
    check_cover(cloud_cover)
    recipe = recipe or draw_recipe(seed)
    whole = window.aligned(BLOCK)
    shape = (len(BANDS), *whole.shape)
    gain, added = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    sky = Sky(gain, added, np.zeros(whole.shape, np.float32), np.zeros(whole.shape, np.float32))
    for layer in sorted(_draw_layers(seed, cloud_cover), key=lambda layer: layer.height):
        _cover_with(layer, sky, whole, recipe.sun_azimuth)
        if layer.height > 0:
            kept = _shadow_of(layer, whole, recipe.sun_zenith, recipe.sun_azimuth)
            sky.shadow[:] = 1 - (1 - sky.shadow) * (1 - kept)
    for band, strength in enumerate(SHADOWED):
        sky.gain[band] *= 1 - strength * sky.shadow
    inner = (slice(None), *window.slices_in(whole))
    return Sky(
        gain=native(sky.gain)[inner],
        added=native(sky.added)[inner],
        opacity=sky.opacity[inner[1:]],
        shadow=sky.shadow[inner[1:]],
    )


def add_clouds(
    clear: Field, seed: int, cloud_cover: float, top: int = 0, left: int = 0
) -> tuple[Field, Field, Field, NDArray[np.uint8]]:
    """Add simulated clouds to a clear image.

    The result depends on seed and position only, so neighbouring images get matching clouds.

    Args:
        clear: Reflectance (13, height, width).
        seed: Which sky.
        cloud_cover: Approximate share of a whole scene under cloud, 0 to 1.
        top: First row of the image in the scene.
        left: First column of the image in the scene.

    Returns:
        Cloudy reflectance (13, height, width); opacity and shadow (height, width), 0 to 1; the mask
        (height, width) with the codes CLEAR, CLOUD, THIN and SHADOW of this module.

    Raises:
        OptionError: `cloud_cover` is out of range.
    """
    sky = simulate_sky(seed, cloud_cover, Window(top, left, *clear.shape[1:]))
    return clear * sky.gain + sky.added, sky.opacity, sky.shadow, sky.mask()
