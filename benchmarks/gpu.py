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
- the class of more than CLASSES of all pixels differs. These limits are in `gpu_scene.py`.

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
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import arguments, machine, measured, write_table
from gpu_scene import STEPS, Failures, Row, Table, attempt, scene
from patch import inputs, seconds

from cmcr_cli.model.condition import Condition
from cmcr_cli.model.costs import gflop_of_mask, gflop_per_patch
from cmcr_cli.model.network import to_inference
from cmcr_cli.model.pdmsr import sample
from cmcr_cli.model.weights import default_path, load
from cmcr_cli.runtime.device import pick_device
from cmcr_cli.runtime.workers import GPU_BATCH
from cmcr_cli.training.recipe import dump_recipe, load_recipe

PATIENCE = 240
"""Seconds after which a part is aborted."""

BATCHES = 1, GPU_BATCH, 64
IMAGES, BATCH, CROP = 64, 16, 64
TRAININGS = {("train", "clouds"): "bfloat16", ("train", "teacher"): "bfloat16", ("distill",): "float32"}
"""Commands of the trainings, each with the precision of its recipe."""


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
        while attempt(name, failures, partial(next, made, {}), rows) and rows[-1]:
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


def trainings(options: argparse.Namespace) -> Failures:
    """Make some updates of each training from the packaged weights, the teacher in two runs."""
    rows, failures = Table(), Failures()
    for command, precision in TRAININGS.items():
        folder = options.work / f"run-{command[-1]}"
        shutil.rmtree(folder, ignore_errors=True)
        # The second run continues where the first one ended.
        for images in (IMAGES, 2 * IMAGES) if command[-1] == "teacher" else (IMAGES,):
            run = partial(_training, options, command, folder, precision, images)
            attempt(" ".join(command), failures, run, rows)
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
    words = [*command, "simulated", "--run-dir", str(folder), "--config", str(path)]
    words += ["--teacher" if command == ("distill",) else "--init", str(default_path())]
    words += ["--images", str(images), "--device", options.device, "--quiet"]
    found = measured([sys.executable, "-m", "cmcr_cli", *words])
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
        words = ["--device", options.device, "--size", str(options.size), "--work", str(options.work)]
        words += ["--results", str(options.results), "--patience", str(options.patience), "--alone"]
        started = time.monotonic()
        try:
            codes[name] = subprocess.run(
                [sys.executable, __file__, name, *words], timeout=options.patience
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
