from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.evaluation.protocols import EvaluateOptions, Evaluation
from cmcr_cli.evaluation.tables import Table

Cmcr = Callable[..., Any]


def test_json(cmcr: Cmcr, sen12mscr: Callable[..., Path], weights: Path) -> None:
    few = ("--split", "test", "--steps", "1", "--samples", 1, "--limit", 1, "--device", "cpu")
    ended = cmcr("evaluate", sen12mscr(), "--weights", weights, *few, "--json")
    assert ended.code == 0, ended.err
    assert "same date 100 %" in ended.err
    facts = json.loads(ended.out)
    assert facts["weights"].startswith("tiny") and facts["split"] == "test"
    assert facts["images"]["A"][0]["rows"]["1 step"].keys() == {"psnr", "ssim", "sam", "mae", "seconds"}
    assert facts["tables"][0]["title"] == "A, other date, test, n=1"


def test_tables(cmcr: Cmcr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def evaluate(options: EvaluateOptions, progress: object) -> Evaluation:
        asked.append(options)
        rows = {"cloudy input": {"psnr": 17.7}, "1 step": {"psnr": 31.0, "mae": 0.0325, "n": 0.4567}}
        return Evaluation("tiny", "cpu", "val", [Table("A", "Note.", ("psnr", "mae", "n"), rows)], {})

    monkeypatch.setattr("cmcr_cli.evaluation.protocols.evaluate", evaluate)
    ended = cmcr("evaluate", tmp_path, "--steps", "1,4", "--limit", 9, "-q")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "weights tiny, cpu",
        "",
        "**A**",
        "",
        "Note.",
        "",
        "|              | psnr  | mae    | n     |",
        "| ------------ | ----- | ------ | ----- |",
        "| cloudy input | 17.70 | -      | -     |",
        "| 1 step       | 31    | 0.0325 | 0.457 |",
    ]
    assert asked == [EvaluateOptions(data=tmp_path, steps=(1, 4), limit=9)]


def test_masks_alone(cmcr: Cmcr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def evaluate(options: EvaluateOptions, progress: object) -> Evaluation:
        asked.append(options)
        return Evaluation("tiny", "cpu", "val", [], {})

    monkeypatch.setattr("cmcr_cli.evaluation.protocols.evaluate", evaluate)
    folds = tmp_path / "one", tmp_path / "two"
    held_out = [word for path in folds for word in ("--held-out", path)]
    assert cmcr("evaluate", tmp_path, "--only", "masks", *held_out, "-q").code == 0
    assert asked == [EvaluateOptions(data=tmp_path, only="masks", held_out=folds)]


def test_weights_of_no_fold(cmcr: Cmcr, make_labels: Callable[..., Path], weights: Path) -> None:
    ended = cmcr("evaluate", make_labels({}), "--only", "masks", "--held-out", weights, "-q")
    assert (ended.code, ended.out) == (2, "")
    assert str(weights) in ended.err and ended.err.count("\n") == 1


def test_steps_must_be_numbers(cmcr: Cmcr, tmp_path: Path) -> None:
    ended = cmcr("evaluate", tmp_path, "--steps", "1,many")
    assert (ended.code, ended.out) == (2, "")
    assert "1,many" in ended.err


def test_folder_without_scenes(cmcr: Cmcr, tmp_path: Path, weights: Path) -> None:
    ended = cmcr("evaluate", tmp_path, "--weights", weights, "-q")
    assert (ended.code, ended.out) == (1, "")
    assert str(tmp_path) in ended.err and ended.err.count("\n") == 1
