"""Thin cirrus, as band B10 shows it: taken off the image before anything is learnt from it.

At 1375 nm water vapour hides the ground, and what is left is the light of high, dry clouds; the other bands
hold the same light in fixed proportions (Gao, Han, Tsay and Larsen 1998, "Correction of thin cirrus path
radiances in the 0.4-1.0 um spectral region using the sensitive 1.375 um cirrus detecting channel").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.scene.bands import BANDS

Floats = NDArray[np.float32]

B10 = BANDS.index("B10")

GROUND = np.float32(0.0012)
"""What B10 shows of clear ground."""

WHITE = np.float32(0.75)
"""Reflectance of a veil if it were thick: what it adds, it takes from the ground in proportion."""

SPECTRUM: Floats = np.array([1, 1, 1, 1, 1, 1, 0.97, 0.97, 0.93, 0.6, 0, 0.9, 0.75], np.float32)
"""What cirrus adds to each band, in parts of what it adds to the visible; B10 is kept as it is."""

VISIBLE = np.float32(1.4)
"""What cirrus adds to the visible for 1 in B10: 1.2 to 1.8 in the pairs at hand, with the vapour above it."""


def without_cirrus(image: Floats) -> Floats:
    """Reflectance (13, ...) less the thin cirrus that B10 shows; unchanged where B10 is absent (0)."""
    veil = np.clip(image[B10] - GROUND, 0, np.float32(0.4) / VISIBLE) * VISIBLE
    if not veil.any():
        return image
    added = SPECTRUM.reshape(-1, *[1] * veil.ndim) * veil
    cleared = (image - added) / (1 - added / WHITE)
    return np.asarray(np.maximum(cleared, 0), dtype=np.float32)
