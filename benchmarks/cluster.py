"""Many scenes on a local Dask cluster of which one worker is killed midway: are outputs missing or duplicate?

python benchmarks/cluster.py [--scenes 20] [--size 256]

Fails unless every scene is done exactly once, with the same pixels as in a batch without a cluster.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from common import arguments, write_table

from cmcr_cli.simulate import simulate_scene

SECONDS = 120
"""Seconds within which the cluster must have started."""


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    folder = options.work / f"cluster-{options.scenes}x{options.size}"
    names = [f"{number:02}.tif" for number in range(options.scenes)]
    listed = folder / "scenes.csv"
    listed.parent.mkdir(parents=True, exist_ok=True)
    with listed.open("w") as file:
        for number, name in enumerate(names):
            place = folder / f"scene-{number:02}"
            scene = simulate_scene(place, size=options.size, seed=number, cloud_cover=0.4, overwrite=True)
            file.write(f"{scene.s2.absolute()},{scene.s1.absolute()},{name}\n")

    out, alone = folder / "out", folder / "alone"
    shutil.rmtree(out, ignore_errors=True)
    with cluster(folder) as (address, workers):
        began = time.monotonic()
        command = batch(listed, out, "--scheduler", address)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
            # Midway through the batch, while the worker is processing a scene.
            while len(list(out.glob("[!.]*.tif"))) < options.scenes // 2 or not list(
                out.glob(".*.cmcr-part")
            ):
                if run.poll() is not None:
                    raise SystemExit("the batch ended before a worker could be killed")
                time.sleep(0.005)
            done_before = len(list(out.glob("[!.]*.tif")))
            workers[0].send_signal(signal.SIGKILL)
            printed, _ = run.communicate()
        seconds = time.monotonic() - began
    report = json.loads(printed)
    began = time.monotonic()
    subprocess.run(batch(listed, alone), check=True, stdout=subprocess.DEVNULL)
    outcomes = [Path(outcome["output"]).name for outcome in report["scenes"]]
    row: dict[str, Any] = {
        "scenes": options.scenes,
        "done when killed": done_before,
        "done": report["done"],
        "failed": report["failed"],
        "told twice": len(outcomes) - len(set(outcomes)),
        "lost": len(set(names) - {path.name for path in out.iterdir()}),
        "strays": len({path.name for path in out.iterdir()} - set(names)),
        "with other pixels": sum(not same(out / name, alone / name) for name in names),
        "seconds": seconds,
        "seconds in one process": time.monotonic() - began,
    }
    title = f"{options.scenes} scenes of {options.size} x {options.size} px, two workers, one of them killed"
    write_table(options.results, "cluster", title, [row])
    bad = ("failed", "told twice", "lost", "strays", "with other pixels")
    if row["done"] != options.scenes or any(row[name] for name in bad):
        raise SystemExit("something was lost or double")


def batch(listed: Path, out: Path, *args: str) -> list[str]:
    plain = ["--overwrite", "--json", "--device", "cpu"]
    return [sys.executable, "-m", "cmcr_cli", "batch", str(listed), "-o", str(out), *plain, *args]


def same(one: Path, other: Path) -> bool:
    with rasterio.open(one) as a, rasterio.open(other) as b:
        return a.profile == b.profile and np.array_equal(a.read(), b.read())


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Start a scheduler and two workers (separate processes without nannies); yields address and workers."""
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    worker = ("--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file))
    with ExitStack() as stack:

        def start(module: str, *args: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", *worker, *args],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        start("dask_scheduler", "--port", "0")
        until = time.monotonic() + SECONDS
        while not file.exists() or not file.read_text().endswith("}"):
            if time.monotonic() > until:
                raise SystemExit("no Dask scheduler came up")
            time.sleep(0.1)
        workers = [start("dask_worker", "--nthreads", "1", "--no-nanny") for _ in range(2)]
        yield json.loads(file.read_text())["address"], workers


if __name__ == "__main__":
    main()
