"""Whole scenes on a GPU and on the CPU, and how their images and masks differ: a part of `gpu.py`."""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from common import make_scene, measured, write_table
from numpy.typing import NDArray

from cmcr_cli import RemoveOptions, remove, write_mask
from cmcr_cli.output.provenance import OBSERVED, RECONSTRUCTED

MEAN, LARGEST = 0.01, 0.5
"""Largest mean and maximum difference, in std of a band over covered pixels (the GPU has 16-bit floats)."""

CLASSES = 1e-3
"""Largest share of pixels whose class differs, because their probability is near a threshold."""

STEPS = 1, 4

COMPARED = {
    "own mask": ("cpu", False),
    "the cpu's mask": ("cpu", True),
    "again": ("own mask", True),
    "again, batches of 1": ("own mask", True),
}
"""Runs on the GPU by name, each with the run to compare with, and whether both have the same mask."""

Row = dict[str, Any]
Table = list[Row]
Failures = list[str]


def attempt(name: str, failures: Failures, call: Callable[[], Row], rows: Table) -> bool:
    """Add a row to a table; errors are reported and do not end the part."""
    try:
        rows.append(call())
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        failures.append(f"{name}: {error}")
        return False
    return True


def scene(options: argparse.Namespace) -> Failures:
    """Run whole scenes on both devices and compare them."""
    started = time.monotonic()
    files = make_scene(options.work, options.size, options.size)
    print(f"simulated in {time.monotonic() - started:.0f} s", flush=True)
    failures = Failures()
    times, rows = Table(), Table()
    masks = _masks(options, files, times, failures)
    for steps in STEPS:
        found = _images(options, files, masks, steps, times, failures)
        for image, (against, same_mask) in COMPARED.items():
            if image in found and against in found:
                row = _difference(files["s2"], found[image], found[against])
                rows.append({"steps": steps, "image": image, "against": against, **row})
                print(", ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
                failures += _passed(rows[-1], same_mask)
    attempt("a process", failures, partial(_process, options, files), times)
    size = f"{options.size} x {options.size} px"
    if times:
        write_table(options.results, "gpu-scene", f"A scene of {size} end to end", times)
    if rows:
        write_table(options.results, "gpu-differences", f"Differences over covered pixels, {size}", rows)
    return failures


def _masks(
    options: argparse.Namespace, files: dict[str, Path], times: Table, failures: Failures
) -> dict[str, Path]:
    """Compare the masks of both devices; the GPU makes its mask twice."""
    masks = {}
    for name, device in (("first gpu", options.device), ("gpu", options.device), ("cpu", "cpu")):
        path = options.work / f"mask-{name}.tif"
        chosen = RemoveOptions(s2=str(files["s2"]), output=path, device=device, overwrite=True)
        label = f"mask, {name}"
        if attempt(label, failures, partial(_timed, label, chosen, write_mask), times):
            masks[name] = path
    if {"gpu", "cpu"} <= masks.keys():
        apart = float(np.mean(_read(masks["gpu"]) != _read(masks["cpu"])))
        print(f"share of pixels of another class: {apart:.2g} (limit {CLASSES:g})\n", flush=True)
        if apart > CLASSES:
            failures.append(f"mask: {apart:.2g} of the pixels are of another class, limit {CLASSES:g}")
    return masks


def _images(
    options: argparse.Namespace,
    files: dict[str, Path],
    masks: dict[str, Path],
    steps: int,
    times: Table,
    failures: Failures,
) -> dict[str, RemoveOptions]:
    """Make all runs; returns those that succeeded, by name. The first one is a warm-up."""
    plain = RemoveOptions(
        s2=str(files["s2"]), s1=str(files["s1"]), output=Path("none"), steps=steps, overwrite=True
    )
    gpu = replace(plain, device=options.device)
    runs = {
        "own mask": gpu,
        "again": gpu,
        "again, batches of 1": replace(gpu, batch_size=1),
        "the cpu's mask": replace(gpu, mask=str(masks.get("cpu", "auto"))),
        "cpu": replace(plain, device="cpu"),
    }
    found = {}
    for number, (name, run) in enumerate(runs.items()):
        output, provenance = (options.work / f"{kind}-{steps}-{number}.tif" for kind in ("clear", "which"))
        chosen, label = replace(run, output=output, provenance=provenance), f"remove, {steps} steps, {name}"
        if attempt(label, failures, partial(_timed, label, chosen, remove), times):
            found[name] = chosen
    return found


def _timed(name: str, chosen: RemoveOptions, work: Callable[[RemoveOptions], Any]) -> Row:
    device = chosen.device
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    started = time.monotonic()
    report = work(chosen)
    spent = time.monotonic() - started
    if on_gpu:
        peaks = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
    stages = getattr(report, "seconds", {})
    row = {
        "run": name,
        "device": device,
        "seconds": spent,
        **{stage: stages.get(stage, "") for stage in ("survey", "restore", "write")},
        "patches": getattr(report, "patches_restored", ""),
        "GPU MB in use": peaks[0] / 2**20 if on_gpu else "",
        "GPU MB taken": peaks[1] / 2**20 if on_gpu else "",
    }
    print(", ".join(f"{key} {value}" for key, value in row.items() if value != ""), flush=True)
    return row


def _process(options: argparse.Namespace, files: dict[str, Path]) -> Row:
    """Run `cmcr remove` in a separate process, including the time to load its libraries."""
    command = [sys.executable, "-m", "cmcr_cli", "remove", str(files["s2"]), str(files["s1"])]
    command += ["-o", str(options.work / "clear.tif"), "--device", options.device]
    found = measured([*command, "--overwrite", "--json", "--quiet"])
    report = json.loads(found["out"])
    return {
        "run": f"cmcr remove, 1 step, a process, {found['peak_mb']:.0f} MB",
        "device": report["device"],
        "seconds": found["seconds"],
        **{stage: report["seconds"][stage] for stage in ("survey", "restore", "write")},
        "patches": report["patches_restored"],
        "GPU MB in use": "",
        "GPU MB taken": "",
    }


@lru_cache(maxsize=8)
def _read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        pixels: NDArray[Any] = file.read()
    return pixels


def _difference(source: Path, one: RemoveOptions, other: RemoveOptions) -> Row:
    """Differences of two images where both are reconstructed, and whether observed pixels are unchanged."""
    before, images, kinds = _read(source), [], []
    lost = 0
    for run in (one, other):
        if run.provenance is None:
            raise ValueError("a run without a provenance cannot be compared")
        images.append(_read(run.output))
        kinds.append(_read(run.provenance)[0])
        lost += int(((images[-1] != before).any(axis=0) & (kinds[-1] == OBSERVED)).sum())
    both = (kinds[0] == RECONSTRUCTED) & (kinds[1] == RECONSTRUCTED)
    pair = [image[:, both].astype(np.float32) for image in images]
    apart = np.abs(pair[0] - pair[1])
    std = pair[1].std(axis=1)[:, None]
    known = std[:, 0] > 20  # DN; ignore bands that hardly vary
    return {
        "covered": float(both.mean()),
        "pixels that differ": float((apart > 0).any(axis=0).mean()),
        "mean DN": float(apart.mean()),
        "99.9 % DN": float(np.quantile(apart[:, ::16], 0.999)),
        "largest DN": float(apart.max()),
        "mean stds": float((apart / std)[known].mean()),
        "largest stds": float((apart / std)[known].max()),
        "kept by one alone": int((kinds[0] != kinds[1]).sum()),
        "kept but changed": lost,
    }


def _passed(row: Row, same_mask: bool) -> Failures:
    """Limits that a comparison exceeded."""
    name = f"{row['steps']} steps, {row['image']} against {row['against']}"
    limits = {"mean stds": MEAN, "kept but changed": 0}
    if same_mask:
        limits |= {"largest stds": LARGEST, "kept by one alone": 0}
    return [
        f"{name}: {what} {row[what]:.3g}, limit {limit:g}"
        for what, limit in limits.items()
        if not row[what] <= limit  # true for NaN too
    ]
