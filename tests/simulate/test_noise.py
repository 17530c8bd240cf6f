from __future__ import annotations

import numpy as np
import pytest

from cmcr_cli.simulate.noise import Window, fbm, key_of, octave, octave_at, pixel_keys, smoothstep, voronoi


def test_noise_has_zero_mean_and_unit_variance() -> None:
    window = Window(0, 0, 1000, 1000)
    for values in (octave(key_of(1, "a"), window, 12.0), fbm(key_of(1, "b"), window, 40.0, 5)):
        assert values.mean() == pytest.approx(0, abs=0.03)
        assert values.std() == pytest.approx(1, abs=0.1)
    rows, cols = np.mgrid[0:600, 0:600] / 12.0
    assert octave_at(key_of(1, "c"), rows, cols).std() == pytest.approx(1, abs=0.1)


def test_voronoi_borders_lie_between_cells() -> None:
    y, x = (axis.astype(np.float32) for axis in np.mgrid[0:200, 0:200])
    cells = voronoi(key_of(2, "cells"), y, x, 25.0)
    border = cells.keys[:, 1:] != cells.keys[:, :-1]
    near = np.minimum(cells.edge[:, 1:], cells.edge[:, :-1])
    assert near[border].max() <= 1
    assert cells.edge.min() >= 0
    same = border & (near < 0.3)
    assert (cells.edge_keys[:, 1:] == cells.edge_keys[:, :-1])[same].mean() > 0.9


def test_windows_know_their_place_in_others() -> None:
    window = Window(7, -5, 10, 12)
    assert window.aligned(6) == Window(6, -6, 12, 18) and window.grown(2) == Window(5, -7, 14, 16)
    assert window.shifted(3, -1) == Window(10, -6, 10, 12)
    outer = window.aligned(6)
    pixels = pixel_keys(key_of(1, "x"), outer)
    assert np.array_equal(pixels[window.slices_in(outer)], pixel_keys(key_of(1, "x"), window))


def test_smoothstep() -> None:
    found = smoothstep(-1, 3, np.array([-2, -1, 1, 3, 9], np.float32))
    assert found.dtype == np.float32 and found.tolist() == [0, 0, 0.5, 1, 1]
