from __future__ import annotations

import numpy as np

from cmcr_cli.output.provenance import NODATA, OBSERVED, RECONSTRUCTED, provenance_of


def test_only_measured_pixels_are_observed_or_reconstructed() -> None:
    valid = np.array([[True, True, False, False]])
    strength = np.array([[0, 0.01, 0, 1]], np.float32)
    assert provenance_of(valid, strength).tolist() == [[OBSERVED, RECONSTRUCTED, NODATA, NODATA]]
