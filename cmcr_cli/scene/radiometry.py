"""DN to reflectance and back, linear power to dB, and where there is a measurement.

What both passes over a scene compute is written once, for arrays of numpy and tensors of torch alike:
`Numbers` is either, and only operators and methods are used that both have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Numbers = TypeVar("Numbers", bound=Any)

QUANTIFICATION = 10_000
"""DN of reflectance 1 in every Sentinel-2 product so far."""

RADAR_FLOOR_DB = np.array([-25.0, -32.5], dtype=np.float32)
"""VV and VH below this are clipped; both are clipped at 0 dB above."""


@dataclass(frozen=True, slots=True)
class Radiometry:
    """Relation of a file's DN to reflectance: reflectance = (DN + offset) / quantification.

    Attributes:
        offset: DN.
        quantification: DN of reflectance 1.
    """

    offset: float = 0.0
    quantification: float = QUANTIFICATION

    def reflectance(self, dn: NDArray[Any]) -> NDArray[np.float32]:
        """Convert DN to reflectance.

        Args:
            dn: DN of any dtype, or means of them.

        Returns:
            Reflectance, not clipped.
        """
        return self.scaled(dn.astype(np.float32))

    def scaled(self, values: Numbers) -> Numbers:
        """Convert DN to reflectance in place, for arrays and tensors alike.

        Args:
            values: DN as float32.

        Returns:
            The same array or tensor, reflectance.
        """
        values += self.offset
        values /= self.quantification
        return values

    def unscaled(self, values: Numbers, dtype: np.dtype[Any], nodata: float | None) -> Numbers:
        """Convert float32 reflectance, which is used up, to the DN that a file stores.

        A reconstructed pixel must never read as nodata, so a value that rounds to it moves by one DN.

        Args:
            values: Reflectance.
            dtype: Of the file.
            nodata: Of the file.

        Returns:
            DN as float32: whole numbers that `dtype` can hold, and none of them `nodata`.
        """
        limits = np.iinfo(dtype)
        low, high = limits.min + (nodata == limits.min), limits.max - (nodata == limits.max)
        values *= self.quantification
        values -= self.offset
        whole: Numbers = values.round().clip(low, high)
        if nodata is not None and low < nodata < high:
            whole[whole == nodata] = nodata + 1
        return whole

    def dn(
        self, reflectance: NDArray[np.float32], dtype: np.dtype[Any], nodata: float | None
    ) -> NDArray[Any]:
        """Convert reflectance to DN, see `unscaled`.

        Args:
            reflectance: Reflectance.
            dtype: Data type of the DN.
            nodata: Nodata value, which is never produced.

        Returns:
            DN of `dtype`.
        """
        return self.unscaled(reflectance.copy(), dtype, nodata).astype(dtype)


def measured(bands: Iterable[Numbers], names: Sequence[str], empty: float) -> Numbers:
    """Tell where DN hold a measurement: where any band but B10 is not empty.

    A single 0 is a dark pixel, and in B10 the usual one.

    Args:
        bands: DN, band by band.
        names: Of the bands.
        empty: What they hold where nothing was measured.

    Returns:
        Booleans of the shape of one band.
    """
    valid: Any = None
    for name, band in zip(names, bands, strict=True):
        if name != "B10":
            valid = band != empty if valid is None else valid | (band != empty)
            if valid.all():  # mostly so from the first band on
                break
    found: Numbers = valid
    return found


def decibels(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert linear power to dB.

    Args:
        power: Backscatter, linear power.

    Returns:
        dB; NaN where the power is not positive.
    """
    positive = np.where(power > 0, power, np.float32(np.nan))
    return np.asarray(10 * np.log10(positive), dtype=np.float32)


def scaled_radar(db: Numbers, floor: Any = None) -> Numbers:
    """Scale VV and VH in dB to [-1, 1] over the clipping range of each.

    Args:
        db: Backscatter (2, ...).
        floor: RADAR_FLOOR_DB where `db` is, of a shape that is broadcast against it; None: made for an array.

    Returns:
        Scaled backscatter; NaN becomes -1.
    """
    if floor is None:
        floor = RADAR_FLOOR_DB.reshape(2, *[1] * (db.ndim - 1))
    scaled = 1 - 2 * db.clip(floor, 0 * floor) / floor
    scaled[scaled != scaled] = -1
    found: Numbers = scaled
    return found
