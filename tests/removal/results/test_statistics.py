from __future__ import annotations

import numpy as np
import pytest

from cmcr_cli.output.provenance import NODATA, OBSERVED, RECONSTRUCTED
from cmcr_cli.removal.results.statistics import EVERY, Statistics
from tests.support.strips import optical

NAMES = ("B02", "B03")


def test_means_are_of_one_pixel_in_sixteen() -> None:
    statistics = Statistics(NAMES)
    scene = optical(NAMES, np.uint16, 0)  # with an offset of -1000
    provenance = np.full((2 * EVERY, 4 * EVERY), OBSERVED, np.uint8)
    provenance[:, : 2 * EVERY] = RECONSTRUCTED
    provenance[EVERY:, 3 * EVERY :] = NODATA
    before, after = (np.full((2, *provenance.shape), dn, np.uint16) for dn in (7000, 3000))
    after[1] += 1000
    after[:, 1::EVERY] = 60_000  # rows that the means do not look at
    statistics.add(scene, before, after, provenance)
    statistics.add(scene, before[:, :0], after[:, :0], provenance[:0])
    np.testing.assert_allclose(statistics.means(), [[0.2, 0.3], [0.6, 0.6], [0.2, 0.3]], rtol=1e-6)


def test_rows_add_up_as_the_whole_does() -> None:
    rng, whole, parts = np.random.default_rng(0), Statistics(NAMES), Statistics(NAMES)
    scene = optical(NAMES, np.uint16, 0)
    before, after = rng.integers(1000, 9000, (2, 2, 64, 40)).astype(np.uint16)
    provenance = rng.integers(0, 3, (64, 40)).astype(np.uint8)
    whole.add(scene, before, after, provenance)
    for rows in (slice(0, 16), slice(16, 64)):
        parts.add(scene, before[:, rows], after[:, rows], provenance[rows])
    assert np.array_equal(whole.counts, parts.counts)
    np.testing.assert_allclose(whole.means(), parts.means(), rtol=1e-12)


def test_what_was_not_there_has_no_mean() -> None:
    statistics = Statistics(NAMES)
    assert np.isnan(statistics.means()).all()
    scene, dn = optical(NAMES, np.uint16, 0), np.full((2, 8, 8), 2000, np.uint16)
    statistics.add(scene, dn, dn, np.full((8, 8), OBSERVED, np.uint8))
    assert statistics.means()[0] == pytest.approx([0.1, 0.1]) and np.isnan(statistics.means()[1:]).all()
