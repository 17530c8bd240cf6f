"""Ridge regressions of a spectrum on a basis, from sums of products, shrunk towards a prior regression.

Where a scene shows no ground, the prior is all there is: what the radar told of the spectrum at other places.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.scene.bands import BANDS

SPECTRUM = slice(1, 1 + len(BANDS))
"""Channels of a sample: its weight, the 13 bands, a constant, the basis."""

CONSTANT = SPECTRUM.stop

PRIOR = Path(__file__).with_name("prior.npz")
"""The prior that was fitted to the training places, by `benchmarks/radar_prior.py`."""

BRIGHT = 0.45
"""Reflectance of B02 and B8A from which on a block is cloud that hides the ground, or snow."""

DARKENED = 0.75, 0.87
"""Ratio of B09 to B8A of bright cloud: up to the first it is Level-1C (41 images: 0.12 to 0.78), from the
second on Level-2A (4 images: 0.85 to 2.4)."""

_BLUE, _B10 = BANDS.index("B02"), BANDS.index("B10")
_ABOVE_CLOUD = [BANDS.index("B8A"), BANDS.index("B09")]


@dataclass(frozen=True, slots=True)
class Prior:
    """A regression of the spectrum on the radar basis that was fitted to many places.

    Attributes:
        levels: Reflectance (2, 13) that is expected without radar, in Level-1C and in Level-2A.
        readout: (13, 1 + basis); maps the radar basis to a deviation from it.
    """

    levels: NDArray[np.float32]
    readout: NDArray[np.float32]

    def mean(self, present: NDArray[np.bool_], vapour: NDArray[np.float64]) -> NDArray[np.float64]:
        """Tell the expected spectrum without radar.

        Without B10 a stack may be of either level. Bright cloud tells which: the vapour above it darkens B09
        in Level-1C only. Without such cloud, the middle of both levels is never far off.

        Args:
            present: Bands of the scene (13,).
            vapour: Sums as `vapour_sums` returns them.

        Returns:
            Reflectance (13,), 0 in absent bands.
        """
        corrected = 0.5
        if present[_B10]:
            corrected = 0.0
        elif present[_ABOVE_CLOUD].all() and vapour[0] > 0:
            first, second = DARKENED
            corrected = float(np.clip((vapour[1] / vapour[0] - first) / (second - first), 0, 1))
        levels = self.levels.astype(np.float64)
        return np.asarray((levels[0] + corrected * (levels[1] - levels[0])) * present)

    def above(
        self, mean: NDArray[np.float64], typical: NDArray[np.floating], present: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Make the readout that maps the radar basis to a deviation from another spectrum.

        Args:
            mean: That spectrum, reflectance (13,).
            typical: The expected spectrum without radar, from `mean`.
            present: Bands of the scene (13,).

        Returns:
            Readout (13, 1 + basis), 0 in absent bands.
        """
        readout = self.readout.astype(np.float64)
        readout[:, 0] += typical - mean
        return np.asarray(readout * present[:, None])


def vapour_sums(optical: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sum what bright cloud shows of the vapour above it. The sums are exact in any order.

    Args:
        optical: Reflectance of blocks (13, ...).

    Returns:
        Sums (2,) of B8A and B09 over blocks with bright cloud.
    """
    bright = (optical[[_BLUE, _ABOVE_CLOUD[0]]] > BRIGHT).all(axis=0)
    return np.asarray(np.rint(optical[_ABOVE_CLOUD][:, bright] * 2**16).sum(axis=1, dtype=np.float64) / 2**16)


@cache
def learnt_prior() -> Prior:
    """Read the prior that comes with cmcr.

    Returns:
        The prior.
    """
    with np.load(PRIOR, allow_pickle=False) as file:
        return Prior(file["levels"], file["readout"])


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
