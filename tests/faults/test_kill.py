"""A run that is killed, at every stage: nothing incomplete under a final name, and the next run tidies up."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

SCRIPT = Path(__file__).with_name("stages.py")
STAGES = list(runpy.run_path(str(SCRIPT))["STAGES"])

NAMES = {
    "--provenance": "which.tif",
    "--quicklook": "look.png",
    "--report": "look.html",
    "--stac": "item.json",
}


@pytest.fixture(scope="module")
def found(
    scene: dict[str, Path], weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What stages.py tells of each stage."""
    folder = tmp_path_factory.mktemp("killed")
    args = ["remove", str(scene["s2"]), str(scene["s1"]), "--mask", str(scene["mask"]), "--overwrite", "-q"]
    args += ["--weights", str(weights), "-o", str(folder / "clear.tif")]
    for option, name in NAMES.items():
        args += [option, str(folder / name)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), *args], capture_output=True, text=True, check=True
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["stage"]: each for each in told}


@pytest.mark.parametrize("stage", STAGES)
def test_killed(found: dict[str, dict[str, Any]], stage: str) -> None:
    run = found[stage]
    assert run["killed"] == -9 and run["left"]
    assert run["wrong"] == []
    assert run["next"] == 0
    assert run["after"] == sorted(["clear.tif", *NAMES.values()])
