from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.training import clouds, distillation, teacher
from cmcr_cli.training.recipe import Recipe

FUNCTIONS = {
    ("train", "clouds"): "cmcr_cli.training.clouds.train_clouds",
    ("train", "teacher"): "cmcr_cli.training.teacher.train_teacher",
    ("distill",): "cmcr_cli.training.distillation.distill",
}
STANDARD = {
    ("train", "clouds"): clouds.RECIPE,
    ("train", "teacher"): teacher.RECIPE,
    ("distill",): distillation.RECIPE,
}


@pytest.mark.parametrize("command", FUNCTIONS)
def test_options_reach_the_training(
    cmcr: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    calls = []

    def training(data: Path, folder: Path, recipe: Recipe, start: Path | None) -> Path:
        calls.append((data, folder, recipe, start))
        return folder / "weights.safetensors"

    monkeypatch.setattr(FUNCTIONS[command], training)
    start = "--teacher" if command == ("distill",) else "--init"
    ended = cmcr(*command, "data", "--run-dir", "run", start, "old", "--images", 64, "--learning-rate", 1e-3)
    assert (ended.code, ended.out) == (0, "run/weights.safetensors\n"), ended.err
    assert '"images": 64' in ended.err
    data, folder, recipe, given = calls[0]
    assert (data, folder, given) == (Path("data"), Path("run"), Path("old"))
    standard = STANDARD[command].loop
    assert (recipe.loop.images, recipe.loop.learning_rate) == (64, 1e-3)
    assert (recipe.loop.batch, recipe.loop.crop) == (standard.batch, standard.crop)


def test_folder_without_scenes(cmcr: Callable[..., Any], tmp_path: Path) -> None:
    ended = cmcr("train", "clouds", tmp_path, "--run-dir", tmp_path / "run", "-q")
    assert (ended.code, ended.out) == (1, "")
    assert "triplets" in ended.err and ended.err.count("\n") == 1
