from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmcr_cli.errors import OptionError
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.simulate import simulate_window
from cmcr_cli.simulate.noise import Window
from cmcr_cli.simulate.palette import draw_recipe
from cmcr_cli.simulate.seasons import MOST, Date, draw_dates, scene_date
from cmcr_cli.simulate.surface import simulate_optical

FARMLAND = 22  # temperate, in summer
SIDE = 240


def _image(date: Date) -> np.ndarray:
    return simulate_optical(FARMLAND, Window(0, 0, SIDE, SIDE), date)


def _ndvi(image: np.ndarray) -> np.ndarray:
    red, infrared = image[BANDS.index("B04")], image[BANDS.index("B08")]
    return (infrared - red) / (infrared + red)


def test_the_date_of_the_scene_is_the_scene() -> None:
    truth = simulate_window(FARMLAND, 0, 0, SIDE, SIDE, 0).truth
    np.testing.assert_array_equal(_image(scene_date(FARMLAND)), truth)


@given(seed=st.integers(0, 2**31), count=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_dates_lie_before_the_scene_and_in_order(seed: int, count: int) -> None:
    scene, dates = scene_date(seed), draw_dates(seed, count)
    assert len(dates) == count and scene.days == 0
    for later, earlier in pairwise([scene, *dates]):
        assert 5 <= earlier.days - later.days <= 35
        assert (later.time - earlier.time).days == earlier.days - later.days
    assert len({date.sky for date in [scene, *dates]}) == count + 1
    for date in dates:
        assert 0 <= np.rad2deg(date.recipe.sun_zenith) < 80
        assert 0 <= np.rad2deg(date.recipe.sun_azimuth) < 360
        assert (date.recipe.snow > 0) <= (scene.recipe.snow > 0)
    assert [date.time for date in draw_dates(seed, count + 3)[:count]] == [date.time for date in dates]


@pytest.mark.parametrize("count", [-1, MOST + 1])
def test_numbers_of_dates_out_of_range(count: int) -> None:
    with pytest.raises(OptionError, match=f"--dates {count}: expected"):
        draw_dates(1, count)


def test_the_sun_follows_the_calendar() -> None:
    """North of the tropics the sun is lower in the half of the year around winter."""
    seed = next(seed for seed in range(50) if draw_recipe(seed).biome.epsg == 32632)
    dates = [scene_date(seed), *draw_dates(seed, 20)]
    by_month = {date.time.month: date.recipe.sun_zenith for date in dates}
    winter = [zenith for month, zenith in by_month.items() if month in (11, 12, 1)]
    summer = [zenith for month, zenith in by_month.items() if month in (5, 6, 7)]
    assert np.rad2deg(min(winter)) > np.rad2deg(max(summer)) + 20


def test_ground_changes_more_over_longer_gaps() -> None:
    truth, dates = _image(scene_date(FARMLAND)), draw_dates(FARMLAND, 4)
    change = [float(np.abs(_ndvi(_image(date)) - _ndvi(truth)).mean()) for date in dates]
    assert dates[0].days <= 20 < 60 < dates[-1].days
    assert 0.005 < change[0] < 0.06
    assert change[-1] > 2.5 * change[0]


def test_some_fields_change_at_once_and_terrain_and_towns_stay() -> None:
    """Within weeks most ground changes little, and a few fields are harvested or ploughed."""
    date = draw_dates(FARMLAND, 2)[1]
    change = np.abs(_ndvi(_image(date)) - _ndvi(_image(scene_date(FARMLAND))))
    assert np.median(change) < 0.06
    assert 0.02 < (change > 0.25).mean() < 0.4
    river = simulate_window(FARMLAND, 0, 0, SIDE, SIDE, 0).truth[BANDS.index("B11")] < 0.02
    assert river.sum() > 20
    assert (_image(date)[BANDS.index("B11")][river] < 0.04).mean() > 0.9


def test_a_crop_of_a_date_is_the_same_pixels_computed_alone() -> None:
    date = draw_dates(FARMLAND, 3)[-1]
    alone = simulate_optical(FARMLAND, Window(31, 50, 40, 61), date)
    np.testing.assert_array_equal(alone, _image(date)[:, 31:71, 50:111])
