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

SCALE_CURE = (
    "Give the reflectance of one DN as --scale: 0.0001 if DN = reflectance x 10000 is right all the same, "
    "1.526e-05 for x 65535, 0.003922 for x 255, 0.001 for x 1000"
)
TAGS_CURE = (
    "State the reflectance of one DN and of DN 0 in the tags of the file, as in gdal_edit -scale 0.0001 "
    "-offset 0"
)
"""What to do about a scale: an option for the scene, tags for references, which have no options."""

LEFT_IN, DARK_BANDS = 0.09, 10
"""Reflectance which the darkest 1 % of B10, or of all but a tenth of the other bands (per cent), exceed if an
offset of 0.1 was left in. Level-2A is below 0 in places, so its darkest band alone does not tell."""

OFFSET = 0.1
"""Reflectance that products of baseline 04.00 and later add."""

BELOW, BELOW_SHARE = -0.02, 0.02
"""Mean reflectance of B02, B03 and B04 that ground does not have, and share of pixels that may have it."""

DARKEST_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
"""Bands whose darkest pixels tell of an offset that was taken off twice; others are often below 0."""

NEGATIVE, NEGATIVE_SHARE = -0.04, 0.01
"""Reflectance that the darkest band of a pixel does not have, and share of pixels that may have it. After an
offset was taken off twice, 91 % of 121 real images of Level-2A and 76 % of 156 of Level-1C have more."""

NEGATIVE_CIRRUS = -0.02
"""Reflectance that B10 exceeds in the median: it is 0 or more in all real images."""

VAPOUR = 0.05
"""Reflectance that water vapour takes off B09 in the median of Level-1C, as seen beside B8A: more in 97 % of
156 real images, and in 1 of 39 of Level-2A."""

LEAST_BLUE, BLUER = 0.07, 1.2
"""Reflectance of B01 in Level-1C that its darkest 1 % exceed, which is that of the air (0.092 at least in 156
real images; above 3000 m there may be less), and what it is over that of B04 where it is that of the air."""

GREEN, GREEN_SHARE, LEAST_GREEN = 0.5, 0.1, 0.24
"""NDVI of plants, share of the pixels that must be plants, and reflectance that 1 % of all pixels then exceed
in B08: 0.244 at least in 187 real images."""

COMB, COMB_RANGE, COMB_SMOOTH, COMB_LOWEST = 100.0, (5, 70), 15, 0.06
"""Power of a line in the spectrum of the histogram over that of noise, from which on DN were multiplied by
less than 1: it is then 500 to 70 000, and below 20 in all but one of 156 real images of Level-1C. Level-2A
has such lines by itself. Further, percentiles between which DN are counted, half of the width of a running
mean, and the lowest frequency in cycles per DN."""

STEPS = (3.2767, 3.2768, 6.5535, 6.5536, 257.0)
"""Steps of DN that had 1 / 10 000 or 8 bits, and were stretched to 15 or 16 bits."""

LEAST_VALUES = 100
"""Distinct values that show whether DN have a step."""

OCCUPIED_RANGE, LEAST_EACH, LEAST_OCCUPIED = (10, 60), 20, 0.6
"""Percentiles between which DN are counted, pixels for each of them, and share of them that occur."""


def check_range(
    dn: NDArray[Any], radiometry: Radiometry, names: Sequence[str], path: str, cure: str = SCALE_CURE
) -> tuple[RadiometryWarning, ...]:
    """Refuse numbers that are no reflectance in the units that were assumed.

    Args:
        dn: Of valid pixels (bands, n).
        radiometry: Of them.
        names: Of the bands.
        path: For messages.
        cure: What to do about the scale.

    Returns:
        Warnings where they may be none.

    Raises:
        RadiometryError: The pixels are too bright or too dark for any scene, or have too few values.
    """
    reflectance = radiometry.reflectance(dn)
    found = _as_read(path, radiometry)
    top = float(dn.max()) + radiometry.offset
    if top <= 2:
        raise RadiometryError(
            f"{found}, no DN is above {top:g}; expected thousands. The fractions were probably cut off when "
            "reflectance was converted to whole numbers: write them again, times 10000."
        )
    check_brightness(reflectance, names, radiometry, path, cure)
    if (step := _step(dn)) is not None:
        raise RadiometryError(
            f"{found}, the DN are multiples of {step:.4g}; expected DN = reflectance x {QUANTIFICATION}. "
            f"{cure}."
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
            f"{QUANTIFICATION}. {cure}"
        )
        return (RadiometryWarning(text),)
    if top <= 255:
        return (RadiometryWarning(f"no DN is above {top:g}. If this is not dark water: {cure}"),)
    if (sign := _dimmed(dn, reflectance, names)) is not None:
        text = f"{sign}, as in a scene that is stored darker than it is: expected DN = reflectance x "
        return (RadiometryWarning(f"{text}{QUANTIFICATION}. {cure}"),)
    return ()


def check_brightness(
    reflectance: NDArray[np.float32], names: Sequence[str], radiometry: Radiometry, path: str, cure: str
) -> None:
    """Refuse what is brighter or darker than any scene.

    Args:
        reflectance: Of valid pixels (bands, n).
        names: Of the bands.
        radiometry: As which they were read.
        path: For messages.
        cure: What to do about the scale.

    Raises:
        RadiometryError: That is so.
    """
    high = float(np.percentile(reflectance, 99, axis=1).max())
    found = _as_read(path, radiometry)
    if high > BRIGHT:
        raise RadiometryError(
            f"{found}, 1 % of the pixels are above {high:.2f} in a band; expected {BRIGHT} at most. {cure}."
        )
    if _too_dark(reflectance, names, high):
        raise RadiometryError(
            f"{found}, nothing is above {high:.3f} and yet it is not water; expected brighter ground. {cure}."
        )


