from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.training import dry_run, run
from cmcr_cli.training.dry_run import TrainingEstimate
from cmcr_cli.training.recipe import Recipe, dump_recipe, load_recipe
from cmcr_cli.training.run import Training

COMMANDS = {("train", "clouds"): "clouds", ("train", "teacher"): "teacher", ("distill",): "student"}
"""Each with the name of its training, which is that of its recipe."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    seen: list[tuple[Any, ...]] = []

    def training(
        training: Training, data: Path, folder: Path, recipe: Recipe, init: Path | None, device: str
    ) -> Path:
        seen.append((training.name, data, folder, recipe, init, device))
        return folder / "weights.safetensors"

    monkeypatch.setattr(run, "run_training", training)
    return seen


@pytest.mark.parametrize("command", COMMANDS)
def test_options_reach_the_training(
    cmcr: Callable[..., Any], calls: list[tuple[Any, ...]], command: tuple[str, ...]
) -> None:
    start = "--teacher" if command == ("distill",) else "--init"
    options = "--images", 64, "--learning-rate", 1e-3, "--split-rule", "legacy", "--device", "cpu"
    ended = cmcr(*command, "data", "--run-dir", "run", start, "old", *options)
    assert (ended.code, ended.out) == (0, "run/weights.safetensors\n"), ended.err
    name, data, folder, recipe, given, device = calls[0]
    assert name == COMMANDS[command]
    assert (data, folder, given, device) == (Path("data"), Path("run"), Path("old"), "cpu")
    standard = load_recipe(COMMANDS[command])
    assert (recipe.loop.images, recipe.loop.learning_rate) == (64, 1e-3)
    assert recipe.data.split_rule == "legacy"
    assert (recipe.loop.batch, recipe.mix) == (standard.loop.batch, standard.mix)


@pytest.mark.parametrize("command", COMMANDS)
def test_config_by_name_and_by_path(
    cmcr: Callable[..., Any], calls: list[tuple[Any, ...]], tmp_path: Path, command: tuple[str, ...]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(dump_recipe(load_recipe("toy-teacher")))
    start = ["--teacher", "old"] if command == ("distill",) else []
    for config in ("toy-teacher", path):
        ended = cmcr(*command, "data", "--run-dir", "run", *start, "--config", config)
        assert ended.code == 0, ended.err
    assert calls[0][3] == calls[1][3] == load_recipe("toy-teacher")


def test_values_out_of_range_are_usage_errors(cmcr: Callable[..., Any], calls: list[tuple[Any, ...]]) -> None:
    ended = cmcr("train", "teacher", "data", "--run-dir", "run", "--batch", 0)
    assert (ended.code, ended.out, calls) == (2, "", [])
    assert "loop.batch is 0; expected a whole number of 1 or more" in ended.err


def test_dry_run_prints_the_estimate(
    cmcr: Callable[..., Any], calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    estimate = TrainingEstimate(52, 26, 16, "cpu", 1, 1_491_600, 8.09, 0.5, 0.2, 30.0, 88.0, 6000.0)
    monkeypatch.setattr(dry_run, "estimate_training", lambda *args: estimate)
    ended = cmcr("train", "teacher", "data", "--run-dir", "run", "--dry-run")
    assert (ended.code, calls) == (0, []), ended.err
    for said in (
        "52 clear places",
        "1,491,600 values",
        "8.1 GFLOP",
        "1 process\n",
        "about 100 minutes, of which 88 s",
    ):
        assert said in ended.out


def test_folder_without_scenes(cmcr: Callable[..., Any], tmp_path: Path) -> None:
    ended = cmcr("train", "clouds", tmp_path, "--run-dir", tmp_path / "run", "-q")
    assert (ended.code, ended.out) == (1, "")
    assert "triplets" in ended.err and ended.err.count("\n") == 1
