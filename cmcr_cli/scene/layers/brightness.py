"""Whether pixels are as bright as ground and clouds are: signs of a wrong scale or offset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.errors import RadiometryError
from cmcr_cli.scene.layers.band_pixels import are_alike
from cmcr_cli.scene.radiometry import QUANTIFICATION, Radiometry
from cmcr_cli.warning_kinds import RadiometryWarning

BRIGHT = 2.4
"""Reflectance that 1 % of the pixels of a band do not exceed; they exceed 1.97 in one of 275 real images."""

DARKEST = ((0.06, 0.8), (0.1, 1.3))
"""Reflectance below which hardly all is, where the infrared is more than this part of the red."""

CURE = (
    "Give the reflectance of one DN as --scale: 0.0001 if DN = reflectance x 10000 is right all the same, "
    "1.526e-05 for x 65535, 0.003922 for x 255, 0.001 for x 1000"
)

STEPS = (3.2767, 3.2768, 6.5535, 6.5536, 257.0)
"""Steps of DN that had 1 / 10 000 or 8 bits, and were stretched to 15 or 16 bits."""

LEAST_VALUES = 100
"""Distinct values that show whether DN have a step."""

OCCUPIED_RANGE, LEAST_EACH, LEAST_OCCUPIED = (10, 60), 20, 0.6
"""Percentiles between which DN are counted, pixels for each of them, and share of them that occur."""


def check_range(
    dn: NDArray[Any], radiometry: Radiometry, names: Sequence[str], path: str
) -> tuple[RadiometryWarning, ...]:
    """Refuse numbers that are no reflectance in the units that were assumed.

    Args:
        dn: Of valid pixels (bands, n).
        radiometry: Of them.
        names: Of the bands.
        path: For messages.

    Returns:
        A warning where they may be none.

    Raises:
        RadiometryError: The pixels are too bright or too dark for any scene, or have too few values.
    """
    reflectance = radiometry.reflectance(dn)
    high = float(np.percentile(reflectance, 99, axis=1).max())
    found = f"{path}: with reflectance = (DN + {radiometry.offset:g}) / {radiometry.quantification:g}"
    if high > BRIGHT:
        raise RadiometryError(
            f"{found}, 1 % of the pixels are above {high:.2f} in a band; expected {BRIGHT} at most. {CURE}."
        )
    top = float(dn.max()) + radiometry.offset
    if top <= 2:
        raise RadiometryError(
            f"{found}, no DN is above {top:g}; expected thousands. The fractions were probably cut off when "
            "reflectance was converted to whole numbers: write them again, times 10000."
        )
    if _too_dark(reflectance, names, high):
        raise RadiometryError(
            f"{found}, nothing is above {high:.3f} and yet it is not water; expected brighter ground. {CURE}."
        )
    if (step := _step(dn)) is not None:
        raise RadiometryError(
            f"{found}, the DN are multiples of {step:.4g}; expected DN = reflectance x {QUANTIFICATION}. "
            f"{CURE}."
        )
    if _stretched(dn, reflectance):
        raise RadiometryError(
            f"{path}: all bands have the same maximum, {top - radiometry.offset:g}, as after stretching each "
            "to one range; expected reflectance, in which bands can be compared. Write them again without "
            "stretching."
        )
    share = _occupied(dn)
    if share < LEAST_OCCUPIED:
        text = (
            f"only {share:.0%} of all DN occur, as if they had been multiplied: expected DN = reflectance x "
            f"{QUANTIFICATION}. {CURE}"
        )
        return (RadiometryWarning(text),)
    if top <= 255:
        return (RadiometryWarning(f"no DN is above {top:g}. If this is not dark water: {CURE}"),)
    return ()


def _too_dark(reflectance: NDArray[np.float32], names: Sequence[str], high: float) -> bool:
    """Whether all is nearly black, but brighter in the infrared than water is."""
    if not {"B04", "B08"} <= set(names):
        return False
    red, infrared = (np.median(reflectance[list(names).index(name)]) for name in ("B04", "B08"))
    return any(high < most and infrared > ratio * red for most, ratio in DARKEST)


def _step(dn: NDArray[Any]) -> float | None:
    """The step of DN that were stretched to 16 bits, None where all numbers occur."""
    values = dn.ravel()[:: max(1, dn.size // 50_000)].astype(np.float64)
    values = values[values > 500]
    if len(np.unique(values)) < LEAST_VALUES:
        return None
    for step in STEPS:
        if (np.abs(values / step - np.rint(values / step)) * step <= 0.51).mean() > 0.98:
            return step
    return None


def _stretched(dn: NDArray[Any], reflectance: NDArray[np.float32]) -> bool:
    """Whether all bands of an image end at the same DN."""
    maxima = dn.max(axis=1)
    if len(dn) < 4 or (maxima != maxima[0]).any() or maxima[0] >= np.iinfo(dn.dtype).max:
        return False
    various = min(len(np.unique(band[::7])) for band in dn) >= LEAST_VALUES
    return various and are_alike(reflectance[:, :: max(1, reflectance.shape[1] // 4096)].astype(np.float64))


def _occupied(dn: NDArray[Any]) -> float:
    """Share of the DN of the common range that occur, 1 where too few pixels could show them all."""
    low, high = np.percentile(dn, OCCUPIED_RANGE).astype(np.int64)
    inside = dn[(dn >= low) & (dn < high)].astype(np.int64) - low
    if high - low < LEAST_VALUES or len(inside) < LEAST_EACH * (high - low):
        return 1.0
    return float(np.count_nonzero(np.bincount(inside, minlength=high - low)) / (high - low))
