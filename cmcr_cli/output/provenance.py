"""Origin of each pixel: the codes of a provenance raster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NODATA, OBSERVED, RECONSTRUCTED = range(3)
"""No measurement, a copy of what was measured, synthetic."""

MEANING = "0 nodata, 1 observed, 2 reconstructed"


def provenance_of(valid: NDArray[np.bool_], strength: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Tell what becomes of pixels.

    Args:
        valid: Where there is a measurement (rows, width).
        strength: How much of each pixel is replaced, 0 to 1.

    Returns:
        NODATA, OBSERVED or RECONSTRUCTED (rows, width).
    """
    provenance = np.where(valid, OBSERVED, NODATA).astype(np.uint8)
    provenance[valid & (strength > 0)] = RECONSTRUCTED
    return provenance
