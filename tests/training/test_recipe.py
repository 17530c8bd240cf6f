from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.training.recipe import (
    Recipe,
    differences,
    dump_recipe,
    load_recipe,
    packaged,
    parse_recipe,
    with_knobs,
)


@pytest.mark.parametrize("name", packaged())
def test_packaged_recipes_load_and_say_what_each_knob_does(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    copy = tmp_path / "recipe.toml"
    copy.write_text(dump_recipe(recipe))
    assert load_recipe(str(copy)) == recipe
    assert tomllib.loads(copy.read_text()).keys() == {
        "loop", "data", "mix", "mask", "objective", "network", "diffusion", "clouds",
    }  # fmt: skip


def test_there_is_one_recipe_for_each_network() -> None:
    assert {"clouds", "teacher", "student", "sen12mscr"} <= set(packaged())
    toys = [load_recipe(name) for name in ("toy-clouds", "toy-teacher", "toy-student")]
    assert len({(toy.network, toy.diffusion, toy.clouds) for toy in toys}) == 1


def edited(old: str, new: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        assert text.count(old) == 1
        return text.replace(old, new)

    return edit


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (edited("batch = 96", "bacth = 96"), "unknown key loop.bacth; expected images, batch"),
        (edited("batch = 96", ""), "loop.batch is missing"),
        (edited("batch = 96", "batch = 96.0"), "loop.batch is 96.0; expected a whole number of 1 or more"),
        (edited("batch = 96", "batch = true"), "loop.batch is true; expected a whole number"),
        (edited("batch = 96", "batch = 0"), "loop.batch is 0; expected a whole number of 1 or more"),
        (
            edited("learning_rate = 8e-4", 'learning_rate = "8e-4"'),
            'loop.learning_rate is "8e-4"',
        ),
        (
            edited("learning_rate = 8e-4", "learning_rate = nan"),
            "loop.learning_rate is NaN",
        ),
        (
            edited("simulated = 0.08", "simulated = 1.5"),
            "mix.simulated is 1.5; expected a number from 0 to 1",
        ),
        (edited("gain = [0.93, 1.07]", "gain = 1.0"), "mix.gain is 1.0; expected a list of numbers"),
        (edited("gain = [0.93, 1.07]", "gain = [1.0]"), "mix.gain is [1.0]; expected a list of 2 numbers"),
        (edited("gain = [0.93, 1.07]", "gain = [1.1, 0.9]"), "mix.gain is [1.1, 0.9]; expected the lower"),
        (edited("condition_blocks = [1, 1, 2]", "condition_blocks = [1, 1]"), "network.condition_blocks"),
        (edited("crop = 128", "crop = 100"), "loop.crop is 100; expected a multiple of 32"),
        (edited("sigma_min = 0.002", "sigma_min = 30.0"), "diffusion.sigma_min must be above 0 and below"),
        (edited('precision = "bfloat16"', 'precision = "half"'), 'expected "float32" or "bfloat16"'),
        (edited("[diffusion]", "[difusion]"), "unknown key difusion; expected loop, data, mix"),
        (lambda text: "loop = 3\n" + text[text.index("[data]") :], "loop is 3; expected a table [loop]"),
        (lambda text: "loop = [", "Invalid"),
    ],
)
def test_a_wrong_file_is_refused_by_name_key_and_expectation(
    tmp_path: Path, edit: Callable[[str], str], said: str
) -> None:
    text = (Path(__file__).parents[2] / "cmcr_cli/training/recipes/teacher.toml").read_text()
    path = tmp_path / "my.toml"
    path.write_text(edit(text))
    with pytest.raises(InputError) as error:
        load_recipe(str(path))
    assert str(path) in str(error.value) and said in str(error.value)


def test_whole_numbers_will_do_for_numbers(tmp_path: Path, toy: Recipe) -> None:
    recipe = parse_recipe(dump_recipe(toy).replace("clip = 1.0", "clip = 2"))
    assert recipe.loop.clip == 2.0 and isinstance(recipe.loop.clip, float)


@pytest.mark.parametrize("source", ["nobody", "nowhere/recipe.toml"])
def test_a_missing_recipe_is_told_from_a_missing_file(source: str) -> None:
    with pytest.raises(InputError, match="--config") as error:
        load_recipe(source)
    assert ("toy-teacher" in str(error.value)) == (source == "nobody")


def test_with_knobs(toy: Recipe) -> None:
    assert with_knobs(toy) == toy
    assert with_knobs(toy, images=7, seed=3).loop == replace(toy.loop, images=7, seed=3)


@pytest.mark.parametrize("chosen", [{"images": 0}, {"batch": -1}, {"crop": 100}, {"learning_rate": 0.0}])
def test_with_knobs_minds_the_ranges(toy: Recipe, chosen: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"loop.{next(iter(chosen))} is .*; expected"):
        with_knobs(toy, **chosen)


def test_differences(toy: Recipe) -> None:
    other = replace(toy, mix=replace(toy.mix, gain=(0.5, 1.5)), loop=replace(toy.loop, batch=3))
    assert differences(toy, toy) == []
    assert differences(toy, other) == [
        f"loop.batch: {toy.loop.batch}, 3",
        "mix.gain: [0.93, 1.07], [0.5, 1.5]",
    ]
