from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from typer.core import TyperGroup as Group
from typer.main import get_command

from cmcr_cli.cli.commands.batch import _summary
from cmcr_cli.cli.main import app
from cmcr_cli.option_fields import Role, option_fields
from cmcr_cli.options import COLUMNS, RemoveOptions
from cmcr_cli.removal.many_scenes import Outcome
from cmcr_cli.simulate import SimulatedScene
from tests.support.processes import started

Cmcr = Callable[..., Any]

SECONDS = 240
"""Bound of everything that is waited for."""


@pytest.fixture
def given(weights: Path, mask: Path) -> tuple[object, ...]:
    return ("--weights", weights, "--mask", mask, "--device", "cpu")


def test_one_line_per_scene_and_a_summary(
    cmcr: Cmcr, scene: SimulatedScene, given: tuple[object, ...], tmp_path: Path
) -> None:
    listed = tmp_path / "scenes.csv"
    listed.write_text(f"s2,s1,output\n{scene.s2},{scene.s1},a.tif\nmissing.tif,,b.tif\n{scene.s2},,c.tif\n")
    ended = cmcr("batch", listed, "-o", tmp_path / "out", *given, "--provenance")
    assert ended.code == 1
    first, second, third, summary = ended.out.splitlines()
    assert first.startswith("[1/3]") and "a.tif: " in first and "% covered" in first
    assert "b.tif: failed: missing.tif" in second and third.startswith("[3/3]")
    assert summary == "2 done, 0 skipped, 1 failed"
    warned = [line for line in ended.err.splitlines() if line.startswith("cmcr: warning: ")]
    assert [line for line in warned if "no Sentinel-1" in line and f"{tmp_path / 'out' / 'c.tif'}: " in line]
    assert not [line for line in warned if "no Sentinel-1" in line and "a.tif: " in line]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.tif", "a_provenance.tif", "c.tif", "c_provenance.tif",
    ]  # fmt: skip
    again = cmcr("batch", listed, "-o", tmp_path / "out", *given, "--skip-existing", "--json")
    report = json.loads(again.out)
    assert again.code == 1 and (report["done"], report["skipped"], report["failed"]) == (0, 2, 1)
    assert [entry["status"] for entry in report["scenes"]] == ["skipped", "skipped", "failed"]


