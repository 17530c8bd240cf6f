from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_says_how_a_folder_splits(cmcr: Callable[..., Any], sen12mscr: Callable[..., Path]) -> None:
    folder = sen12mscr()
    exact, legacy = cmcr("data", "check", folder), cmcr("data", "check", folder, "--split-rule", "legacy")
    assert (exact.code, legacy.code) == (0, 0)
    assert exact.out.splitlines()[0] == f"{folder}: SEN12MS-CR layout, headers read"
    assert "  train: 2 patches, 1 ROIs" in exact.out.splitlines()
    assert "  train and test: 0 patches, 0 ROIs" in exact.out.splitlines()
    assert "  train: 6 patches, 3 ROIs" in legacy.out.splitlines()
    assert "  train and test: 4 patches, 2 ROIs" in legacy.out.splitlines()
    assert "BROKEN" not in exact.out
    assert "cmcr: check 100 %" in exact.err


def test_what_is_broken_is_named_and_fails(cmcr: Callable[..., Any], sen12mscr: Callable[..., Path]) -> None:
    folder = sen12mscr()
    for path in (folder / "ROIs1158_spring_s2").rglob("*_p30.tif"):
        path.write_bytes(b"")
    (folder / "ROIs1158_spring_s2" / "s2_1" / "ROIs1158_spring_s2_1_p31.tif").write_bytes(b"")
    ended = cmcr("data", "check", folder)
    assert ended.code == 1
    line = next(line for line in ended.out.splitlines() if line.startswith("  unreadable"))
    assert line.startswith(
        "  unreadable: 4 (ROIs1158_spring_s2/s2_1/ROIs1158_spring_s2_1_p30.tif (cannot be "
    )
    assert line.count(".tif") == 3 and line.endswith(", ...)")
    told = cmcr("data", "check", folder, "--json", "-q")
    assert (told.code, told.err) == (1, "")
    report = json.loads(told.out)
    assert len(report["broken"]["unreadable"]) == 4
    assert report["contents"] == {"ROIs": 5, "patches": 10}
    quiet = cmcr("data", "check", folder, "-q")
    assert (quiet.code, quiet.out, quiet.err) == (1, "", "")


def test_a_rule_that_does_not_fit_is_a_usage_error(cmcr: Callable[..., Any], tmp_path: Path) -> None:
    ended = cmcr("data", "check", tmp_path, "--split-rule", "legacy")
    assert (ended.code, ended.out) == (2, "")
    assert "found no SEN12MS-CR" in ended.err


def test_help_ends_with_two_examples(cmcr: Callable[..., Any]) -> None:
    ended = cmcr("data", "check", "--help")
    title, *examples = [line.strip() for line in ended.out.splitlines()[-3:]]
    assert title == "Examples:"
    assert all(example.startswith("cmcr data check ") for example in examples)
