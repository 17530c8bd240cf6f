from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.evaluation.protocols import EvaluateOptions, Evaluation, evaluate


@pytest.fixture
def options(sen12mscr: Callable[..., Path], weights_path: Path) -> EvaluateOptions:
    return EvaluateOptions(
        data=sen12mscr(), weights=weights_path, split="train", steps=(1,), samples=1, limit=1, device="cpu"
    )


def untimed(evaluation: Evaluation) -> Any:
    def drop(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: drop(v) for k, v in value.items() if k != "seconds"}
        return [drop(v) for v in value] if isinstance(value, list) else value

    return drop(asdict(evaluation))


def test_all_of_it(options: EvaluateOptions) -> None:
    stages = []
    first = evaluate(options, lambda stage, done: stages.append((stage, done)))
    assert untimed(first) == untimed(evaluate(options)), "the same in every run"
    titles = [table.title for table in first.tables]
    for start in (
        "A, other date, {}, n=1",
        "B, same date, {}, n=2",
        "Thin cirrus or haze, same date, {}, n=2",
    ):
        assert start.format("train (trained on)") in titles
    assert titles[-2:] == ["Cloud network", "Cloud network, false alarms by kind of ground"]
    assert [one.image for one in first.images["A"]] == ["ROIs1158_spring_1_p30"]
    assert set(first.tables[0].rows) >= {"cloudy input", "context alone", "1 step", "composite, 1 step"}
    assert ("same date", 1.0) in stages
    clouds = next(table for table in first.tables if table.title == "Cloud network")
    assert "real pairs, train (trained on)" in clouds.rows


@pytest.mark.usefixtures("brief")
def test_only_series_with_references(dated: Path, weights_path: Path, tmp_path: Path) -> None:
    options = EvaluateOptions(data=dated, weights=weights_path, only="references", limit=1, device="cpu")
    stages = []
    found = evaluate(options, lambda stage, done: stages.append((stage, done)))
    assert all(table.title.startswith("R, references, ") for table in found.tables)
    assert {"R one clear", "R three cloudy"} < found.images.keys()
    assert stages == [("references", 0.0), ("references", 1.0)]
    with pytest.raises(InputError, match="found no series"):
        evaluate(replace(options, data=tmp_path))


def test_folder_without_the_split(options: EvaluateOptions, tmp_path: Path) -> None:
    for place in options.data.glob("*/*_17"):
        place.rename(tmp_path / place.name)
    with pytest.raises(InputError, match="split val"):
        evaluate(replace(options, split="val"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"steps": ()}, "--steps"),
        ({"steps": (0,)}, "1 to 64"),
        ({"samples": 0}, "--samples 0"),
        ({"limit": 0}, "--limit"),
    ],
)
def test_options_out_of_range(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        EvaluateOptions(data=Path("data"), **wrong)
