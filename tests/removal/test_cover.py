from __future__ import annotations

import numpy as np
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from cmcr_cli.removal.cover import CLOUD, REACH, VEIL, Cover
from cmcr_cli.scene.grid import Grid


def grid(height: int, width: int, row0: int = 0, col0: int = 0) -> Grid:
    return Grid(CRS.from_epsg(32631), Affine(10, 0, col0 * 10, 0, -10, -row0 * 10), width, height)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(-9, 9),
    st.integers(-9, 9),
    st.integers(0, 2**31),
    st.data(),
)
def test_marked_pixels_are_covered_and_seams_lie_outside(
    height: int, width: int, row0: int, col0: int, seed: int, data: st.DataObject
) -> None:
    truth = np.random.default_rng(seed).random((height, width)) > 0.97
    cover = Cover.empty(grid(height, width, row0, col0))
    cut = data.draw(st.integers(0, height // 2)) * 2 + (row0 % 2)
    for top, stop in ((0, min(cut, height)), (min(cut, height), height)):
        if stop > top:
            cover.mark(top, truth[top:stop])
    covered, strength = cover.pixels(0, height) == CLOUD, cover.strength(0, height)
    assert covered[truth].all()
    assert (strength[covered] == 1).all() and (strength >= 0).all() and (strength <= 1).all()
    if not truth.any():
        assert not covered.any() and not strength.any()
    rows = data.draw(st.integers(1, height))
    top = data.draw(st.integers(0, height - rows))
    np.testing.assert_allclose(cover.strength(top, rows), strength[top : top + rows], atol=1e-5)
    size = data.draw(st.integers(1, 40))
    y, x = data.draw(st.integers(1 - size, height - 1)), data.draw(st.integers(1 - size, width - 1))
    window = strength[max(y, 0) : max(y + size, 0), max(x, 0) : max(x + size, 0)]
    assert cover.touches(y, x, size) or not window.any()


def test_strength_falls_to_nothing_within_reach() -> None:
    cover = Cover.empty(grid(100, 100))
    covered = np.zeros((100, 100), bool)
    covered[:, :40] = True
    cover.mark(0, covered)
    row = cover.strength(50, 1)[0]
    assert (np.diff(row[39:]) <= 0).all() and 0 < row[44] < 1
    assert row[40 + REACH :].max() == 0
    assert not cover.touches(0, 60, 40)


def test_cells_lie_on_even_map_pixels() -> None:
    cover = Cover.empty(grid(4, 4, row0=1, col0=1))
    covered = np.zeros((4, 4), bool)
    covered[1, 1] = True
    cover.mark(0, covered)
    found = cover.pixels(0, 4)
    assert (found > 0).sum() == 4 and (found[1:3, 1:3] == CLOUD).all()
    cells = cover.cells(0, 3)
    assert (cells > 0).sum() == 1 and cells.shape == (3, 3)


def test_veiled_cells_are_replaced_and_clouds_are_marked_over_them() -> None:
    cover = Cover.empty(grid(40, 40))
    veiled = np.zeros((20, 20), np.uint8)
    veiled[:, :10] = VEIL
    cover.enter(0, veiled)
    assert (cover.strength(0, 40)[:, :20] == 1).all()
    cloud = np.zeros((40, 40), bool)
    cloud[:, 18:24] = True
    cover.mark(0, cloud)
    found = cover.pixels(0, 40)
    assert (found[:, :18] == VEIL).all() and (found[:, 18:24] == CLOUD).all() and not found[:, 24:].any()


@given(st.integers(1, 20), st.integers(1, 40), st.integers(-3, 3), st.integers(0, 2**31))
def test_cells_come_back_as_they_were_entered(height: int, width: int, origin: int, seed: int) -> None:
    cover = Cover.empty(grid(height, width, origin, origin))
    rows = len(cover.planes[0])
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, CLOUD + 1, (rows + 3, cover.columns + 2)).astype(np.uint8)  # more than there are
    cut = int(rng.integers(0, rows + 1))
    cover.enter(0, cells[:cut])
    cover.enter(cut, cells[cut:])
    np.testing.assert_array_equal(cover.cells(0, rows), cells[:rows, : cover.columns])
    np.testing.assert_array_equal(cover.cells(cut, rows), cells[cut:rows, : cover.columns])
    if not origin % 2:
        crop = cells[:rows, : cover.columns]
        np.testing.assert_array_equal(Cover.of(crop, width).cells(0, rows), crop)
