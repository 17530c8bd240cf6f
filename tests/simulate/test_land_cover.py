from __future__ import annotations

import numpy as np
import pytest

from cmcr_cli.simulate.land_cover import LandCover, lay_cover
from cmcr_cli.simulate.noise import Window
from cmcr_cli.simulate.palette import MATERIALS
from cmcr_cli.simulate.seasons import Date, draw_dates, scene_date
from cmcr_cli.simulate.terrain import shape_terrain

FARMLAND = 22  # temperate, in summer
WINDOW = Window(0, 0, 200, 200)


def cover_on(date: Date, window: Window = WINDOW) -> LandCover:
    return lay_cover(date, FARMLAND, window, shape_terrain(date.recipe, FARMLAND, window))


@pytest.fixture(scope="module")
def today() -> LandCover:
    return cover_on(scene_date(FARMLAND))


def test_what_is_laid_first_is_on_top() -> None:
    half, ones = np.full((2, 2), 0.5, np.float32), np.ones((2, 2), np.float32)
    cover = LandCover(free=ones, brightness=ones, roughness=ones)
    assert (cover.lay("water", half) == 0.5).all()
    assert (cover.lay("soil", half) == 0.25).all() and (cover.lay("soil", ones) == 0.25).all()
    assert not cover.free.any()
    assert (cover.shares["water"] == 0.5).all() and (cover.shares["soil"] == 0.5).all()


def test_shares_sum_to_one(today: LandCover) -> None:
    for cover in (today, cover_on(draw_dates(FARMLAND, 2)[1])):
        assert set(cover.shares) <= set(MATERIALS)
        assert all(share.min() >= -1e-6 for share in cover.shares.values())
        np.testing.assert_allclose(sum(cover.shares.values()), 1, atol=1e-5)


def test_a_farmland_has_fields_and_more(today: LandCover) -> None:
    mean = {name: float(share.mean()) for name, share in today.shares.items()}
    assert mean["crop"] + mean["ripe"] + mean["soil"] > 0.2 and mean["broadleaf"] > 0.02
    assert today.brightness.std() > 0.05 and today.roughness.std() > 0.5


def test_streets_stay_where_they_are_and_crops_do_not(today: LandCover) -> None:
    earlier = cover_on(draw_dates(FARMLAND, 2)[1])
    np.testing.assert_array_equal(earlier.shares["asphalt"], today.shares["asphalt"])
    assert today.shares["asphalt"].any()
    assert np.abs(earlier.shares["crop"] - today.shares["crop"]).mean() > 0.01


def test_a_crop_is_the_same_pixels(today: LandCover) -> None:
    part = cover_on(scene_date(FARMLAND), Window(31, 50, 40, 61))
    for name, share in part.shares.items():
        np.testing.assert_array_equal(share, today.shares[name][31:71, 50:111], err_msg=name)
