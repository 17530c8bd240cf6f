from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.simulate import SimulatedScene


@pytest.fixture
def removed(
    cmcr: Callable[..., Any], scene: SimulatedScene, mask: Path, weights: Path, tmp_path: Path
) -> tuple[Path, Path]:
    output, provenance = tmp_path / "clear.tif", tmp_path / "which.tif"
    options = ("-o", output, "--provenance", provenance, "--mask", mask, "--weights", weights)
    assert cmcr("remove", scene.s2, scene.s1, *options, "-q").code == 0
    return output, provenance


def test_what_remove_writes_is_good(
    cmcr: Callable[..., Any], scene: SimulatedScene, removed: tuple[Path, Path]
) -> None:
    output, provenance = removed
    args = ("validate", output, "--source", scene.s2, "--provenance", provenance)
    ended = cmcr(*args)
    assert (ended.code, ended.err) == (0, ""), ended.out
    assert "WRONG" not in ended.out
    report = json.loads(cmcr(*args, "--json").out)
    assert report["ok"] and len(report["findings"]) == len(ended.out.splitlines())


def test_another_scene_is_wrong(
    cmcr: Callable[..., Any], scene: SimulatedScene, removed: tuple[Path, Path]
) -> None:
    args = ("validate", scene.truth, "--source", scene.s2, "--provenance", removed[1])
    ended = cmcr(*args)
    assert ended.code == 1 and "WRONG" in ended.out
    quiet = cmcr(*args, "-q")
    assert (quiet.code, quiet.out, quiet.err) == (1, "", "")
    report = json.loads(cmcr(*args, "--json").out)
    assert not report["ok"]
