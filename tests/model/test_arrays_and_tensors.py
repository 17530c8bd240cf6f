"""Formulas of `scene` that arrays and tensors share. Here, since the tests of `scene` do without torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cmcr_cli.scene.radiometry import RADAR_FLOOR_DB, measured, scaled_radar


def test_radar_is_scaled_alike_in_arrays_and_tensors() -> None:
    db = np.random.default_rng(0).normal(-15, 12, (2, 9, 7)).astype(np.float32)
    db[0, 0, :3] = np.nan, np.inf, -np.inf
    floor = torch.from_numpy(RADAR_FLOOR_DB)[:, None, None]
    found = scaled_radar(torch.from_numpy(db)[None], floor)[0].numpy()
    np.testing.assert_array_equal(found, scaled_radar(db))
    assert found.dtype == np.float32 and np.abs(found).max() <= 1


@pytest.mark.parametrize("empty", [0, 7])
def test_measurements_are_told_alike_in_arrays_and_tensors(empty: int) -> None:
    names = ("B04", "B10", "B11")
    dn = np.random.default_rng(0).choice(np.array([0, 7, 9], np.uint16), (3, 5, 6))
    bits = torch.from_numpy(dn.view(np.int16))
    assert measured(list(bits), names, empty).tolist() == measured(dn, names, empty).tolist()
