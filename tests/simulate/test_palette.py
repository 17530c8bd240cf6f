from __future__ import annotations

import numpy as np
import pytest

from cmcr_cli.simulate.palette import BACKSCATTER, BIOMES, GROUND, MATERIALS, PATH, draw_recipe


@pytest.mark.parametrize("material", MATERIALS)
def test_materials_are_seen_through_the_atmosphere(material: str) -> None:
    assert GROUND[material].shape == PATH.shape == (13,) and BACKSCATTER[material].shape == (2,)
    assert (GROUND[material] > 0).all() and (GROUND[material] < 1).all()
    assert GROUND[material][10] < 0.01, "B10 shows no ground"
    vv, vh = BACKSCATTER[material]
    assert 0 < vh < vv < 1


def test_every_biome_names_materials_that_there_are() -> None:
    for biome in BIOMES.values():
        assert {biome.woods, biome.wild} <= set(MATERIALS)


def test_recipes_keep_to_their_biome_and_draw_every_one() -> None:
    recipes = [draw_recipe(seed) for seed in range(200)]
    assert {recipe.biome.epsg for recipe in recipes} == {biome.epsg for biome in BIOMES.values()}
    for recipe in recipes:
        low, high = recipe.biome.sun_zenith
        assert low <= np.rad2deg(recipe.sun_zenith) <= high
        for name in ("forest", "green", "ripe", "bare", "field"):
            low, high = getattr(recipe.biome, name)
            assert low <= getattr(recipe, name) <= high, name
        assert 0 <= recipe.snow <= max(recipe.biome.snow) and (recipe.tint > 0).all()
    assert len({recipe.angle for recipe in recipes}) == 200


def test_there_is_less_farming_in_the_mountains() -> None:
    recipes = [draw_recipe(seed) for seed in range(200)]
    high = [recipe.farm / recipe.biome.farm[1] for recipe in recipes if recipe.relief > 0.5]
    assert high and max(high) <= 0.35
