from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import rasterio
import torch
from torch import nn

from cmcr_cli import __version__
from cmcr_cli.errors import InputError, OutputError
from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.cloud_network import CloudConfig
from cmcr_cli.model.network import NetworkConfig
from cmcr_cli.training.data.library import Library
from cmcr_cli.training.recipe import Recipe, dump_recipe, load_recipe
from cmcr_cli.training.run import Run, crops, prepared, run_training, start
from cmcr_cli.training.samples.held_out import as_batch, validation_samples
from cmcr_cli.training.samples.patch_samples import Sample
from cmcr_cli.training.tasks.cloud_masks import CLOUDS
from cmcr_cli.training.tasks.student import STUDENT
from cmcr_cli.training.tasks.teacher import TEACHER
from tests.support.tensors import assert_close

Agree = Callable[[nn.Module, nn.Module], bool]


@pytest.fixture(scope="module")
def checks(data: Path, library: Library) -> list[Sample]:
    return validation_samples(data, library)


def begun(data: Path, folder: Path, recipe: Recipe, init: Path | None = None) -> Run:
    with start(TEACHER, data, folder, recipe, init, "cpu") as run:
        return run


def with_loop(recipe: Recipe, **changes: Any) -> Recipe:
    return replace(recipe, loop=replace(recipe.loop, **changes))


def test_prepared(checks: list[Sample]) -> None:
    present = torch.ones(1, 13)
    present[0, 10] = 0
    batch = replace(as_batch(checks[0]), present=present)
    x0, condition, weight = prepared(batch)
    expected = (batch.target - batch.context) / batch.std[:, :, None, None]
    assert_close(x0[:, :10], expected[:, :10])
    assert not x0[:, 10].any() and not weight[:, 10].any()
    assert torch.equal(weight[:, :1], batch.weight)
    assert condition.mean.shape == x0.shape == weight.shape


def test_trainable_is_a_copy(data: Path, tmp_path: Path, tiny_recipe: Recipe) -> None:
    run = begun(data, tmp_path, tiny_recipe)
    twin = run.trainable(run.weights.denoiser)
    with torch.no_grad():
        twin.step.head.bias.add_(1)
    assert not run.weights.denoiser.step.head.bias.any()
    assert twin.step.head.weight.is_contiguous(memory_format=torch.channels_last)


def test_start_makes_fresh_weights_of_the_recipe(data: Path, tmp_path: Path, tiny_recipe: Recipe) -> None:
    run = begun(data, tmp_path, tiny_recipe)
    weights = run.weights
    assert weights.denoiser.network_config == tiny_recipe.network
    assert weights.clouds.config == tiny_recipe.clouds
    assert ((weights.mean > 0.0005) & (weights.mean < 0.6)).all()
    assert (weights.std >= 0.0099).all()
    assert next(crops(run)(0)).optical.shape == (4, 13, 32, 32)
    other = begun(data, tmp_path, with_loop(tiny_recipe, seed=1))
    first, second = (w.denoiser.encoder.stem.weight for w in (weights, other.weights))
    assert not torch.equal(first, second)
    assert not list(tmp_path.iterdir())


def test_what_was_trained_keeps_its_architecture_and_what_was_not_follows_the_recipe(
    data: Path, tmp_path: Path, tiny_recipe: Recipe, networks_agree: Agree
) -> None:
    clouds = run_training(CLOUDS, data, tmp_path / "clouds", tiny_recipe, None)
    given = weights_file.load(clouds)
    other = replace(
        tiny_recipe, network=NetworkConfig((8, 16), (1, 1), (1, 1), 16), clouds=CloudConfig((8, 16), 8)
    )
    run = begun(data, tmp_path / "teacher", other, clouds)
    assert run.weights.denoiser.network_config == run.recipe.network == other.network
    assert run.recipe.clouds == tiny_recipe.clouds
    assert networks_agree(run.weights.clouds, given.clouds)
    (tmp_path / "teacher").mkdir()
    teacher = run.save("teacher", 16, run.weights.denoiser)
    again = begun(data, tmp_path / "again", tiny_recipe, teacher)
    assert again.recipe.network == other.network
    assert networks_agree(again.weights.denoiser, run.weights.denoiser)


