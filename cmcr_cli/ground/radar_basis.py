"""Features of Sentinel-1 from which the context predicts the spectrum of the ground."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.ground.pyramid import block_mean
from cmcr_cli.scene.bands import RADAR_BANDS
from cmcr_cli.scene.radiometry import RADAR_FLOOR_DB

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

RADAR_BASIS = 64
"""Number of random features."""

MARGIN = 32
"""Pixels of radar that the features need on each side of a window."""

_SCALES = (1, 3, 7, 15, 31)  # in blocks; the widest reaches 15, and one more of MARGIN's 16 serves upsampling
_TEXTURE_SCALES = (7, 31)
_BRIDGED = 7  # blocks
_RING = MARGIN // 2 - 1
_FEATURES = len(RADAR_BANDS) * (len(_SCALES) + len(_TEXTURE_SCALES))


def radar_basis(radar: Floats, valid: Bools, inner: tuple[Any, ...] | None = None) -> Floats:
    """The basis on which spectra are regressed, for blocks of 2 x 2 pixels.

    Args:
        radar: VV and VH in dB (2, height + 2 MARGIN, width + 2 MARGIN).
        valid: Where it holds data.
        inner: Chosen blocks of the window itself, as slices of its rows and columns, perhaps after "...".
            By default all of them, and one block more on each side.

    Returns:
        (1 + RADAR_BASIS, rows, columns): validity (1 or 0), then saturating random features (Rahimi and
        Recht 2008, "Weighted sums of random kitchen sinks"), 0 where not valid.
    """
    features, known = _features(radar, valid, inner)
    out = np.empty((1 + RADAR_BASIS, *known.shape), np.float32)
    flat = out.reshape(len(out), -1)
    flat[0] = known.ravel()
    np.matmul(_WEIGHTS, features.reshape(len(features), -1), out=flat[1:])
    flat[1:] += _OFFSETS[:, None]
    np.clip(flat[1:], -1, 1, out=flat[1:])
    flat[1:] = rounded(flat[1:], 10)
    if not known.all():
        flat[1:] *= flat[0]
    return out


def _features(radar: Floats, valid: Bools, inner: tuple[Any, ...] | None) -> tuple[Floats, Bools]:
    """Radar features (features, rows, columns) and validity per block, as `radar_basis` chooses them.

    Mean backscatter in dB at `_SCALES` and standard deviation of the dB at `_TEXTURE_SCALES`, both over valid
    blocks only and scaled to about -1..1. Where a window has no valid block the next wider one is used,
    so that saturated points, which are stored as nodata, leave no holes, up to a width of `_BRIDGED`.
    """
    power = np.exp(np.clip(radar, RADAR_FLOOR_DB[:, None, None], 0) * np.float32(np.log(10) / 10))
    whole = block_mean(valid) == 1
    power = np.where(whole, block_mean(power), 1)
    db = rounded(10 * np.log10(power), 8)
    fields = np.concatenate([rounded(power, 20) * whole, db, db * db, whole[None]], dtype=np.float64)
    integral = np.zeros((len(fields), whole.shape[0] + 1, whole.shape[1] + 1))
    np.cumsum(fields, axis=2, dtype=np.float64, out=integral[:, 1:, 1:])
    for row in range(2, integral.shape[1]):
        integral[:, row] += integral[:, row - 1]
    chosen = [range(size - 2 * _RING) for size in whole.shape]
    if inner is not None:
        chosen = [each[1:-1][part] for each, part in zip(chosen, inner[-2:], strict=True)]

    def means(scale: int, channels: slice) -> tuple[NDArray[Any], NDArray[Any]]:
        # Rows and columns where the boxes around the chosen blocks begin, and where they end.
        (top, bottom), (left, right) = (
            [slice(each.start + by, each.stop + by, each.step) for by in (first, first + scale)]
            for each in chosen
            for first in [_RING - scale // 2]
        )
        box = integral[:, bottom, right] - integral[:, bottom, left]
        box -= integral[:, top, right] - integral[:, top, left]
        return np.asarray(box[channels] / np.maximum(box[-1], 1), np.float32), box[-1] > 0.5

    found: list[NDArray[Any]] = []
    centre = np.array([-11, -18], np.float32)[:, None, None]
    for scale in reversed(_SCALES):
        mean, known = means(scale, slice(0, 2))
        level = (10 * np.log10(np.maximum(mean, 1e-4)) - centre) / 5
        found.insert(0, np.where(known, level, found[0]) if found else level)
        if scale == _BRIDGED:
            bridged = known
    for scale in _TEXTURE_SCALES:
        moments, _ = means(scale, slice(2, 6))
        found.append(np.sqrt(np.maximum(moments[2:] - np.square(moments[:2]), 0)) / 2 - 1)
    return rounded(np.concatenate(found), 8), bridged


def rounded(values: NDArray[Any], bits: int) -> Floats:
    """Round to binary fractions.

    Args:
        values: Any numbers.
        bits: Bits after the binary point.

    Returns:
        The nearest multiples of 2 ** -bits.
    """
    out = np.rint(values * np.float32(2**bits))
    out *= np.float32(2**-bits)
    return np.asarray(out, np.float32)


def _directions() -> tuple[Floats, Floats]:
    """Weights (basis, features) and offsets (basis,) of the random features; a fixed part of the method."""
    draw = np.random.default_rng(1)
    weights = 1.5 / np.sqrt(_FEATURES) * draw.standard_normal((RADAR_BASIS, _FEATURES))
    return rounded(weights, 8), rounded(draw.uniform(-1.5, 1.5, RADAR_BASIS), 8)


_WEIGHTS, _OFFSETS = _directions()
