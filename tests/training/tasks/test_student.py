from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cmcr_cli.model.diffusion import Denoiser
from cmcr_cli.model.pdmsr import FIRST, LAST
from cmcr_cli.model.weights import load
from cmcr_cli.training.recipe import Recipe
from cmcr_cli.training.run import run_training
from cmcr_cli.training.tasks import student as student_task
from cmcr_cli.training.tasks.student import STUDENT
from tests.support.tensors import assert_close

Agree = Callable[[nn.Module, nn.Module], bool]


def test_a_short_distillation(
    data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe, networks_agree: Agree
) -> None:
    path = run_training(STUDENT, data, tmp_path / "run", tiny_recipe, untrained)
    before, after = load(untrained), load(path)
    assert not networks_agree(after.denoiser, before.denoiser)
    assert networks_agree(after.clouds, before.clouds)
    assert after.card["history"]["student"]["objective"]["levels"] == 6
    stats = [json.loads(line) for line in (path.parent / "stats.jsonl").read_text().splitlines()]
    assert [line["images"] for line in stats] == [8, 16]
    assert {"loss", "context_db", "steps1_db", "steps4_db"} <= stats[0].keys()
    again = run_training(STUDENT, data, tmp_path / "run", tiny_recipe, untrained)
    assert networks_agree(load(again).denoiser, after.denoiser)


def test_further_steps_start_from_the_students_own_estimate(
    data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels, real = [], student_task.refinement_loss

    def spy(*args: Any) -> Tensor:
        levels.append(args[3])
        return real(*args)

    monkeypatch.setattr(student_task, "refinement_loss", spy)
    for refined in (0.0, 1.0):
        recipe = replace(tiny_recipe, objective=replace(tiny_recipe.objective, refined=refined))
        run_training(STUDENT, data, tmp_path / str(refined), recipe, untrained)
        assert len(levels) == 4 * refined
    assert ((torch.cat(levels) >= LAST) & (torch.cat(levels) <= FIRST)).all()


def test_teacher_stays_target_follows_and_levels_are_neighbours(
    data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    real = student_task.distillation_loss

    def value(denoiser: Denoiser) -> Tensor:
        return denoiser.step.head.weight.detach().clone()

    def spy(student: Denoiser, target: Denoiser, teacher: Denoiser, *rest: Any) -> Tensor:
        networks = {"student": value(student), "target": value(target), "teacher": value(teacher)}
        seen.append(networks | {"sigmas": rest[2], "weights": rest[5]})
        return real(student, target, teacher, *rest)

    monkeypatch.setattr(student_task, "distillation_loss", spy)
    run_training(STUDENT, data, tmp_path, tiny_recipe, untrained)
    assert len(seen) == 4
    start = value(load(untrained).denoiser)
    for call in seen:
        assert torch.equal(call["teacher"], start)
        low, high = call["sigmas"]
        assert (low < high).all()
        assert high[0] == tiny_recipe.diffusion.sigma_max
        assert (call["weights"] > 0).all()
    for before, after in pairwise(seen):
        expected = before["target"].lerp(after["student"], 1 - tiny_recipe.objective.target)
        assert_close(after["target"], expected)
    assert not torch.equal(seen[-1]["target"], start)
