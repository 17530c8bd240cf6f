"""Compare a GPU with the CPU: speed of the networks, a whole scene and its differences, and trainings.

    python benchmarks/gpu.py [network] [scene] [trainings] [--device cuda] [--size 2048]

network: patches per second of the packaged weights, at the batch size of `cmcr remove` and others, and crops
of 256 px per second of the cloud network. scene: a simulated scene from end to end, and the differences
between the images and masks of GPU and CPU. trainings: some updates of each of the three trainings on
simulated ground, one of them in two runs; the weights are then loaded and used on the CPU.

Each part runs in a separate process; if one fails or hangs, the others continue. The exit code is 1 if a part
failed or a limit was exceeded:

- an observed pixel differs from the input, or the observed pixels do not agree with the mask;
- given the same mask, covered pixels differ by more than MEAN std of their band on average, or by more than
  LARGEST anywhere;
- with the masks of each device, they differ by more than MEAN on average;
- the class of more than CLASSES of all pixels differs.

`--device cpu` compares the CPU with itself, to test this program without a GPU.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import math
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from common import arguments, machine, make_scene, measured, write_table
from numpy.typing import NDArray
from patch import inputs, seconds

from cmcr_cli import RemoveOptions, remove, write_mask
from cmcr_cli.model.condition import Condition
from cmcr_cli.model.costs import gflop_of_mask, gflop_per_patch
from cmcr_cli.model.network import to_inference
from cmcr_cli.model.pdmsr import sample
from cmcr_cli.model.weights import default_path, load
from cmcr_cli.output.provenance import OBSERVED, RECONSTRUCTED
from cmcr_cli.runtime.device import pick_device
from cmcr_cli.runtime.workers import GPU_BATCH
from cmcr_cli.training.recipe import dump_recipe, load_recipe

MEAN, LARGEST = 0.01, 0.5
"""Largest mean and maximum difference, in std of a band over covered pixels (the GPU has 16-bit floats)."""

CLASSES = 1e-3
"""Largest share of pixels whose class differs, because their probability is near a threshold."""

PATIENCE = 240
"""Seconds after which a part is aborted."""

BATCHES = 1, GPU_BATCH, 64
STEPS = 1, 4
IMAGES, BATCH, CROP = 64, 16, 64
TRAININGS = {("train", "clouds"): "bfloat16", ("train", "teacher"): "bfloat16", ("distill",): "float32"}
"""Commands of the trainings, each with the precision of its recipe."""

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


def network(options: argparse.Namespace) -> Failures:
    """Measure patches and crops per second, in one stream."""
    device, weights = pick_device(options.device), load(default_path())
    if device.type == "cpu":  # compare with the time of one thread
        torch.set_num_threads(1)
    to_inference(weights.denoiser, device)
    to_inference(weights.clouds, device)
    rows, failures = Table(), Failures()
    for name, made in (
        ("denoiser", _denoiser_rows(weights.denoiser, device)),
        ("mask", _mask_rows(weights.clouds, device)),
    ):
        while _attempt(name, failures, partial(next, made, {}), rows) and rows[-1]:
            pass
        rows = [row for row in rows if row]
    if rows:
        write_table(options.results, "gpu-network", f"The networks alone, 256 x 256 px, {device}", rows)
    return failures


@torch.inference_mode()
def _denoiser_rows(denoiser: Any, device: torch.device) -> Iterator[Row]:
    for batch in BATCHES if device.type == "cuda" else BATCHES[:1]:
        given = inputs(device, batch)
        condition, noise = Condition.of(given), given.optical - 0.5
        for steps in STEPS:

            def call(steps: int = steps, condition: Any = condition, noise: Any = noise) -> object:
                with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
                    return sample(denoiser, condition, steps, lambda step: noise)

            yield _speed(f"denoiser, {steps} steps", batch, gflop_per_patch(denoiser, steps), call, device)


@torch.inference_mode()
def _mask_rows(clouds: Any, device: torch.device) -> Iterator[Row]:
    for batch in BATCHES if device.type == "cuda" else BATCHES[:1]:
        cells = torch.rand(batch, 13, 128, 128, device=device).contiguous(memory_format=torch.channels_last)
        names, sun = torch.ones(batch, 13, device=device), torch.zeros(batch, 4, device=device)

        def call(cells: Any = cells, names: Any = names, sun: Any = sun) -> object:
            return clouds(cells, names, sun)

        yield _speed("mask", batch, gflop_of_mask(clouds), call, device)


def _speed(name: str, batch: int, gflop: float, call: Callable[[], object], device: torch.device) -> Row:
    call()  # the first call of each shape selects kernels
    spent = seconds(call, device) / batch
    return {
        "network": name,
        "batch": batch,
        "ms per patch": 1000 * spent,
        "patches/s": 1 / spent,
        "GFLOP/s": gflop / spent,
    }


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
    _attempt("a process", failures, partial(_process, options, files), times)
    size = f"{options.size} x {options.size} px"
    if times:
        write_table(options.results, "gpu-scene", f"A scene of {size} end to end", times)
    if rows:
        write_table(options.results, "gpu-differences", f"Differences over covered pixels, {size}", rows)
    return failures


def _attempt(name: str, failures: Failures, call: Callable[[], Row], rows: Table) -> bool:
    """Add a row to a table; errors are reported and do not end the part."""
    try:
        rows.append(call())
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        failures.append(f"{name}: {error}")
        return False
    return True


def _masks(
    options: argparse.Namespace, files: dict[str, Path], times: Table, failures: Failures
) -> dict[str, Path]:
    """Compare the masks of both devices; the GPU makes its mask twice."""
    masks = {}
    for name, device in (("first gpu", options.device), ("gpu", options.device), ("cpu", "cpu")):
        path = options.work / f"mask-{name}.tif"
        chosen = RemoveOptions(s2=str(files["s2"]), output=path, device=device, overwrite=True)
        label = f"mask, {name}"
        if _attempt(label, failures, partial(_timed, label, chosen, write_mask), times):
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
        if _attempt(label, failures, partial(_timed, label, chosen, remove), times):
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


def trainings(options: argparse.Namespace) -> Failures:
    """Make some updates of each training from the packaged weights, the teacher in two runs."""
    rows, failures = Table(), Failures()
    for command, precision in TRAININGS.items():
        folder = options.work / f"run-{command[-1]}"
        shutil.rmtree(folder, ignore_errors=True)
        # The second run continues where the first one ended.
        for images in (IMAGES, 2 * IMAGES) if command[-1] == "teacher" else (IMAGES,):
            run = partial(_training, options, command, folder, precision, images)
            _attempt(" ".join(command), failures, run, rows)
    if rows:
        write_table(options.results, "gpu-trainings", f"Trainings of a few updates, {options.device}", rows)
    return failures + [
        f"{row['training']}: {what} is {row[what]}"
        for row in rows
        for what in ("loss", "mean on the CPU")
        if not math.isfinite(row[what])
    ]


def _training(
    options: argparse.Namespace, command: tuple[str, ...], folder: Path, precision: Any, images: int
) -> Row:
    """Run `cmcr train` or `cmcr distill` in a separate process with one worker; returns its last metrics."""
    recipe = load_recipe({"clouds": "toy-clouds", "teacher": "toy-teacher"}.get(command[-1], "toy-student"))
    loop = replace(recipe.loop, batch=BATCH, crop=CROP, snapshot=IMAGES // 2, precision=precision)
    data = replace(recipe.data, buffer=4, workers=1)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "few.toml"
    path.write_text(dump_recipe(replace(recipe, loop=loop, data=data)))
    told = [*command, "simulated", "--run-dir", str(folder), "--config", str(path)]
    told += ["--teacher" if command == ("distill",) else "--init", str(default_path())]
    told += ["--images", str(images), "--device", options.device, "--quiet"]
    found = measured([sys.executable, "-m", "cmcr_cli", *told])
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    weights = load(folder / "weights.safetensors")
    to_inference(weights.denoiser, torch.device("cpu"))
    with torch.inference_mode():
        condition = Condition.of(inputs(torch.device("cpu"), 1))
        answer = sample(weights.denoiser, condition, 1, lambda step: condition.mean)
        cells, names = torch.rand(1, 13, 64, 64), torch.ones(1, 13)
        logits = weights.clouds(cells, names, torch.zeros(1, 4))
    row = {
        "training": " ".join(command),
        "precision": precision,
        "images": lines[-1]["images"],
        "snapshots": len(lines),
        "seconds": found["seconds"],
        "images/s": lines[-1]["images_per_s"],
        "loss": lines[-1]["loss"],
        "mean on the CPU": float(answer.mean()) + float(logits.mean()),
    }
    print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return row


PARTS: dict[str, Callable[[argparse.Namespace], Failures]] = {
    "network": network,
    "scene": scene,
    "trainings": trainings,
}


def _one(name: str, options: argparse.Namespace) -> int:
    """Run a part in this process; a traceback is printed if it hangs."""
    faulthandler.dump_traceback_later(options.patience - 10, exit=True)
    failures = PARTS[name](options)
    faulthandler.cancel_dump_traceback_later()
    for failure in failures:
        print(f"FAILED {failure}", flush=True)
    return int(bool(failures))


def _each(names: list[str], options: argparse.Namespace) -> int:
    """Run parts in separate processes."""
    for key, value in machine().items():
        print(f"{key}: {value}")
    codes = {}
    for name in names:
        print(f"\n## {name}\n", flush=True)
        told = ["--device", options.device, "--size", str(options.size), "--work", str(options.work)]
        told += ["--results", str(options.results), "--patience", str(options.patience), "--alone"]
        started = time.monotonic()
        try:
            codes[name] = subprocess.run(
                [sys.executable, __file__, name, *told], timeout=options.patience
            ).returncode
        except subprocess.TimeoutExpired:
            codes[name] = -1
        print(f"{name}: exit code {codes[name]}, {time.monotonic() - started:.0f} s", flush=True)
    return int(any(codes.values()))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of {', '.join(PARTS)}; all")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, default=2048, help="side of the scene, pixels")
    parser.add_argument("--patience", type=int, default=PATIENCE, help="seconds for a part")
    parser.add_argument("--alone", action="store_true", help="in this process")
    options = parser.parse_args()
    names = options.parts or list(PARTS)
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        parser.error(f"{unknown[0]}: expected one of {', '.join(PARTS)}")
    if options.alone:
        sys.exit(max(_one(name, options) for name in names))
    sys.exit(_each(names, options))


if __name__ == "__main__":
    main()
