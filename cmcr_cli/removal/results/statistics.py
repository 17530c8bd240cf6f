"""Mean reflectance of observed and reconstructed pixels, summed up while rows are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.output.provenance import OBSERVED, RECONSTRUCTED
from cmcr_cli.scene.optical import Optical

EVERY = 4
"""Rows and columns of which one is taken for the means of the bands."""


@dataclass(slots=True)
class Statistics:
    """Counts and sums, taken while rows are written.

    Attributes:
        names: Bands of the scene, in file order.
        sums: Of the pixels that are counted (3, bands): observed, covered before, reconstructed.
        counts: How many these are (3,).
    """

    names: tuple[str, ...]
    sums: NDArray[np.float64] = field(init=False)
    counts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        """Start from nothing."""
        self.sums = np.zeros((3, len(self.names)))
        self.counts = np.zeros(3, np.int64)

    def add(
        self, optical: Optical, before: NDArray[Any], after: NDArray[Any], provenance: NDArray[np.uint8]
    ) -> None:
        """Count rows.

        Args:
            optical: The scene.
            before: DN before (bands, rows, width).
            after: DN after.
            provenance: Their provenance (rows, width).
        """
        few = np.minimum(provenance[::EVERY, ::EVERY], np.uint8(RECONSTRUCTED))
        sources = ((after, OBSERVED), (before, RECONSTRUCTED), (after, RECONSTRUCTED))
        for row, (dn, value) in enumerate(sources):
            chosen = dn[:, ::EVERY, ::EVERY][:, few == value]
            self.sums[row] += optical.radiometry.reflectance(chosen).sum(axis=1, dtype=np.float64)
            self.counts[row] += chosen.shape[1]

    def means(self) -> NDArray[np.float64]:
        """Compute mean reflectances: observed, covered before, and reconstructed.

        Returns:
            Means (3, bands); NaN if there was no pixel.
        """
        with np.errstate(invalid="ignore"):
            return np.asarray(self.sums / np.where(self.counts, self.counts, np.nan)[:, None])