def _as_read(path: str, radiometry: Radiometry) -> str:
    return f"{path}: with reflectance = (DN + {radiometry.offset:g}) / {radiometry.quantification:g}"


def check_offset(
    reflectance: NDArray[np.float32], names: Sequence[str], offset: float
) -> tuple[float, RadiometryWarning] | None:
    """Look whether an offset was left in, or one too many was taken off.

    Args:
        reflectance: Of valid pixels (bands, n).
        names: Of the bands.
        offset: Reflectance that was added to all of them.

    Returns:
        The offset that is likely, reflectance, and what shows it; None: nothing is odd.
    """
    rows = dict(zip(names, reflectance, strict=True))
    if (sign := _negative(rows, offset)) is not None:
        return offset + OFFSET, RadiometryWarning(sign)
    lows = {name: float(np.percentile(band, 1)) for name, band in rows.items()}
    lowest = float(np.percentile([low for name, low in lows.items() if name != "B10"], DARK_BANDS))
    left_in = lows["B10"] >= LEFT_IN if "B10" in lows else lowest >= LEFT_IN
    if offset >= 0 and left_in:
        return offset - OFFSET, RadiometryWarning(f"hardly a pixel is below {lowest:.3f} in any band")
    return None


def _negative(rows: dict[str, NDArray[np.float32]], offset: float) -> str | None:
    """What shows that pixels are below what ground and air can be; None: nothing does."""
    if {"B02", "B03", "B04"} <= rows.keys():
        share = float(((rows["B02"] + rows["B03"] + rows["B04"]) / 3 < BELOW).mean())
        if share > BELOW_SHARE:
            return f"{share:.0%} of the pixels are below 0 in the visible bands"
    if "B10" in rows and (cirrus := float(np.median(rows["B10"]))) < NEGATIVE_CIRRUS:
        return f"B10 is {cirrus:.3f} in the median"
    blue = float(np.percentile(rows["B01"], 1)) if "B01" in rows and _has_air(rows) else LEAST_BLUE
    if offset < 0 and blue < LEAST_BLUE:
        return f"B01 is {blue:.3f} where it is darkest, less than the light of the air below 3000 m"
    darkest = [rows[name] for name in DARKEST_BANDS if name in rows]
    share = float((np.min(darkest, axis=0) < NEGATIVE).mean()) if darkest else 0.0
    return f"{share:.0%} of the pixels are below {NEGATIVE:g} in a band" if share > NEGATIVE_SHARE else None


def _has_air(rows: dict[str, NDArray[np.float32]]) -> bool:
    """Whether the light of the air is in the pixels, as in Level-1C; also where B10 was left out."""
    if "B10" in rows:
        return True
    return {"B8A", "B09"} <= rows.keys() and float(np.median(rows["B8A"] - rows["B09"])) > VAPOUR


def _dimmed(dn: NDArray[Any], reflectance: NDArray[np.float32], names: Sequence[str]) -> str | None:
    """What shows that all is darker than it was, by a factor of about 2; None: nothing does."""
    rows = dict(zip(names, reflectance, strict=True))
    if {"B04", "B01"} <= rows.keys() and _has_air(rows):
        low, red = (float(np.percentile(rows[name], 1)) for name in ("B01", "B04"))
        if BLUER * red < low < LEAST_BLUE:
            return f"B01 is {low:.3f} where it is darkest, less than the light of the air except above 3000 m"
    if "B10" in rows:
        lines = [
            _comb(band) for name, band in zip(names, dn, strict=True) if name in ("B02", "B03", "B04", "B08")
        ]
        if np.median(lines) > COMB:
            return "some DN are regularly more frequent than their neighbours"
    if "B08" in rows and "B04" in rows:
        red, infrared = rows["B04"], rows["B08"]
        share = float((infrared - red > GREEN * (infrared + red)).mean())
        if share >= GREEN_SHARE and (high := float(np.percentile(infrared, 99))) < LEAST_GREEN:
            return f"B08 hardly exceeds {high:.3f}, though plants are on {share:.0%} of the pixels"
    return None


def _comb(dn: NDArray[Any]) -> float:
    """Power of the strongest line in the spectrum of the histogram of a band (n,), over that of noise."""
    low, high = np.percentile(dn, COMB_RANGE).astype(np.int64)
    inside = dn[(dn >= low) & (dn < high)].astype(np.int64) - low
    size = int(high - low)
    if size < LEAST_VALUES or len(inside) < LEAST_EACH // 4 * size:
        return 0.0
    counts = np.bincount(inside, minlength=size).astype(np.float64)
    wide = 2 * COMB_SMOOTH + 1
    mean = np.convolve(np.pad(counts, COMB_SMOOTH, mode="edge"), np.full(wide, 1 / wide), "valid")
    taper = np.hanning(size)
    power = np.abs(np.fft.rfft((counts - mean) / np.sqrt(mean + 1) * taper)) ** 2 / np.square(taper).sum()
    return float(power[np.fft.rfftfreq(size) >= COMB_LOWEST].max())


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
