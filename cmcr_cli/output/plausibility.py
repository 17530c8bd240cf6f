"""Whether an output can be right: signs of a wrong mask, offset or unit, which are no errors of a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.output.catalogue.cover import per_cent
from cmcr_cli.scene.optical import Optical

MOST_COVERED = 0.99
"""Share of reconstructed pixels above which a mask, rather than the weather, is to blame."""

FAR_STD, FAR = 3.0, 0.05
"""Standard deviations of the observed ground, and reflectance, beyond which a mean is far from its mean."""

FEW_BANDS = 3
"""Bands with a mean that is far: fewer may be water below the cloud, or snow."""

STEP = 4
"""One in 4 x 4 pixels is looked at."""


class Plausibility:
    """Shares and means of the pixels of an output, strip by strip."""

    def __init__(self, made: Optical, *, told: bool) -> None:
        """Look at nothing yet.

        Args:
            made: The output.
            told: Whether its provenance tells which pixels are reconstructed, or their values.
        """
        self._made, self._what = made, "are reconstructed" if told else "differ from the source"
        self.counts = np.zeros(2, np.int64)  # observed, reconstructed: all pixels, unlike all that follows
        self._counts = np.zeros(2, np.int64)
        self._sums = np.zeros((3, len(made.names)))  # observed, their squares, reconstructed

    def add(self, dn: NDArray[Any], valid: NDArray[np.bool_], new: NDArray[np.bool_]) -> None:
        """Take rows into account.

        Args:
            dn: Of the output (bands, rows, width).
            valid: Where it holds values (rows, width).
            new: Where these are reconstructed (rows, width).
        """
        self.counts += np.count_nonzero(valid & ~new), np.count_nonzero(valid & new)
        every = (slice(None, None, STEP),) * 2
        values = self._made.radiometry.reflectance(dn[(slice(None), *every)]).astype(np.float64)
        new, old = (valid & new)[every], (valid & ~new)[every]
        self._counts += old.sum(), new.sum()
        seen = values[:, old]
        self._sums += seen.sum(axis=1), (seen**2).sum(axis=1), values[:, new].sum(axis=1)

    @property
    def share(self) -> float:
        """Part of the valid pixels that is reconstructed, 0 to 1."""
        return float(self.counts[1] / max(self.counts.sum(), 1))

    def doubts(self) -> dict[str, tuple[bool, str]]:
        """Judge what was counted.

        Returns:
            For each question whether the answer is odd, and the answer in words.
        """
        old, new = map(int, self._counts)
        found = {
            "reconstructed": (
                self.share > MOST_COVERED,
                f"{per_cent(self.share)} of the valid pixels {self._what}"
                + (": check the mask with cmcr mask" if self.share > MOST_COVERED else ""),
            )
        }
        if old and new:
            mean = self._sums[0] / old
            std = np.sqrt(np.maximum(self._sums[1] / old - mean**2, 0))
            apart = np.abs(self._sums[2] / new - mean)
            far = [
                self._made.names[place] for place in np.flatnonzero(apart > np.maximum(FAR_STD * std, FAR))
            ]
            odd = len(far) >= FEW_BANDS
            text = (
                f"reconstructed and observed pixels differ by at most {apart.max():.3f} in the mean of a band"
            )
            if odd:
                text += f", far in {' '.join(far)}: check offset, bands and units with cmcr info"
            found["means"] = odd, text
        return found
