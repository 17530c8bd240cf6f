from __future__ import annotations

import numpy as np
import pytest

from cmcr_cli.ground.pyramid import block_mean, fill, hats, upsample


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_means_of_blocks(dtype: type) -> None:
    values = np.random.default_rng(0).integers(0, 30_000, (3, 7, 10)).astype(dtype)
    found = block_mean(values)
    assert found.dtype == np.float32 and found.shape == (3, 3, 5)
    np.testing.assert_array_equal(found, values[:, :6].reshape(3, 3, 2, 5, 2).mean(axis=(2, 4)))


def test_the_largest_dn_do_not_overflow() -> None:
    assert block_mean(np.full((2, 2), 65_535, np.uint16)).item() == 65_535


def test_interpolation_is_linear_and_keeps_a_constant() -> None:
    values = np.arange(12, dtype=np.float32).reshape(2, 6).repeat(2, 0)
    found = upsample(values, axis=1)
    assert found.shape == (4, 8)
    np.testing.assert_allclose(np.diff(found, axis=1), 0.5)
    assert (upsample(np.ones((5, 4), np.float32), axis=0) == 1).all()


def test_holes_are_filled_from_around_them() -> None:
    """With the value that all cells have, and the less confidently the farther clear ground is."""
    weight = np.ones((40, 40), np.float32)
    weight[10:30, 10:30] = 0
    sums = np.full((14, 40, 40), 3, np.float32) * weight
    filled = fill(sums, weight, cell=8)
    assert filled.shape == (14, 40, 40)
    np.testing.assert_allclose(filled[:13], 3, rtol=0.02)
    confidence = filled[13]
    assert confidence.max() <= 1 and confidence[0, 0] > 0.9
    assert confidence[20, 20] < confidence[20, 12] < confidence[20, 5]


def test_without_clear_ground_nothing_is_known() -> None:
    nothing = np.zeros((5, 7), np.float32)
    assert not fill(np.zeros((14, 5, 7), np.float32), nothing, cell=8).any()


def test_weights_interpolate_between_cells() -> None:
    """Values of a plane come back, and are constant beyond the outermost centres."""
    size, cells = 4, np.add.outer(10 * np.arange(5), np.arange(6)).astype(np.float32)
    rows, columns = np.arange(1, 14), np.arange(0, 24)
    (down_cells, across_cells), down, across = hats(rows, columns, cells.shape, size)
    found = down @ cells[down_cells, across_cells] @ across.T
    y, x = ((np.clip((at + 0.5) / size - 0.5, 0, n - 1)) for at, n in ((rows, 5), (columns, 6)))
    np.testing.assert_allclose(found, 10 * y[:, None] + x, rtol=1e-5, atol=1e-5)
    assert down_cells.start == 0 and down_cells.stop == 4
