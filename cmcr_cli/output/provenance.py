"""Origin of each pixel: the codes of a provenance raster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NODATA, OBSERVED, RECONSTRUCTED, WITH_REFERENCE = range(4)
"""No measurement, a copy of what was measured, synthetic, synthetic with the help of another date."""

NO_SOURCE = 255
"""In a raster of `--source-date`: no measurement."""


def provenance_of(
    valid: NDArray[np.bool_], strength: NDArray[np.float32], source: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Tell what becomes of pixels.

    Args:
        valid: Where there is a measurement (rows, width).
        strength: How much of each pixel is replaced, 0 to 1.
        source: Number of the reference that counts most, 0 where it is none; None: there are no references.

    Returns:
        One of the four codes for each pixel (rows, width).
    """
    provenance = np.where(valid, OBSERVED, NODATA).astype(np.uint8)
    provenance[valid & (strength > 0)] = RECONSTRUCTED
    if source is not None:
        provenance[(provenance == RECONSTRUCTED) & (source > 0)] = WITH_REFERENCE
    return provenance
