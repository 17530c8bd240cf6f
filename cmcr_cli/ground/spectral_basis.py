"""The features by which another date of the same ground explains the spectrum of today.

Its own spectrum, the mean of its surroundings, and saturating random features of the spectrum (Rahimi and
Recht 2008, "Weighted sums of random kitchen sinks"): what a crop, a forest or bare soil of that day looks
like today is not a linear function of its bands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.ground.context import TYPICAL_MEAN, TYPICAL_STD
from cmcr_cli.ground.pyramid import block_mean, upsample
from cmcr_cli.ground.radar_basis import rounded
from cmcr_cli.scene.bands import BANDS

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

USED = tuple(BANDS.index(name) for name in BANDS if name != "B10")
"""The bands that show the ground."""

RANDOM = 48
"""Number of random features."""

LOOKS = 2 * len(USED)
"""What is seen of a reference: its spectrum, and that of its surroundings."""

CLASSES = 8
"""Classes of ground, each of which has a linear regression of its own."""

FEATURES = LOOKS + RANDOM + CLASSES * (1 + len(USED))
"""Features of a reference: what is seen of it, random features, the spectrum within each class."""

PLAIN = np.array([True] * len(USED) + [False] * (len(USED) + RANDOM) + [True] * CLASSES * (1 + len(USED)))
"""Which features are the spectrum by classes, and nothing else (FEATURES,)."""

MARGIN = 8
"""Pixels of a reference that the features need on each side of a window."""

_LIMIT = 3.0
_CLASS_WIDTH = 0.25  # in units of `spectrum`: classes merge into each other over it
_ROUNDS = 12
_CACHED = 2048  # samples whose features stay in the processor's cache
_BITS = 9  # of what learns: 16-bit floats hold such fractions exactly up to _LIMIT


def spectrum(image: Floats) -> Floats:
    """Scale reflectance so that typical ground is between about -1 and 1.

    Args:
        image: Reflectance (13, ...).

    Returns:
        The bands of USED (bands, ...), cut off at -3 and 3.
    """
    shape = (-1, *[1] * (image.ndim - 1))
    values = (image[list(USED)] - _CENTRE.reshape(shape)) / _SCALE.reshape(shape)
    return np.asarray(np.clip(values, -_LIMIT, _LIMIT, out=values))


def reflectance_of(values: Floats) -> Floats:
    """Undo `spectrum`, for the first of its bands.

    Args:
        values: Anything that is mostly from -1 to 1 (bands, n); what is beyond -3 and 3 is cut off.

    Returns:
        Reflectance (bands, n), which may be negative.
    """
    centre, scale = (each[: len(values), None] for each in (_CENTRE, _SCALE))
    return np.asarray(np.clip(values, -_LIMIT, _LIMIT) * scale + centre, np.float32)


def surroundings(values: Floats, clear: Bools) -> Floats:
    """Average the clear blocks around each block.

    Args:
        values: `spectrum` of blocks (bands, h, w).
        clear: Whether their ground shows (h, w).

    Returns:
        Means over 3 x 3 blocks (bands, h, w); near 0 where few of them are clear.
    """
    weight = ndimage.uniform_filter(clear.astype(np.float32), 3, mode="nearest")
    sums = ndimage.uniform_filter(values * clear, (0, 3, 3), mode="nearest")
    return np.asarray(sums / np.maximum(weight, np.float32(0.1)))


def looks(image: Floats, clear: Bools, step: int = 1) -> Floats:
    """Stack the spectrum of pixels and that of the blocks of 2 x 2 pixels around them.

    Args:
        image: Reflectance (13, h + 2 MARGIN, w + 2 MARGIN) of a window that begins on even pixels of the map.
        clear: Where the ground shows, of the same size.
        step: Every how many rows and columns a pixel is looked at: 1, or an even number.

    Returns:
        Spectrum and surroundings (LOOKS, h / step, w / step), rounded to what 16-bit floats hold exactly.
    """
    beyond = MARGIN // 2 - 1
    blocks = spectrum(block_mean(image))
    around = surroundings(blocks, block_mean(clear) == 1)[:, beyond:-beyond, beyond:-beyond]
    around = upsample(upsample(around, axis=2, step=step), axis=1, step=step)
    values = spectrum(image[:, MARGIN:-MARGIN:step, MARGIN:-MARGIN:step])
    return rounded(np.concatenate([values, around]), _BITS)


def features(seen: Floats, centres: Floats) -> Floats:
    """Make all features by which a reference explains today.

    Args:
        seen: From `looks` (LOOKS, ...).
        centres: Of the classes of the reference (CLASSES, bands), from `class_centres`.

    Returns:
        Features (FEATURES, ...), in the order that FEATURES states.
    """
    values = seen[: len(USED)]
    member = memberships(values, centres)
    own = member[:, None] * values
    return np.concatenate([seen, random_features(values), member, own.reshape(-1, *values.shape[1:])])


def memberships(values: Floats, centres: Floats) -> Floats:
    """Compute how far spectra belong to each class; classes merge into each other.

    Args:
        values: From `spectrum` (bands, ...).
        centres: Of the classes (CLASSES, bands).

    Returns:
        Shares (CLASSES, ...) with a sum of 1, by the distance as in a mixture of Gaussians.
    """
    flat = values.reshape(len(values), -1)
    near = (-2 * centres) @ flat
    near += np.square(centres).sum(1)[:, None]  # less what all classes have in common
    near -= near.min(0)
    near *= np.float32(-1 / (2 * _CLASS_WIDTH**2))
    member = np.exp(near, out=near)
    member /= member.sum(0)
    return np.asarray(member.reshape(-1, *values.shape[1:]), np.float32)


def read_out(seen: Floats, centres: Floats, weights: Floats) -> Floats:
    """Apply weights to features without making them, which would be many times larger.

    Args:
        seen: `looks` of samples (LOOKS, n).
        centres: Of the classes (CLASSES, bands).
        weights: (13, FEATURES).

    Returns:
        weights @ features(seen, centres), (13, n).
    """
    found = np.empty((len(weights), seen.shape[1]), np.float32)
    for start in range(0, seen.shape[1], _CACHED):
        part = slice(start, start + _CACHED)
        found[:, part] = _read_out(seen[:, part], centres, weights)
    return found


def _read_out(seen: Floats, centres: Floats, weights: Floats) -> Floats:
    """As `read_out`, for few samples."""
    bands, first = len(USED), LOOKS + RANDOM
    values = seen[:bands]
    found = weights[:, :LOOKS] @ seen
    found += weights[:, LOOKS:first] @ random_features(values)
    member = memberships(values, centres)
    found += weights[:, first : first + CLASSES] @ member
    within = weights[:, first + CLASSES :].reshape(len(weights), CLASSES, bands)
    for place, share in enumerate(member):
        part = within[:, place] @ values
        part *= share
        found += part
    return found


def class_centres(values: Floats) -> Floats:
    """Divide the ground of a reference into classes by Lloyd's algorithm (1982).

    It begins with spectra that are as far as possible from each other, so the result is always the same.

    Args:
        values: From `spectrum` (n, bands), of pixels whose ground shows.

    Returns:
        Centres of the classes (CLASSES, bands); 0 without pixels.
    """
    if not len(values):
        return np.zeros((CLASSES, len(USED)), np.float32)
    centres = values.mean(0, keepdims=True)
    for _ in range(CLASSES - 1):
        far = np.square(values[:, None] - centres).sum(2).min(1)
        centres = np.concatenate([centres, values[[int(np.argsort(far)[int(0.98 * (len(far) - 1))])]]])
    for _ in range(_ROUNDS):
        near = np.square(values[:, None] - centres).sum(2).argmin(1)
        centres = np.stack(
            [values[near == k].mean(0) if (near == k).any() else centres[k] for k in range(CLASSES)]
        )
    return np.asarray(centres, np.float32)


def trust(clear: Bools) -> Floats:
    """Weigh a reference: 1 on clear ground, less beside what is not clear, and 0 there.

    What masks miss lies at their edges, and a prediction must not jump where a reference ends. But without
    it, what is known of such a pixel is worth much less.

    Args:
        clear: Where its ground shows (h + 2 MARGIN, w + 2 MARGIN).

    Returns:
        Pixels (h, w).
    """
    whole = (block_mean(clear) == 1).astype(np.float32)
    near = ndimage.uniform_filter(whole, 3, mode="nearest")
    beyond = MARGIN // 2 - 1
    shown = np.where(near > 0.999, 1, np.clip(1.5 * near - 0.5, 0, 1) * whole).astype(np.float32)
    here = slice(beyond, -beyond)
    pixels = upsample(upsample(shown[None, here, here], axis=2), axis=1)[0]
    # Between blocks trust is interpolated; pixels that are not clear count nothing for all that.
    pixels *= whole[beyond + 1 : -beyond - 1, beyond + 1 : -beyond - 1].repeat(2, 0).repeat(2, 1)
    return np.asarray(pixels, np.float32)


def random_features(values: Floats) -> Floats:
    """Make saturating random features (Rahimi and Recht 2008), the same ones for all scenes.

    Args:
        values: From `spectrum` (bands, ...).

    Returns:
        Features (RANDOM, ...) from -1 to 1.
    """
    flat = values.reshape(len(values), -1)
    found = _WEIGHTS @ flat
    found += _OFFSETS[:, None]
    return np.clip(found, -1, 1, out=found).reshape(-1, *values.shape[1:])


def identity() -> NDArray[np.float64]:
    """Make the readout that gives the reference itself: what is known before any fit.

    Returns:
        Weights (13, 1 + FEATURES) of a constant and the features, which give reflectance. Bands that are not
        in USED follow the nearest that is.
    """
    readout = np.zeros((len(BANDS), 1 + FEATURES))
    for band in range(len(BANDS)):
        nearest = min(range(len(USED)), key=lambda place: abs(USED[place] - band))
        zero, unit = TYPICAL_MEAN[band], 2 * TYPICAL_STD[band]
        if band in USED:
            zero, unit = _CENTRE[nearest], _SCALE[nearest]
        readout[band, 0], readout[band, 1 + nearest] = zero, unit
    return readout


def _units() -> tuple[Floats, Floats]:
    """Reflectance of the zero and of the unit of `spectrum`, each (bands,).

    They follow the typical ground, which is that of Level-1C. In Level-2A B01 is darker, and B09 as bright as
    B8A: both would be cut off.
    """
    centre, scale = TYPICAL_MEAN[list(USED)], 2 * TYPICAL_STD[list(USED)]
    b01, b8a, b09 = (USED.index(BANDS.index(name)) for name in ("B01", "B8A", "B09"))
    scale[b01] = 0.05
    scale[b09] = scale[b8a]
    return centre, scale


def _directions() -> tuple[Floats, Floats]:
    """Weights (RANDOM, bands) and offsets (RANDOM,); a fixed part of the method."""
    draw = np.random.default_rng(3)
    weights = 1.5 / np.sqrt(len(USED)) * draw.standard_normal((RANDOM, len(USED)))
    return weights.astype(np.float32), draw.uniform(-1.5, 1.5, RANDOM).astype(np.float32)


_CENTRE, _SCALE = _units()
_WEIGHTS, _OFFSETS = _directions()
