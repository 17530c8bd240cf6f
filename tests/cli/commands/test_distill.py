from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cmcr_cli.cli.commands import distill
from cmcr_cli.training.tasks.student import STUDENT


def test_a_teacher_is_what_a_student_starts_from(
    cmcr: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(distill, "carry_out", lambda *args, **options: calls.append((*args, options)))
    ended = cmcr(
        "distill", "data", "--teacher", "t.safetensors", "--run-dir", "run", "--batch", 8, "--dry-run"
    )
    assert ended.code == 0, ended.err
    ((training, data, folder, teacher, recipe, chosen, others),) = calls
    assert (training, recipe, others) == (STUDENT, "student", {"device": "auto", "dry_run": True})
    assert (str(data), str(folder), str(teacher)) == ("data", "run", "t.safetensors")
    assert chosen["batch"] == 8


def test_without_a_teacher_it_says_so(cmcr: Callable[..., Any]) -> None:
    ended = cmcr("distill", "data", "--run-dir", "run")
    assert ended.code == 2 and "--teacher" in ended.err
