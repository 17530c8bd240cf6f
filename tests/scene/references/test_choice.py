from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rasterio import Affine
from rasterio.crs import CRS

from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.references.choice import (
    LOOK_SIDE,
    SCL_CLEAR,
    coarse_grid,
    look_at,
    ranked,
    seems_clear,
    worth,
)
from tests.support.rasters import CORNER, UTM31, write

if TYPE_CHECKING:
    from tests.support.rasters import Write

__all__ = ["write"]

DAY = date(2024, 6, 1)
GROUND = dict(zip(BANDS, (900, 800, 800, 600, 1200, 2200, 2600, 2800, 2900, 900, 10, 1700, 900), strict=True))
SAND = GROUND | {"B02": 2200, "B03": 2800, "B04": 3600}
CLOUD = dict.fromkeys(BANDS, 5000)
CIRRUS = GROUND | {"B10": 200}


def image(*columns: dict[str, int], size: int = 40) -> Any:
    """DN (13, size, size), divided between kinds of pixels from left to right."""
    parts = [np.array([kind[name] for name in BANDS], np.uint16) for kind in columns]
    row = np.stack(parts, axis=1).repeat(size // len(parts), axis=1)
    return row[:, np.newaxis].repeat(size, axis=1)


def test_clouds_and_cirrus_are_seen_and_sand_is_not_cloud(write: Write) -> None:
    dn = image(GROUND, SAND, CLOUD, CIRRUS)
    with open_optical(write("s2.tif", dn)) as optical:
        assert seems_clear(optical, dn, BANDS)[0, ::10].tolist() == [True, True, False, False]
        few = dn[[1, 2, 3]]
        assert seems_clear(optical, few, BANDS[1:4])[0, ::10].tolist() == [True, True, False, True]


def test_a_look_is_coarse_and_lies_over_the_scene(write: Write) -> None:
    """A reference that begins within the scene, of which a part is cloud, and a part nodata."""
    dn = image(GROUND, CLOUD, size=400)
    dn[:, 200:] = 0
    with open_optical(write("s2.tif", np.roll(dn, 0))) as scene:
        grid = coarse_grid(scene.grid)
    assert (grid.width, grid.height) == (LOOK_SIDE, LOOK_SIDE)
    assert grid.corners == pytest.approx(scene.grid.corners)
    path = write("other.tif", dn, transform=Affine(10, 0, CORNER.c + 1000, 0, -10, CORNER.f))
    with open_optical(path, onto=scene.grid) as optical:
        look = look_at(optical, grid)
    assert look.valid.mean() == pytest.approx(0.75 / 2, abs=0.02)
    assert look.clear.mean() == pytest.approx(0.5 / 2, abs=0.02)
    assert not look.valid[:, : LOOK_SIDE // 4 - 1].any() and look.clear[0, LOOK_SIDE // 2]


def test_a_classification_is_believed(make_product: Callable[..., Any]) -> None:
    product = make_product()
    with open_optical(product.folder) as scene:
        look = look_at(scene, coarse_grid(scene.grid))
        bright = ~seems_clear(scene, product.dn, scene.names)
    clear = np.isin(product.scl, SCL_CLEAR) & (product.dn > 0).any(axis=0)
    assert look.clear.mean() == pytest.approx(clear.mean(), abs=0.02)
    assert abs((~bright).mean() - clear.mean()) > 0.05


def test_a_look_at_another_zone(write: Write) -> None:
    with open_optical(write("s2.tif", image(GROUND))) as optical:
        left, _, _, top = optical.grid.footprint(CRS.from_epsg(32632)).bounds
    grid = Grid(CRS.from_epsg(32632), Affine(10, 0, round(left), 0, -10, round(top)), 45, 45)
    with open_optical(optical.path, onto=grid) as optical:
        assert 0.6 < look_at(optical, coarse_grid(grid)).clear.mean() < 0.95


def test_what_is_near_in_time_or_in_season_is_worth_more() -> None:
    days = (0, 5, -20, 60, 365, -730, 180)
    values = [worth(DAY, DAY + timedelta(days=each)) for each in days]
    assert values[0] == 1
    assert values[0] > values[1] > values[2] > values[4] > values[3] and values[4] > values[5] > values[6] > 0
    assert worth(DAY, None) == worth(None, DAY) == worth(None, None) < values[5]


def test_what_shows_more_of_what_is_covered_comes_first() -> None:
    wanted = np.zeros((10, 10), bool)
    wanted[:, :5] = True
    everything, left, right = np.ones((10, 10), bool), wanted, ~wanted
    found = list(ranked(wanted, [("a", right, 1.0), ("b", left, 0.5), ("c", everything, 0.4)]))
    assert found == [1, 2, 0]
    nothing = np.zeros_like(wanted)
    assert next(ranked(nothing, [("a", right, 1.0), ("b", left, 0.5), ("c", everything, 0.9)])) == 2


def test_one_that_shows_what_no_other_shows_comes_before_a_nearer_one() -> None:
    wanted = np.ones((10, 10), bool)
    half = wanted.copy()
    half[:, 5:] = False
    candidates = [("near", half, 0.9), ("nearly", half, 0.8), ("other", ~half, 0.5)]
    assert list(ranked(wanted, candidates)) == [0, 2, 1]


def test_neither_order_nor_chance_decides() -> None:
    wanted = np.ones((4, 4), bool)
    candidates = [(name, wanted, value) for name, value in (("a", 0.5), ("b", 0.5), ("c", 0.5), ("d", 0.6))]
    for order in itertools.permutations(range(4)):
        shuffled = [candidates[place] for place in order]
        assert [shuffled[place][0] for place in ranked(wanted, shuffled)] == ["d", "a", "b", "c"]
    assert list(ranked(wanted, [])) == []


def test_many_are_ranked_quickly_in_steps() -> None:
    """Only as many steps are made as references are wanted."""
    wanted = np.ones((LOOK_SIDE, LOOK_SIDE), bool)
    order = ranked(wanted, [(str(n), wanted, n / 200) for n in range(200)])
    assert list(itertools.islice(order, 2)) == [199, 198]


def test_grids_of_looks_keep_the_extent_of_small_scenes() -> None:
    grid = Grid(CRS.from_string(UTM31), CORNER, 50, 7)
    assert coarse_grid(grid).matches(grid)
    wide = Grid(CRS.from_string(UTM31), CORNER, 1000, 3)
    assert coarse_grid(wide).height == 1 and coarse_grid(wide).corners == pytest.approx(wide.corners)
