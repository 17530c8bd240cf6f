"""Units of Sentinel-1 values, band by band, and values that no tag calls nodata but that are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.errors import RadiometryError
from cmcr_cli.scene.bands import RADAR_BANDS
from cmcr_cli.scene.radiometry import decibels
from cmcr_cli.warning_kinds import RadarWarning

RadarUnits = Literal["db", "linear"]
Floats = NDArray[np.float32]

DB_MEDIAN = (-50.0, 0.0)
LINEAR_MEDIAN = (0.0, 10.0)
"""Backscatter's median in dB is negative; as linear power it is small and positive (0.1 on land)."""

AMPLITUDE_MEDIAN = (0.22, 0.12)
"""Medians of VV and VH as linear power that few scenes exceed, and most scenes of amplitude do."""

BRIGHTEST_DB = -4.0
"""Median of a scene that no ground has in VV or VH: of 132 real scenes it is -6.7 at most."""

DARKEST_DB = (-18.0, -27.0)
"""Medians of VV and VH that no scene has both: of 132 real ones, open sea is -24.3 and -26.9."""

ALIKE_IN_BOTH = 0.005
"""Share of the pixels that hold one value in VV and VH alike: in no real scene more than 0.001."""

HYP3 = re.compile(r"_RTC\d\d_[A-Z]_[gs]([pad])[a-z]{4}_", re.IGNORECASE)
"""Names of HyP3: power, amplitude or decibel."""

AMPLITUDE = re.compile(r"amplitude", re.IGNORECASE)

FLOOR_DB = -40.0
"""Backscatter that is lower is rare; where many pixels share one value below, it is a floor or a mark."""

IMPOSSIBLE = -70.0
"""Of dB, and of linear power as a number: no radar measures that."""

FEWEST_ALIKE, SHARE_ALIKE = 8, 0.0005
"""Pixels of a sample, and share of it, that hold the lowest value if it is a mark and not a measurement."""

MOST_MARKS = 3


def marks(values: Floats) -> tuple[float, ...]:
    """Find values of a band that stand for no measurement: the lowest ones, where many pixels share them.

    Args:
        values: A sample of the band as it is stored (n,), without what tags say is not valid.

    Returns:
        At most MOST_MARKS values, the lowest first.
    """
    found: list[float] = []
    for _ in range(MOST_MARKS):
        if not values.size:
            break
        lowest = values.min()
        alike = values == lowest
        # As dB, or as power; a whole image of one value is what it is.
        low = lowest < FLOOR_DB or 0 < lowest < 10 ** (FLOOR_DB / 10)
        often = max(FEWEST_ALIKE, SHARE_ALIKE * values.size)
        if not low or alike.all() or alike.sum() < often:
            break
        found.append(float(lowest))
        values = values[~alike]
    return tuple(found)


def units_of(sample: Iterable[Floats], path: str | Path) -> RadarUnits:
    """Tell the units of two bands by the median of each.

    Args:
        sample: Valid values of VV and VH, (n,) each.
        path: Name of the file, for messages.

    Returns:
        Units of both.

    Raises:
        RadiometryError: They fit neither, or the bands contradict each other.
    """
    medians = [float(np.median(values)) for values in sample]
    known = [_by_median(median) for median in medians]
    for median, unit in zip(medians, known, strict=True):
        if unit is None:
            raise RadiometryError(
                f"{path}: the median of its values is {median:.4g}; expected {DB_MEDIAN[0]:g} to "
                f"{DB_MEDIAN[1]:g} (dB) or {LINEAR_MEDIAN[0]:g} to {LINEAR_MEDIAN[1]:g} (linear power). "
                "Calibrate digital numbers first, tag scaled dB with gdal_edit -scale 0.01, or state the "
                "units with --s1-units."
            )
    first, second = known
    if first == "linear" and all(
        (values == np.rint(values)).all() and np.ptp(values) > 0 for values in sample
    ):
        raise RadiometryError(
            f"{path}: holds whole numbers with a median of {medians[0]:.4g}; expected dB or linear power. "
            "These look like uncalibrated digital numbers. Calibrate them first, or state the units with "
            "--s1-units."
        )
    if first is None or first != second:
        raise RadiometryError(
            f"{path}: the medians of its bands are {medians[0]:.4g} and {medians[1]:.4g}, one of dB and one "
            "of linear power; expected VV and VH in one unit. Check that both bands are backscatter, and "
            "convert one of them."
        )
    return first


