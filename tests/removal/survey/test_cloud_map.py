from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from cmcr_cli.ground import cirrus
from cmcr_cli.removal.survey.cloud_map import (
    CELL,
    CIRRUS,
    CLOUD,
    EDGE_REACH,
    SEEN_CIRRUS,
    CloudMap,
    lifted_cells,
    thin_cirrus,
    treatment,
)
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.masks.mask_codes import CLEAR, SHADOW, THICK, THIN


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
    rng = np.random.default_rng(seed)
    truth = rng.random((height, width)) > 0.97
    classes = np.where(truth, rng.integers(THICK, SHADOW + 1, truth.shape), CLEAR).astype(np.uint8)
    cover = CloudMap.empty(grid(height, width, row0, col0))
    cut = data.draw(st.integers(0, height // 2)) * 2 + (row0 % 2)
    for top, stop in ((0, min(cut, height)), (min(cut, height), height)):
        if stop > top:
            cover.mark(top, classes[top:stop])
    covered, strength = cover.pixels(0, height) == CLOUD, cover.strength(0, height)
    assert covered[truth].all()
    assert (strength[covered] == 1).all() and (strength >= 0).all() and (strength <= 1).all()
    if not truth.any():
        assert not covered.any() and not strength.any()
    rows = data.draw(st.integers(1, height))
    top = data.draw(st.integers(0, height - rows))
    np.testing.assert_allclose(cover.strength(top, rows), strength[top : top + rows], atol=1e-5)
    np.testing.assert_array_equal(cover.replaced(top, rows), strength[top : top + rows] > 0)
    size = data.draw(st.integers(1, 40))
    y, x = data.draw(st.integers(1 - size, height - 1)), data.draw(st.integers(1 - size, width - 1))
    window = strength[max(y, 0) : max(y + size, 0), max(x, 0) : max(x + size, 0)]
    assert cover.touches(y, x, size) or not window.any()


def test_strength_falls_to_nothing_within_reach() -> None:
    cover = CloudMap.empty(grid(100, 100))
    covered = np.zeros((100, 100), np.uint8)
    covered[:, :40] = SHADOW
    cover.mark(0, covered)
    row = cover.strength(50, 1)[0]
    assert (np.diff(row[39:]) <= 0).all() and 0 < row[44] < 1
    assert row[40 + EDGE_REACH :].max() == 0
    assert not cover.touches(0, 60, 40)


def test_cells_lie_on_even_map_pixels() -> None:
    cover = CloudMap.empty(grid(4, 4, row0=1, col0=1))
    covered = np.zeros((4, 4), np.uint8)
    covered[1, 1] = THIN
    cover.mark(0, covered)
    found = cover.pixels(0, 4)
    assert (found > 0).sum() == 4 and (found[1:3, 1:3] == CLOUD).all()
    cells = cover.cells(0, 3)
    assert (cells > 0).sum() == 1 and cells.shape == (3, 3)


def test_cells_of_thin_cloud_are_replaced_and_clouds_are_marked_over_them() -> None:
    cover = CloudMap.empty(grid(40, 40))
    thin = np.zeros((20, 20), np.uint8)
    thin[:, :10] = THIN
    cover.enter(0, thin, thin == THIN)
    assert (cover.strength(0, 40)[:, :20] == 1).all()
    assert (cover.pixels(0, 40)[:, :20] == CIRRUS).all() and not cover.pixels(0, 40)[:, 20:].any()
    cloud = np.zeros((20, 40), np.uint8)
    cloud[:, :20], cloud[:, 18:24] = THIN, THICK
    cover.mark(0, cloud)
    found = cover.pixels(0, 40)
    assert (found[:20, :24] == CLOUD).all(), "what is marked is not known to be lifted"
    assert (found[20:, :20] == CIRRUS).all() and not found[20:, 20:].any() and not found[:20, 24:].any()


@given(st.integers(1, 20), st.integers(1, 40), st.integers(-3, 3), st.integers(0, 2**31))
def test_cells_come_back_as_they_were_entered(height: int, width: int, origin: int, seed: int) -> None:
    cover = CloudMap.empty(grid(height, width, origin, origin))
    rows = len(cover.planes[0])
    assert cover.shape == (rows, cover.columns)
    rng = np.random.default_rng(seed)
    cells = rng.integers(CLEAR, SHADOW + 1, (rows + 3, cover.columns + 2)).astype(np.uint8)  # more than are
    lifted = rng.random(cells.shape) > 0.5
    cut = int(rng.integers(0, rows + 1))
    cover.enter(0, cells[:cut], lifted[:cut])
    cover.enter(cut, cells[cut:], lifted[cut:])
    crop, up = cells[:rows, : cover.columns], lifted[:rows, : cover.columns]
    np.testing.assert_array_equal(cover.cells(0, rows), crop)
    np.testing.assert_array_equal(cover.cells(cut, rows), crop[cut:])
    y, x = ((np.arange(size) + origin % CELL) // CELL for size in (height, width))
    np.testing.assert_array_equal(cover.classes(0, height), crop[y[:, None], x])
    np.testing.assert_array_equal(cover.to_pixels(crop, 0, height), crop[y[:, None], x])
    expected = np.where(crop == CLEAR, 0, np.where(up, CIRRUS, CLOUD))[y[:, None], x]
    np.testing.assert_array_equal(cover.pixels(0, height), expected)
    top = int(rng.integers(0, height))
    np.testing.assert_array_equal(cover.classes(top, height - top), crop[y[top:, None], x])
    np.testing.assert_array_equal(cover.to_pixels(crop, top, height - top), crop[y[top:, None], x])
    np.testing.assert_array_equal(cover.pixels(top, height - top), expected[top:])
    if not origin % 2:
        np.testing.assert_array_equal(CloudMap.of(crop, width).cells(0, rows), crop)


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 2**31))
def test_a_cell_takes_the_class_of_its_most_opaque_pixel(
    height: int, width: int, row0: int, col0: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    classes = rng.choice(4, (height, width), p=(0.7, 0.1, 0.1, 0.1)).astype(np.uint8)
    cover = CloudMap.empty(grid(height, width, row0, col0))
    cover.mark(0, classes)
    found = cover.classes(0, height)
    opacity = {CLEAR: 0, THIN: 1, SHADOW: 2, THICK: 3}
    for y in range(height):
        for x in range(width):
            top, left = y - (y + row0) % CELL, x - (x + col0) % CELL
            cell = classes[max(top, 0) : top + CELL, max(left, 0) : left + CELL]
            assert found[y, x] == max(cell.flat, key=lambda kind: opacity[kind])


def test_what_is_written_of_cells_leads_to_the_same_cells() -> None:
    """`cmcr mask` writes `classes`, and `remove` marks with them."""
    rng = np.random.default_rng(4)
    cover, again = (CloudMap.empty(grid(31, 29, 7, 13)) for _ in range(2))
    cells = rng.integers(CLEAR, SHADOW + 1, cover.shape).astype(np.uint8)
    cover.enter(0, cells, np.zeros(cells.shape, bool))
    again.mark(0, cover.classes(0, 31))
    assert np.array_equal(again.planes, cover.planes)


TYPICAL_RATIO = cirrus.TYPICAL_RATIO
SEEN, LIFTABLE = (float(cirrus.GROUND + each / TYPICAL_RATIO) for each in (SEEN_CIRRUS, cirrus.THIN))
"""Reflectances of B10 at which cirrus begins to be seen, and ceases to be subtracted well."""


def test_only_thin_cloud_that_b10_shows_well_is_lifted() -> None:
    levels = [0, float(cirrus.GROUND), SEEN - 1e-4, SEEN + 1e-4, LIFTABLE - 1e-4, LIFTABLE + 1e-4, 0.5]
    b10 = np.array([levels] * 4, np.float32)
    classes = np.repeat(np.array([[CLEAR], [THICK], [THIN], [SHADOW]], np.uint8), len(levels), 1)
    lifted = lifted_cells(classes, b10, TYPICAL_RATIO)
    assert not lifted[[CLEAR, THICK, SHADOW]].any()
    assert lifted[THIN].tolist() == [False, False, False, True, True, False, False]
    # What the scene taught of its cirrus moves the limits.
    assert lifted_cells(classes, b10, np.float32(2 * TYPICAL_RATIO))[THIN, 2:6].tolist() == [
        True,
        True,
        False,
        False,
    ]
    assert treatment(classes, lifted)[THIN].tolist() == [CLOUD] * 3 + [CIRRUS] * 2 + [CLOUD] * 2
    assert set(treatment(classes, lifted)[[THICK, SHADOW]].flat) == {CLOUD}
    assert not treatment(classes, np.ones(classes.shape, bool))[CLEAR].any()


def test_what_is_bright_is_more_than_thin_cirrus() -> None:
    b10 = np.full(3, SEEN + 1e-3, np.float32)
    shown = thin_cirrus(b10, np.array([0.1, 0.18, 0.25], np.float32))
    assert shown.tolist() == [b10[0], b10[0], 0]
    assert lifted_cells(np.full(3, THIN, np.uint8), shown, TYPICAL_RATIO).tolist() == [True, True, False]


@pytest.mark.parametrize(("row0", "col0"), [(0, 0), (7, 13), (-1, 2)])
def test_lifting_keeps_the_classes_and_takes_the_cells_of_the_rows(row0: int, col0: int) -> None:
    cover = CloudMap.empty(grid(24, 20, row0, col0))
    rng = np.random.default_rng(2)
    cells = rng.integers(CLEAR, SHADOW + 1, cover.shape).astype(np.uint8)
    cover.enter(0, cells, np.zeros(cells.shape, bool))
    b10 = rng.choice([0, SEEN + 1e-3, 0.5], (len(cells) + 1, cover.columns + 1)).astype(np.float32)
    cut = 12 - row0 % CELL
    first = (cut + row0 % CELL) // CELL
    cover.lift(0, cut, b10[:first], TYPICAL_RATIO)
    cover.lift(cut, 24 - cut, b10[first:], TYPICAL_RATIO)
    assert np.array_equal(cover.cells(0, len(cells)), cells)
    seen = b10[: len(cells), : cover.columns] == np.float32(SEEN + 1e-3)
    expected = treatment(cells, (cells == THIN) & seen)
    assert (expected == CIRRUS).any()
    assert np.array_equal(cover.pixels(0, 24), cover.to_pixels(expected, 0, 24))
