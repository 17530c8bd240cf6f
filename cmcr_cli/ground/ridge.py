"""Ridge regressions of a spectrum on a basis, from sums of products, shrunk towards a prior regression."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.scene.bands import BANDS

SPECTRUM = slice(1, 1 + len(BANDS))
"""Channels of a sample: its weight, the 13 bands, a constant, the basis."""

CONSTANT = SPECTRUM.stop


def ridge(
    gram: NDArray[Any], mean: NDArray[np.float64], prior: NDArray[np.float64], strength: float, few: float
) -> NDArray[np.float64]:
    """Fit readouts that map a basis to a deviation of the spectrum from `mean`.

    The regression is shrunk towards `prior`: each slope by `strength` and by few / n, the level by few / n,
    where n is the number of samples. Slopes count in units of the standard deviation of their input.

    Args:
        gram: Sums of products of the channels over samples (..., channels, channels). Channels are a weight,
            the 13 bands, a constant that is 1 where the sample takes part, and the basis, 0 elsewhere.
        mean: Reflectance (13,) that the spectrum is compared with.
        prior: A readout (13, 1 + basis).
        strength: Of the penalty.
        few: Samples that count as much as the prior.

    Returns:
        Readouts (..., 13, 1 + basis).
    """
    gram = gram.astype(np.float64)
    basis = slice(CONSTANT + 1, gram.shape[-1])
    weight = gram[..., CONSTANT, CONSTANT]
    count = np.maximum(weight, 1)[..., None]
    level, centre = gram[..., CONSTANT, SPECTRUM] / count, gram[..., CONSTANT, basis] / count
    covariance = gram[..., basis, basis] / count[..., None] - centre[..., :, None] * centre[..., None, :]
    cross = gram[..., basis, SPECTRUM] / count[..., None] - centre[..., :, None] * level[..., None, :]
    cross -= covariance @ prior[:, 1:].T
    scale = np.sqrt(np.maximum(np.diagonal(covariance, axis1=-2, axis2=-1), 1e-6))[..., None]
    covariance /= scale * scale.swapaxes(-1, -2)
    share = few / count
    covariance += (strength + share[..., None]) * np.eye(covariance.shape[-1])
    slopes = (np.linalg.solve(covariance, cross / scale) / scale).swapaxes(-1, -2)
    offset = level - mean - prior[:, 0] - centre @ prior[:, 1:].T
    offset *= weight[..., None] / (count * (1 + share))
    intercept = offset - (slopes @ centre[..., None])[..., 0]
    return np.asarray(prior + np.concatenate([intercept[..., None], slopes], axis=-1))
