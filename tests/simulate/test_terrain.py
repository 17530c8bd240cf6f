from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cmcr_cli.simulate.noise import Window
from cmcr_cli.simulate.palette import SceneRecipe, draw_recipe
from cmcr_cli.simulate.terrain import shape_terrain, threshold

SEED = 22


@pytest.fixture(scope="module")
def recipe() -> SceneRecipe:
    return replace(draw_recipe(SEED), relief=0.9, lakes=0.1)


def test_threshold_is_exceeded_by_the_share() -> None:
    draw = np.random.default_rng(0).standard_normal(100_000)
    for share in (0.05, 0.5, 0.9):
        assert (draw > threshold(share)).mean() == pytest.approx(share, abs=0.01)
    assert np.isfinite([threshold(0), threshold(1)]).all()


def test_flat_ground_has_no_slope_and_plain_light(recipe: SceneRecipe) -> None:
    flat = shape_terrain(replace(recipe, relief=0.0), SEED, Window(0, 0, 60, 70))
    assert flat.slope.shape == (60, 70) and not flat.slope.any() and not flat.facing.any()
    np.testing.assert_allclose(flat.shade, 1, rtol=1e-6)


def test_slopes_towards_the_sun_are_lit(recipe: SceneRecipe) -> None:
    """The light that is seen from the other side is that of the other slopes."""
    window = Window(0, 0, 200, 200)
    here = shape_terrain(recipe, SEED, window)
    there = shape_terrain(replace(recipe, sun_azimuth=recipe.sun_azimuth + np.pi), SEED, window)
    assert here.slope.max() > 0.2 and here.shade.std() > 0.05
    assert np.corrcoef(here.shade.ravel(), there.shade.ravel())[0, 1] < -0.5
    np.testing.assert_array_equal(here.slope, there.slope)


def test_lakes_take_their_share_of_flat_ground(recipe: SceneRecipe) -> None:
    flat = replace(recipe, relief=0.0, lakes=0.3)
    shares = [(shape_terrain(flat, seed, Window(0, 0, 256, 256)).lake > 0).mean() for seed in range(6)]
    assert np.mean(shares) == pytest.approx(0.3, abs=0.08)


def test_a_crop_is_the_same_pixels(recipe: SceneRecipe) -> None:
    whole, crop = (
        shape_terrain(recipe, SEED, window) for window in (Window(-10, 5, 80, 90), Window(7, 25, 31, 40))
    )
    for name in ("slope", "shade", "facing", "river", "lake", "ruggedness", "ridge"):
        np.testing.assert_array_equal(getattr(whole, name)[17:48, 20:60], getattr(crop, name), err_msg=name)
