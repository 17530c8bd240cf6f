from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from cmcr_cli.simulate import SimulatedScene
from tests.support.processes import started

Cmcr = Callable[..., Any]


@pytest.fixture
def given(scene: SimulatedScene, mask: Path, weights: Path) -> tuple[object, ...]:
    return ("remove", scene.s2, scene.s1, "--mask", mask, "--weights", weights, "--device", "cpu")


def test_writes_what_was_asked_for(
    cmcr: Cmcr, given: tuple[object, ...], scene: SimulatedScene, tmp_path: Path
) -> None:
    files = {name: tmp_path / f"{name}.tif" for name in ("output", "provenance", "uncertainty")}
    options = [item for name, path in files.items() for item in (f"--{name}", path)]
    picture = tmp_path / "look.png"
    ended = cmcr(*given, *options, "--quicklook", picture, "--samples", 2, "--steps", 2, "--co", "LEVEL=3")
    assert ended.code == 0, ended.err
    assert {path.name for path in tmp_path.iterdir()} == {*(p.name for p in files.values()), picture.name}
    assert len(ended.out.splitlines()) == 1
    assert ended.out.startswith(f"{files['output']}: 200 x 200 px")
    with rasterio.open(scene.s2) as before, rasterio.open(files["output"]) as after:
        assert (after.crs, after.transform, after.shape) == (before.crs, before.transform, before.shape)
        assert after.descriptions == before.descriptions
        old, new = before.read(), after.read()
    with rasterio.open(files["provenance"]) as which:
        provenance = which.read(1)
    assert set(np.unique(provenance)) == {1, 2}
    assert np.array_equal(old[:, provenance == 1], new[:, provenance == 1])
    assert not np.array_equal(old, new)


def test_warnings_are_printed_once(cmcr: Cmcr, scene: SimulatedScene, weights: Path, tmp_path: Path) -> None:
    ended = cmcr("remove", scene.s2, "-o", tmp_path / "out.tif", "--mask", "all", "--weights", weights)
    found = [line for line in ended.err.splitlines() if "arning" in line]
    assert sum(line.startswith("cmcr: warning: no Sentinel-1") for line in found) == 1
    assert len(set(found)) == len(found)


def test_json_is_one_object(cmcr: Cmcr, given: tuple[object, ...], tmp_path: Path) -> None:
    ended = cmcr(*given, "-o", tmp_path / "out.tif", "--json")
    report = json.loads(ended.out)
    assert report["output"] == str(tmp_path / "out.tif")
    assert report["width"] == report["height"] == 200
    assert 0 < report["covered_share"] < 1
    assert {each["kind"] for each in report["warnings"]} <= {"RadarWarning", "MaskWarning"}
    assert any("units detected as dB" in each["text"] for each in report["warnings"])


def test_quiet_is_silent(cmcr: Cmcr, given: tuple[object, ...], tmp_path: Path) -> None:
    ended = cmcr(*given, "-o", tmp_path / "out.tif", "-q")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert (tmp_path / "out.tif").is_file()


def test_dry_run_writes_nothing(cmcr: Cmcr, given: tuple[object, ...], tmp_path: Path) -> None:
    ended = cmcr(*given, "-o", tmp_path / "out.tif", "--dry-run", "--json")
    assert ended.code == 0, ended.err
    plan = json.loads(ended.out)
    assert 0 < plan["patches_restored"] <= plan["patches"]
    assert plan["seconds"] > 0 and plan["memory_mb"] > 0
    assert not list(tmp_path.iterdir())
    human = cmcr(*given, "-o", tmp_path / "out.tif", "--dry-run")
    assert "patches to restore" in human.out and human.out.count("\n") == 1


def test_environment_mirrors_options(
    cmcr: Cmcr, scene: SimulatedScene, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ("remove", scene.s2, "-o", tmp_path / "out.tif", "--mask", "all", "--json")
    monkeypatch.setenv("CMCR_WEIGHTS", str(weights))
    monkeypatch.setenv("CMCR_DEVICE", "abacus")
    ended = cmcr(*args)
    assert ended.code == 2 and "abacus" in ended.err
    assert json.loads(cmcr(*args, "--device", "cpu").out)["weights"].startswith("tiny ")


def _failed(ended: Any, code: int, *words: str) -> None:
    """One line on stderr that says `words`, nothing on stdout."""
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith("cmcr: error: ") and ended.err.count("\n") == 1, ended.err
    for word in words:
        assert word in ended.err


def test_missing_input(cmcr: Cmcr, weights: Path, tmp_path: Path) -> None:
    missing = tmp_path / "none.tif"
    _failed(cmcr("remove", missing, "-o", tmp_path / "out.tif", "--weights", weights), 1, str(missing))
    assert not list(tmp_path.iterdir())


def test_existing_output(cmcr: Cmcr, given: tuple[object, ...], tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    output.write_text("mine")
    _failed(cmcr(*given, "-o", output), 1, "--overwrite")
    assert output.read_text() == "mine"
    assert cmcr(*given, "-o", output, "--overwrite").code == 0
    with rasterio.open(output) as image:
        assert image.count == 13


def test_samples_of_one_step(cmcr: Cmcr, given: tuple[object, ...], tmp_path: Path) -> None:
    ended = cmcr(*given, "-o", tmp_path / "out.tif", "--samples", 3)
    _failed(ended, 2, "--samples 3", "--steps 1", "--steps 2")
    assert not list(tmp_path.iterdir())


def test_weights_that_cannot_be_used(cmcr: Cmcr, scene: SimulatedScene, tmp_path: Path) -> None:
    args = ("remove", scene.s2, "-o", tmp_path / "out.tif", "--weights")
    _failed(cmcr(*args, tmp_path / "none.safetensors"), 3, "--weights")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not weights at all")
    _failed(cmcr(*args, broken), 3, "--weights")
    assert list(tmp_path.iterdir()) == [broken]


def test_radar_of_another_place(cmcr: Cmcr, scene: SimulatedScene, weights: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "s1.tif"
    with rasterio.open(
        elsewhere,
        "w",
        driver="GTiff",
        width=64,
        height=64,
        count=2,
        dtype="float32",
        crs="EPSG:32601",
        transform=Affine(10, 0, 500_000, 0, -10, 8_000_000),
    ) as radar:
        radar.write(np.full((2, 64, 64), -12, np.float32))
    out = tmp_path / "out"
    out.mkdir()
    _failed(cmcr("remove", scene.s2, elsewhere, "-o", out / "clear.tif", "--weights", weights), 4)
    assert not list(out.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_nothing(
    given: tuple[object, ...], tmp_path: Path, number: signal.Signals
) -> None:
    slow = ("--steps", 64, "--samples", 256, "--mask", "all", "-o", tmp_path / "out.tif")
    args = [sys.executable, "-m", "cmcr_cli", *map(str, (*given, *slow))]
    with started(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        until = time.monotonic() + 240
        while not list(tmp_path.iterdir()):
            assert run.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        run.send_signal(number)
        out, err = run.communicate(timeout=240)
    assert (run.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "cmcr: interrupted"
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())