def test_scenes_from_stdin(
    cmcr: Cmcr,
    scene: SimulatedScene,
    given: tuple[object, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{scene.s2},{scene.s1}\n"))
    ended = cmcr("batch", "-", "-o", tmp_path, *given, "-q")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["s2_clear.tif"]


def test_bad_lists_and_options_are_refused_before_any_work(
    cmcr: Cmcr, scene: SimulatedScene, tmp_path: Path
) -> None:
    listed = tmp_path / "scenes.csv"
    listed.write_text(f"{scene.s2}\n")
    for args, code in (
        ((tmp_path / "gone.csv",), 1),
        ((listed, "--samples", 3), 2),
        ((listed, "--uncertainty"), 2),
    ):
        ended = cmcr("batch", *args, "-o", tmp_path / "out")
        assert (ended.code, ended.out) == (code, "") and ended.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_dry_run_names_every_fault_and_sums_up(
    cmcr: Cmcr, scene: SimulatedScene, given: tuple[object, ...], tmp_path: Path
) -> None:
    """Of JSON lines; the folder of the outputs is not there, and is not left."""
    listed, out = tmp_path / "scenes.jsonl", tmp_path / "out" / "deep"
    rows = [{"s2": str(scene.s2), "s1": str(scene.s1)}, {"s2": "missing.tif", "output": "b.tif"}]
    listed.write_text("\n".join(map(json.dumps, rows)))
    ended = cmcr("batch", listed, "-o", out, *given, "--dry-run")
    assert ended.code == 1
    first, second, summary = ended.out.splitlines()
    assert first.startswith(f"[1/2] {out / 's2_clear.tif'}: ") and "MB of disk" in first
    assert "b.tif: failed: missing.tif" in second
    assert summary.startswith("1 planned, 0 skipped, 1 failed; one after another about ")
    assert "MB of memory" in summary and list(tmp_path.iterdir()) == [listed]


def test_sums_are_those_of_scenes_one_after_another() -> None:
    outcomes = [
        Outcome("a", "planned", 10.0, 0.5, memory_mb=900, disk_mb=100, output_mb=30),
        Outcome("b", "skipped"),
        Outcome("c", "failed", error="why"),
        Outcome("d", "planned", 5.5, 0.5, memory_mb=800, disk_mb=120, output_mb=20),
    ]
    summary = _summary(outcomes, dry_run=True)
    assert summary == {
        "planned": 2, "skipped": 1, "failed": 1, "seconds": 15.5, "memory_mb": 900, "output_mb": 50,
        "disk_mb": 150,
    }  # fmt: skip
    assert _summary(outcomes[1:3], dry_run=True)["disk_mb"] == 0
    assert _summary(outcomes[1:3], dry_run=False) == {"done": 0, "skipped": 1, "failed": 1}


def test_a_batch_has_every_option_of_a_removal() -> None:
    """As an option of all scenes, or as a column of the list; and what remove has besides fields."""
    group = get_command(app)
    assert isinstance(group, Group)
    names = "remove", "batch"
    remove, batch = ({o for each in group.commands[name].params for o in each.opts} for name in names)
    fields = option_fields(RemoveOptions)
    columns = {each.flag for each in fields if each.option.column} | {"s2", "s1"}
    assert remove - batch <= columns and {"--dry-run", "--resume", "--native"} <= batch
    of_the_scene = {each.name for each in fields if each.role is Role.INPUT} - {"mask_weights"}
    assert of_the_scene <= set(COLUMNS), "what differs from scene to scene"


def test_a_list_in_the_encoding_of_spreadsheets(cmcr: Cmcr, scene: SimulatedScene, tmp_path: Path) -> None:
    listed = tmp_path / "scenes.txt"
    listed.write_text(f"s2\toutput\n{tmp_path / 'missing.tif'}\tä.tif\n", encoding="utf-16")
    ended = cmcr("batch", listed, "-o", tmp_path / "out", "--device", "cpu")
    assert ended.code == 1 and "ä.tif: failed" in ended.out and "missing.tif" in ended.out


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A Dask scheduler and two workers on this machine, in processes of their own: address and workers."""
    pytest.importorskip("distributed", reason="Dask is not installed (pip install distributed)")
    file = tmp_path / "scheduler.json"
    python = (sys.executable, "-m", "distributed.cli")
    scheduler = ("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    worker = ("dask_worker", "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard")
    files = ("--scheduler-file", str(file))
    with ExitStack() as stack:

        def start(module: str, *args: str, log: Path) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [*python[:2], f"{python[2]}.{module}", *args], cwd=tmp_path,
                stdout=subprocess.DEVNULL, stderr=stack.enter_context(log.open("wb")),
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        start(*scheduler, *files, log=tmp_path / "scheduler.log")
        until = time.monotonic() + SECONDS
        while not file.exists() or not file.read_text().endswith("}"):
            assert time.monotonic() < until
            time.sleep(0.1)
        logs = [tmp_path / f"worker{n}.log" for n in range(2)]
        workers = [start(*worker, *files, log=log) for log in logs]
        # Else the first might have done all of the work before the second is there.
        while not all("Registered to" in log.read_text() for log in logs):
            assert time.monotonic() < until
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"], workers


def test_a_cluster_survives_the_loss_of_a_worker(
    cmcr: Cmcr,
    scene: SimulatedScene,
    given: tuple[object, ...],
    tmp_path: Path,
    cluster: tuple[str, list[subprocess.Popen[bytes]]],
) -> None:
    address, workers = cluster
    names = [f"{letter}.tif" for letter in "abc"]
    listed = tmp_path / "scenes.csv"
    listed.write_text("".join(f"{scene.s2},{scene.s1},{name}\n" for name in names))
    out, settings = tmp_path / "out", (*given, "--steps", 4)
    args = ["batch", listed, "-o", out, *settings, "--scheduler", address, "--json"]
    command = [sys.executable, "-m", "cmcr_cli", *map(str, args)]
    with started(command, stdout=subprocess.PIPE) as run:
        until = time.monotonic() + SECONDS
        # Hidden parts of two scenes: both workers are in the middle of one.
        while len({path.name[:6] for path in out.glob(".?.tif.*")}) < 2:
            assert run.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        workers[0].send_signal(signal.SIGKILL)
        printed, _ = run.communicate(timeout=SECONDS)
    report = json.loads(printed)
    assert (run.returncode, report["done"], report["failed"]) == (0, 3, 0), report
    for entry in report["scenes"]:
        assert "MaskWarning" in {each["kind"] for each in entry["warnings"]}, "from the workers"
    assert workers[0].poll() == -signal.SIGKILL and workers[1].poll() is None
    assert sorted(path.name for path in out.iterdir()) == names  # and nothing that the lost one left behind
    cmcr("remove", scene.s2, scene.s1, "-o", tmp_path / "alone.tif", *settings)
    with rasterio.open(tmp_path / "alone.tif") as file:
        expected = file.read()
    for name in names:
        with rasterio.open(out / name) as file:
            assert np.array_equal(file.read(), expected)
