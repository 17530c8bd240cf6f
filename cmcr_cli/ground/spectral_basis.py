"""The features by which another date of the same ground explains the spectrum of today.

Its own spectrum, the mean of its surroundings, and saturating random features of the spectrum (Rahimi and
Recht 2008, "Weighted sums of random kitchen sinks"): what a crop, a forest or bare soil of that day looks
like today is no linear function of its bands. All are rounded to binary fractions, so that sums of their
products are exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.ground.context import TYPICAL_MEAN, TYPICAL_STD
from cmcr_cli.ground.pyramid import block_mean, upsample
from cmcr_cli.scene.bands import BANDS

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

USED = tuple(BANDS.index(name) for name in BANDS if name not in ("B01", "B09", "B10"))
"""The bands that show the ground at 10 or 20 m."""

RANDOM = 64
"""Number of random features."""

FEATURES = 2 * len(USED) + RANDOM
"""Features of a reference: spectrum, surroundings, random features."""

MARGIN = 4
"""Pixels of a reference that the features need on each side of a window."""

SCALE = 2 * TYPICAL_STD[list(USED)]
CENTRE = TYPICAL_MEAN[list(USED)]
"""Reflectance of the spectrum's unit and of its zero."""

_LIMIT = 3.0
_STEP = 2.0**-9  # the largest that 16-bit floats hold exactly up to _LIMIT


def spectrum(image: Floats) -> Floats:
    """Return the used bands of reflectance (13, ...), scaled to about -1 to 1, (bands, ...)."""
    shape = (-1, *[1] * (image.ndim - 1))
    values = (image[list(USED)] - CENTRE.reshape(shape)) / SCALE.reshape(shape)
    return _rounded(np.clip(values, -_LIMIT, _LIMIT, out=values))


def surroundings(values: Floats, clear: Bools) -> Floats:
    """Return the mean of clear blocks in 3 x 3 (bands, h, w), from `spectrum` of blocks."""
    weight = ndimage.uniform_filter(clear.astype(np.float32), 3, mode="nearest")
    sums = ndimage.uniform_filter(values * clear, (0, 3, 3), mode="nearest")
    return _rounded(sums / np.maximum(weight, np.float32(0.1)))


def features(image: Floats, clear: Bools) -> Floats:
    """Features of blocks of 2 x 2 pixels.

    Args:
        image: Reflectance of blocks (13, h, w).
        clear: Blocks of which all is clear (h, w).

    Returns:
        Features (FEATURES, h, w).
    """
    values = spectrum(image)
    return np.concatenate([values, surroundings(values, clear), random_features(values)])


def pixel_features(image: Floats, clear: Bools) -> Floats:
    """Features of pixels, whose surroundings are those of their blocks.

    Args:
        image: Reflectance (13, h + 2 MARGIN, w + 2 MARGIN) of a window that begins on even pixels of the map.
        clear: Where the ground shows, of the same size.

    Returns:
        Features (FEATURES, h, w).
    """
    blocks = spectrum(block_mean(image))
    around = surroundings(blocks, block_mean(clear) == 1)[:, 1:-1, 1:-1]
    around = _rounded(upsample(upsample(around, axis=2), axis=1))
    values = spectrum(image[:, MARGIN:-MARGIN, MARGIN:-MARGIN])
    return np.concatenate([values, around, random_features(values)])


def random_features(values: Floats) -> Floats:
    """Random features (RANDOM, ...) of `spectrum` (bands, ...)."""
    flat = values.reshape(len(values), -1)
    found = _WEIGHTS @ flat
    found += _OFFSETS[:, None]
    return _rounded(np.clip(found, -1, 1, out=found)).reshape(-1, *values.shape[1:])


def identity() -> NDArray[np.float64]:
    """Return the readout (13, 1 + FEATURES) that gives the reference itself: what is known before any fit.

    It maps to reflectance. Bands that are not `USED` follow the one nearest to them.
    """
    readout = np.zeros((len(BANDS), 1 + FEATURES))
    for band in range(len(BANDS)):
        if band in USED:
            place = USED.index(band)
            readout[band, 0], readout[band, 1 + place] = CENTRE[place], SCALE[place]
    return readout


def _rounded(values: NDArray[Any]) -> Floats:
    """Round to multiples of _STEP, in place."""
    values /= np.float32(_STEP)
    np.rint(values, out=values)
    values *= np.float32(_STEP)
    return np.asarray(values, np.float32)


def _directions() -> tuple[Floats, Floats]:
    """Weights (RANDOM, bands) and offsets (RANDOM,); a fixed part of the method."""
    draw = np.random.default_rng(3)
    weights = 1.5 / np.sqrt(len(USED)) * draw.standard_normal((RANDOM, len(USED)))
    return weights.astype(np.float32), draw.uniform(-1.5, 1.5, RANDOM).astype(np.float32)


_WEIGHTS, _OFFSETS = _directions()