def test_the_card_tells_the_whole_history(data: Path, tmp_path: Path, tiny_recipe: Recipe) -> None:
    (tmp_path / "next").mkdir()
    run = begun(data, tmp_path, tiny_recipe)
    first = run.save("clouds", 7, run.weights.clouds)
    assert first == tmp_path / "weights.safetensors"
    run = begun(data, tmp_path / "next", tiny_recipe, first)
    card = weights_file.load(run.save("teacher", 9, run.weights.denoiser)).card
    assert card["name"] == "next"
    assert card["version"] == __version__
    assert list(card["history"]) == ["clouds", "teacher"]
    assert [step["images"] for step in card["history"].values()] == [7, 9]
    as_text = json.loads(json.dumps(asdict(tiny_recipe)))
    assert card["history"]["teacher"] == {"images": 9, **as_text}


def test_data_without_validation_are_refused_and_nothing_is_written(
    data: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    shutil.copytree(data / "pairs_s2", tmp_path / "pairs_s2")
    with pytest.raises(InputError, match="val"):
        run_training(TEACHER, tmp_path, tmp_path / "run", tiny_recipe, None)
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_run_leaves_its_recipe_and_a_picture_for_each_snapshot(
    data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    run_training(TEACHER, data, tmp_path, tiny_recipe, untrained)
    assert load_recipe(str(tmp_path / "recipe.toml")) == tiny_recipe
    assert {p.name for p in (tmp_path / "samples").iterdir()} == {"8.png", "16.png"}
    with rasterio.open(tmp_path / "samples" / "16.png") as file:
        assert file.count == 3 and file.width == 5 * 256 and file.height % 256 == 0


def test_the_card_counts_the_crops_that_were_seen(
    data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    """Updates are whole batches of 4, and a finished run that is shortened has seen them all the same."""
    for images, seen in ((10, 12), (8, 12)):
        path = run_training(TEACHER, data, tmp_path, with_loop(tiny_recipe, images=images), untrained)
        assert weights_file.load(path).card["history"]["teacher"]["images"] == seen


@pytest.mark.parametrize("name", ["weights.safetensors", "recipe.toml", "stats.jsonl", "samples"])
def test_files_of_others_in_the_folder_are_left_alone(
    data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe, name: str
) -> None:
    mine = tmp_path / name / "mine" if name == "samples" else tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(OutputError, match=f"contains {name} but no checkpoint .* --run-dir"):
        run_training(TEACHER, data, tmp_path, tiny_recipe, untrained)
    assert mine.read_text() == "mine"


def test_a_run_that_left_its_recipe_alone_goes_on(
    data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    (tmp_path / "recipe.toml").write_text(dump_recipe(tiny_recipe))
    begun(data, tmp_path, tiny_recipe, untrained)


def test_what_a_run_starts_from_is_not_replaced(
    data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    path = tmp_path / "weights.safetensors"
    shutil.copy(untrained, path)
    (tmp_path / "recipe.toml").write_text(dump_recipe(tiny_recipe))
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OutputError, match="the run starts from it"):
        run_training(TEACHER, data, tmp_path, tiny_recipe, tmp_path / "link")
    assert path.read_bytes() == untrained.read_bytes()


@pytest.mark.parametrize("change", ["recipe", "training"])
def test_the_checkpoint_of_another_run_is_refused(
    data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe, change: str
) -> None:
    run_training(TEACHER, data, tmp_path, tiny_recipe, untrained)
    before = (tmp_path / "recipe.toml").read_bytes()
    if change == "recipe":
        recipe, training, said = (
            with_loop(tiny_recipe, learning_rate=0.5),
            TEACHER,
            "learning_rate: 0.001, 0.5",
        )
    else:
        recipe, training = tiny_recipe, STUDENT
        said = "of the teacher; expected one of the student"
    with pytest.raises(InputError, match=said):
        run_training(training, data, tmp_path, recipe, untrained)
    assert (tmp_path / "recipe.toml").read_bytes() == before


def test_a_run_may_be_made_longer(data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe) -> None:
    run_training(TEACHER, data, tmp_path, tiny_recipe, untrained)
    longer = with_loop(tiny_recipe, images=24)
    run_training(TEACHER, data, tmp_path, longer, untrained)
    stats = [json.loads(line)["images"] for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert stats == [8, 16, 24]


def test_a_run_folder_that_cannot_be_written(
    data: Path, tmp_path: Path, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One error names it, and nothing partial is left that would be in the way of the next try."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        run_training(TEACHER, data, tmp_path / "file" / "run", tiny_recipe, None, "cpu")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        run_training(TEACHER, data, tmp_path / "run", tiny_recipe, None, "cpu")
    assert not list((tmp_path / "run").iterdir())