def check_brightness(sample: Iterable[Floats]) -> tuple[RadarWarning, ...]:
    """Look for dB that are so high or low that they may be something else.

    Args:
        sample: Valid values of VV and VH in dB, (n,) each.

    Returns:
        A warning, if so.
    """
    medians = [float(np.median(values)) for values in sample]
    if max(medians) >= BRIGHTEST_DB:
        odd = "higher than of any ground"
    elif all(median < most for median, most in zip(medians, DARKEST_DB, strict=True)):
        odd = "lower than of any ground or water"
    else:
        return ()
    return (
        RadarWarning(
            f"Sentinel-1: the medians {medians[0]:.3g} and {medians[1]:.3g} dB are {odd}; check that the "
            "bands are calibrated backscatter in dB, 10 log10 of power"
        ),
    )


def check_alike(sample: Iterable[Floats]) -> tuple[RadarWarning, ...]:
    """Look for one value that many pixels hold in VV and VH alike, as if it were no measurement.

    Args:
        sample: Valid values of VV and VH as they are stored, (n,) each.

    Returns:
        A warning, if so.
    """
    vv, vh = sample
    values, counts = np.unique(vv[vv == vh], return_counts=True)
    share = counts.max(initial=0) / max(vv.size, 1)
    if share < ALIKE_IN_BOTH:
        return ()
    return (
        RadarWarning(
            f"Sentinel-1: {share:.1%} of the pixels hold {values[counts.argmax()]:g} in VV and VH, and are "
            "taken as measured; if they are not, tag this value as nodata with gdal_edit -a_nodata"
        ),
    )


def _by_median(median: float) -> RadarUnits | None:
    if DB_MEDIAN[0] <= median < DB_MEDIAN[1]:
        return "db"
    return "linear" if LINEAR_MEDIAN[0] < median < LINEAR_MEDIAN[1] else None


def check_stated(sample: Iterable[Floats], path: str | Path, units: RadarUnits) -> tuple[RadarWarning, ...]:
    """Check units that the user states against the values.

    Args:
        sample: Valid values of VV and VH, (n,) each.
        path: Name of the file, for messages.
        units: What is stated.

    Returns:
        Warnings where they are in doubt.

    Raises:
        RadiometryError: Linear power would be negative.
    """
    low, high = DB_MEDIAN if units == "db" else LINEAR_MEDIAN
    found = []
    for name, values in zip(RADAR_BANDS, sample, strict=True):
        median = float(np.median(values))
        if units == "linear" and median <= 0:
            raise RadiometryError(
                f"{path}: the median of its values is {median:.4g}, but linear power is never negative; "
                "expected --s1-units db, or leave --s1-units out."
            )
        if not low <= median <= high:
            found.append(
                RadarWarning(
                    f"Sentinel-1 is taken as --s1-units {units}, though the median of {name} is "
                    f"{median:.4g}; expected {low:g} to {high:g}"
                )
            )
    return tuple(found)


def is_amplitude(paths: Sequence[str], texts: Sequence[str | None]) -> bool:
    """Tell by names whether files hold amplitude, the square root of power.

    Args:
        paths: Of the files.
        texts: Descriptions of the bands.

    Returns:
        Whether a name of HyP3, or a description, says so.
    """
    hyp3 = [found[1].lower() for path in paths if (found := HYP3.search(Path(path).name))]
    return "a" in hyp3 or any(AMPLITUDE.search(text or "") for text in texts)


def check_amplitude(sample: Iterable[Floats]) -> tuple[RadarWarning, ...]:
    """Look for linear power that is so high that it may be amplitude.

    Args:
        sample: Valid values of VV and VH as linear power, (n,) each.

    Returns:
        A warning, if so.
    """
    medians = [float(np.median(values)) for values in sample]
    if not all(median > most for median, most in zip(medians, AMPLITUDE_MEDIAN, strict=True)):
        return ()
    return (
        RadarWarning(
            f"Sentinel-1: the medians {medians[0]:.3g} and {medians[1]:.3g} are high for linear power; if "
            "the values are amplitude, square them first"
        ),
    )


def to_db(values: Floats, units: RadarUnits) -> Floats:
    """Convert values to dB.

    Args:
        values: In `units`; they may be used up.
        units: Their units.

    Returns:
        dB; NaN where no radar measures such a value.
    """
    db = decibels(values) if units == "linear" else values
    with np.errstate(invalid="ignore"):
        db[db < IMPOSSIBLE] = np.nan
    return db
