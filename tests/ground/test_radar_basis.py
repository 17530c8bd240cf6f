from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cmcr_cli.ground.radar_basis import MARGIN, RADAR_BASIS, radar_basis, rounded


def _radar(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    level = np.array([-11, -18], np.float32)[:, None, None]
    return (level + rng.normal(0, 3, (2, height + 2 * MARGIN, width + 2 * MARGIN))).astype(np.float32)


def test_there_is_one_block_more_on_each_side() -> None:
    radar = _radar(20, 34)
    assert radar_basis(radar, np.ones(radar.shape[1:], bool)).shape == (1 + RADAR_BASIS, 12, 19)


def test_chosen_blocks_are_those_of_the_window() -> None:
    radar = _radar(20, 34)
    valid = np.ones(radar.shape[1:], bool)
    whole = radar_basis(radar, valid)[:, 1:-1, 1:-1]
    np.testing.assert_array_equal(radar_basis(radar, valid, (..., slice(2, 7), slice(3))), whole[:, 2:7, :3])
    some = (..., slice(1, None, 2), slice(None, None, 4))
    np.testing.assert_array_equal(radar_basis(radar, valid, some), whole[some])


def test_a_block_does_not_depend_on_the_window() -> None:
    radar = _radar(64, 64)
    valid = np.random.default_rng(3).random(radar.shape[1:]) > 0.1
    whole = radar_basis(radar, valid)
    down, across = (slice(start, start + 24 + 2 * MARGIN) for start in (16, 30))
    part = radar_basis(radar[:, down, across], valid[down, across])
    np.testing.assert_array_equal(part, whole[:, 8 : 8 + 14, 15 : 15 + 14])


def test_values_are_saturated_and_few_bits_wide() -> None:
    radar = _radar(32, 32)
    basis = radar_basis(radar, np.ones(radar.shape[1:], bool))
    assert np.abs(basis).max() == 1 and np.array_equal(basis * 1024, np.rint(basis * 1024))
    assert (basis[0] == 1).all() and (basis[1:].std(axis=(1, 2)) > 0.01).mean() > 0.8


@pytest.mark.parametrize(("hole", "bridged"), [(4, True), (24, False)])
def test_small_holes_are_bridged(hole: int, bridged: bool) -> None:
    radar = _radar(64, 64)
    valid = np.ones(radar.shape[1:], bool)
    middle = slice(MARGIN + 32 - hole // 2, MARGIN + 32 + hole // 2)
    valid[middle, middle] = False
    values = [radar_basis(np.where(valid, radar, np.float32(absurd)), valid) for absurd in (np.nan, 0)]
    np.testing.assert_array_equal(*values)
    assert (values[0][0] == 1).all() == bridged
    assert not values[0][1:, values[0][0] == 0].any() and np.isfinite(values[0]).all()


def test_rounding_is_to_the_nearest_multiple() -> None:
    assert rounded(np.array([0.24, 0.26, -0.3], np.float32), 1).tolist() == [0.0, 0.5, -0.5]
