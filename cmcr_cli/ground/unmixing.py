"""Ground under thin cloud, separated from the cloud by the scene's own statistics.

What a covered pixel departs by from its context is ground that differs from what was expected, plus cloud.
How ground varies across the bands is known from the clear pixels, R, and how such departures vary is known
from the covered ones, M = R + cloud. The linear estimate of least mean square error of the ground's part is
then R / M times the residual (Wiener 1949). Clouds change their spectrum as they grow thicker, and the
ground fades, so that M is taken at several levels of visible brightness.

Nothing here needs to know the cloud's spectrum, its opacity or kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.scene.bands import BANDS

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

LEVELS: Floats = np.array([-0.04, 0, 0.05, 0.15, 0.35], np.float32)
"""Mean departures of B02, B03 and B04, in reflectance, for which a matrix is kept; shadow is below 0."""

VISIBLE = slice(BANDS.index("B02"), BANDS.index("B04") + 1)

SHARE = 0.5
"""Of the ground's variance, what the context leaves unexplained under cloud."""

_FEW = 200.0  # pixels of ground that each level is given besides its own
_NOISE = 1e-6  # variance


class Unmixing:
    """Collects departures from the context under cloud, and makes matrices of them."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._count = np.zeros(len(LEVELS))
        self._products = np.zeros((len(LEVELS), len(BANDS), len(BANDS)))

    def add(self, residual: Floats) -> None:
        """Add residuals of covered pixels.

        Args:
            residual: Reflectance minus context (13, n).
        """
        shares = weights(residual[VISIBLE].mean(axis=0)).astype(np.float64)
        values = residual.astype(np.float64)
        self._count += shares.sum(axis=1)
        for share, products in zip(shares, self._products, strict=True):
            used = share > 0
            products += (values[:, used] * share[used]) @ values[:, used].T

    def matrices(self, covariance: Floats) -> Floats:
        """Fit the matrices to all that was added.

        Args:
            covariance: Covariance of clear ground (13, 13).

        Returns:
            One matrix per level (levels, 13, 13).
        """
        ground = SHARE * covariance + _NOISE * np.eye(len(BANDS))
        total = self._products + _FEW * ground
        found = total / (self._count + _FEW)[:, None, None]
        root = np.linalg.cholesky(ground)
        inverse = np.linalg.inv(root)
        # In units of the ground's own variation no direction can vary less than the ground alone.
        variance, directions = np.linalg.eigh(inverse @ found @ inverse.T)
        shrunk = (directions / np.maximum(variance, 1)[:, None]) @ directions.swapaxes(-1, -2)
        # Rounded, so that the last bits of linear algebra libraries cannot be seen in an image.
        return np.asarray(np.rint(root @ shrunk @ inverse * 4096) / 4096, dtype=np.float32)


def weights(brightness: NDArray[Any]) -> Floats:
    """Compute the weights of LEVELS, linear between them.

    Args:
        brightness: Residuals of the visible bands.

    Returns:
        Weights (levels, *shape).
    """
    position = np.interp(brightness, LEVELS, np.arange(len(LEVELS)))
    numbers = np.arange(len(LEVELS)).reshape(-1, *[1] * position.ndim)
    return np.asarray(np.maximum(1 - np.abs(position - numbers), 0), dtype=np.float32)


NOTHING: Floats = np.zeros((len(LEVELS), len(BANDS), len(BANDS)), np.float32)
"""The matrices of a scene of which nothing is known."""
