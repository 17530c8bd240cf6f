"""Shared by the benchmarks: scenes of any size, runs in separate processes, and tables."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rasterio
import torch
from rasterio.windows import Window

from cmcr_cli import __version__
from cmcr_cli.runtime.device import usable_cores
from cmcr_cli.scene.patches import reflected
from cmcr_cli.simulate import simulate_scene

TILE = 2048
"""Side, in pixels, of the simulated scene that larger scenes repeat, mirrored so that there are no edges."""

SEED = 22

MEASURED = """
import json, resource, subprocess, sys, time
started = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
unit = 2**20 if sys.platform == "darwin" else 2**10
print(json.dumps({"code": done.returncode, "out": done.stdout, "seconds": time.monotonic() - started,
    "cpu_seconds": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / unit}))
"""


def make_scene(folder: Path, height: int, width: int, cloud_cover: float = 0.4) -> dict[str, Path]:
    """Write s2, s1 and mask of a simulated scene into `folder`, unless they exist."""
    folder.mkdir(parents=True, exist_ok=True)
    size = min(max(height, width), TILE)
    small = folder / f"simulated-{size}-{cloud_cover:g}"
    if not (small / "mask.tif").exists():
        small.mkdir(exist_ok=True)
        simulate_scene(small, size=size, seed=SEED, cloud_cover=cloud_cover)
    large = folder / f"scene-{height}x{width}-{cloud_cover:g}"
    paths = {name: large / f"{name}.tif" for name in ("s2", "s1", "mask")}
    large.mkdir(exist_ok=True)
    for name, path in paths.items():
        if not path.exists():
            _repeat(small / f"{name}.tif", path, height, width)
    return paths


def _repeat(source: Path, target: Path, height: int, width: int) -> None:
    part = target.with_suffix(".part")
    with rasterio.open(source) as small:
        profile = {**small.profile, "height": height, "width": width, "bigtiff": "if_safer"}
        columns = reflected(0, width, small.width)
        with rasterio.open(part, "w", **profile) as large:
            large.descriptions = small.descriptions
            pixels = small.read()
            for top in range(0, height, 512):
                rows = reflected(top, min(512, height - top), small.height)
                window = Window(0, top, width, len(rows))
                large.write(pixels[:, rows[:, None], columns], window=window)
    part.rename(target)


def remove(
    scene: dict[str, Path], output: Path, *args: str, environment: dict[str, str] | None = None
) -> Any:
    """Run `cmcr remove` in a separate process.

    Returns its report with wall and CPU seconds, CPU seconds of the networks, and peak memory in MB.
    """
    command = [sys.executable, str(Path(__file__).with_name("timed.py"))]
    command += ["remove", str(scene["s2"]), str(scene["s1"]), "-o", str(output)]
    times = output.with_name("times.json")
    found = measured(
        [*command, "--overwrite", "--json", "--quiet", *args],
        {"CMCR_TIMES": str(times), **(environment or {})},
    )
    network = json.loads(times.read_text())
    return {"report": json.loads(found["out"]), "network_seconds": network, **found}


def measured(command: Sequence[str], environment: dict[str, str] | None = None) -> Any:
    """Run a command; returns its standard output, wall and CPU seconds, and peak resident memory in MB."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    found = json.loads(done.stdout)
    if found.pop("code"):
        raise SystemExit(f"{' '.join(command)}: failed")
    return found


def machine() -> dict[str, Any]:
    """Machine, versions and date of a table."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": usable_cores(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "python": platform.python_version(),
        "cmcr": __version__,
        "torch": torch.__version__,
        "gdal": rasterio.__gdal_version__,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write_table(results: Path, name: str, title: str, rows: list[dict[str, Any]]) -> None:
    """Print a table, and write it with machine and versions as NAME.md and NAME.json into `results`."""
    results.mkdir(parents=True, exist_ok=True)
    where = machine()
    names = list(rows[0])
    lines = [
        f"# {title}",
        "",
        ", ".join(f"{key} {value}" for key, value in where.items() if value not in ([], None)),
        "",
        "| " + " | ".join(names) + " |",
        "|" + "---|" * len(names),
        *("| " + " | ".join(_cell(row[key]) for key in names) + " |" for row in rows),
    ]
    text = "\n".join(lines) + "\n"
    (results / f"{name}.md").write_text(text)
    (results / f"{name}.json").write_text(
        json.dumps({"title": title, **where, "rows": rows}, indent=2) + "\n"
    )
    print(text)


def _cell(value: Any) -> str:
    return (
        f"{value:.3g}"
        if isinstance(value, float) and abs(value) < 100
        else (f"{value:.0f}" if isinstance(value, float) else str(value))
    )


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Make a parser with the arguments that all benchmarks have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("bench"), help="scenes and outputs; kept")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"), help="tables")
    return parser
