from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

from cmcr_cli.options import RemoveOptions
from cmcr_cli.removal.restore.plan import Plan, plan_patches
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.scene.area import Area, area_of_bbox
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.masks.mask_codes import THICK
from cmcr_cli.scene.patches import PATCH

GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 500_000, 0, -10, 5_000_000), 900, 1000)


@pytest.fixture
def cloud_map() -> CloudMap:
    """A small cloud far from the edges of the patch that shows it."""
    found = CloudMap.empty(GRID)
    classes = np.zeros((1000, 900), np.uint8)
    classes[500:504, 500:504] = THICK
    found.mark(0, classes)
    return found


def planned(cloud_map: CloudMap, area: Area | None = None, **changes: Any) -> Plan:
    return plan_patches(GRID, cloud_map, area, RemoveOptions(s2="s2.tif", output=Path("o.tif"), **changes))


def test_the_lattice_covers_the_scene(cloud_map: CloudMap) -> None:
    plan = planned(cloud_map)
    tops, lefts = plan.lattice.tops, plan.lattice.lefts
    for starts, size in ((tops, 1000), (lefts, 900)):
        assert starts[0] <= 0 and starts[-1] + PATCH >= size
        assert set(np.diff(starts)) == {PATCH - plan.lattice.overlap}
    assert plan.patches == len(tops) * len(lefts) and plan.ends == [*tops[1:], 1000]


def test_patches_that_show_a_cloud_are_restored(cloud_map: CloudMap) -> None:
    plan = planned(cloud_map)
    assert 0 < plan.patches_to_restore <= 4
    for top, lefts in zip(plan.lattice.tops, plan.todo, strict=True):
        assert all(left - 8 <= 500 < left + PATCH + 8 for left in lefts)
        assert not lefts or top - 8 <= 500 < top + PATCH + 8
    everything = planned(cloud_map, keep_clear=False)
    assert everything.patches_to_restore == everything.patches == plan.patches


def test_of_an_area_each_further_step_takes_a_ring_of_patches(cloud_map: CloudMap) -> None:
    area = area_of_bbox(_box(500_000 + 10 * 450, 5_000_000 - 10 * 480), GRID)
    counts = [
        planned(cloud_map, area, steps=steps, keep_clear=False).patches_to_restore for steps in (1, 2, 3)
    ]
    whole = planned(cloud_map, keep_clear=False)
    assert 1 <= counts[0] <= 4 and counts[0] < counts[1] < counts[2] <= whole.patches
    few = planned(cloud_map, area, keep_clear=False)
    assert len(few.lattice.tops) < len(whole.lattice.tops) and few.lattice.lefts == whole.lattice.lefts
    assert set(few.ends) <= set(whole.ends)


def _box(x: float, y: float) -> tuple[float, float, float, float]:
    """A box of about 100 m around a place on the grid, in degrees."""
    (east,), (north,) = transform(GRID.crs, "EPSG:4326", [x], [y])
    return east - 5e-4, north - 5e-4, east + 5e-4, north + 5e-4
