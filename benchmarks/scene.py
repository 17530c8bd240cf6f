"""Whole simulated scenes with the shipped weights: time by stage, memory, cloud cover, threads.

    python benchmarks/scene.py parts   [--height 10980 --width 10980 --steps 1 4 8]
    python benchmarks/scene.py memory  [--height 2745 --width 10980]
    python benchmarks/scene.py cover   [--height 10980 --width 10980]
    python benchmarks/scene.py threads [--height 2048 --width 2048]
    python benchmarks/scene.py plain   [--height 4096 --width 4096]

parts: time by stage when all patches are restored, and seams. "outside / network" is a ratio of CPU seconds.
memory: peak by height (1x, 2x, 4x) and width. cover: time by cloud cover, with the true mask or with one that
is all clear, all cloud, or a single disc.
threads: scaling with the number of cores. plain: comparison with `reference.py`.

The seam ratio is the mean absolute difference between neighbouring pixels across borders of patches, divided
by the same elsewhere in the reconstructed area. 1 means that the borders are invisible. Patches begin at even
map pixels, where the 20 m bands change in any case; so borders are compared with other even positions only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from common import arguments, make_scene, measured, remove, write_table
from numpy.typing import NDArray

from cmcr_cli.output.provenance import RECONSTRUCTED
from cmcr_cli.runtime.device import usable_cores
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.masks.mask_raster import CloudClass
from cmcr_cli.scene.patches import PATCH, lattice_starts

OVERLAP = 32
ALL = ("--no-keep-clear",)
Rows = Iterator[dict[str, Any]]


def seam(image: Path, provenance: Path) -> float:
    """Compute the seam ratio over rows, columns and all bands."""
    with rasterio.open(provenance) as file:
        restored, grid = file.read(1) == RECONSTRUCTED, Grid.from_dataset(file)
    steps = [np.zeros(np.subtract(restored.shape, np.eye(2, dtype=int)[axis]), np.float32) for axis in (0, 1)]
    with rasterio.open(image) as file:
        for band in file.indexes:
            pixels = file.read(band).astype(np.float32)
            for axis, step in enumerate(steps):
                step += np.abs(np.diff(pixels, axis=axis)) / file.count
    across, elsewhere = [], []
    for axis, (origin, step) in enumerate(zip(grid.origin, steps, strict=True)):
        size = restored.shape[axis]
        both = np.logical_and(*(np.take(restored, range(a, size - 1 + a), axis=axis) for a in (0, 1)))
        starts = lattice_starts(origin, size, OVERLAP)
        lines = {edge - 1 for start in starts for edge in (start, start + PATCH)}
        even = (np.arange(1, size) + origin) % 2 == 0
        border = np.isin(np.arange(size - 1), list(lines))
        across.append(np.compress(border, step, axis)[np.compress(border, both, axis)])
        other = even & ~border
        elsewhere.append(np.compress(other, step, axis)[np.compress(other, both, axis)])
    return float(np.concatenate(across).mean() / np.concatenate(elsewhere).mean())


def parts(options: argparse.Namespace) -> Rows:
    scene = make_scene(options.work, options.height, options.width)
    for steps in options.steps:
        clear, which = options.work / "clear.tif", options.work / "which.tif"
        found = remove(scene, clear, "--steps", str(steps), "--provenance", str(which), *ALL)
        report, network = found["report"], found["network_seconds"]
        yield {
            "pixels": f"{options.height} x {options.width}",
            "steps": steps,
            "seconds": found["seconds"],
            **report["seconds"],
            "CPU s": found["cpu_seconds"],
            "network CPU s": network,
            "outside / network": found["cpu_seconds"] / network - 1,
            "patches": report["patches_restored"],
            "peak MB": found["peak_mb"],
            "seam": seam(clear, which),
        }


def memory(options: argparse.Namespace) -> Rows:
    height, width = options.height, options.width
    for rows, columns in (
        *((height * n, width) for n in (1, 2, 4)),
        (height, width // 2),
        (height, width // 4),
    ):
        scene = make_scene(options.work, rows, columns)
        for steps in options.steps:
            found = remove(scene, options.work / "clear.tif", "--steps", str(steps), *ALL)
            yield {"height": rows, "width": columns, "steps": steps, "peak MB": found["peak_mb"]}


def cover(options: argparse.Namespace) -> Rows:
    size = options.height, options.width
    scattered = make_scene(options.work, *size, 0.1)
    half = make_scene(options.work, *size, 0.5)
    down, across = np.ogrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    disc = np.square(down) + np.square(across) < 4 * 0.1 / np.pi
    skies = (
        ("0%", scattered, np.zeros(size, bool)),
        ("10%, in one place", scattered, disc),
        ("10%, scattered", scattered, None),
        ("50%", half, None),
        ("100%", scattered, np.ones(size, bool)),
    )
    for name, scene, covered in skies:
        mask = [str(scene["mask"])]
        if covered is not None:
            mask = [str(write_mask(scene["mask"], covered)), "--mask-codes", "binary"]
        found = remove(scene, options.work / "clear.tif", "--mask", *mask)
        report = found["report"]
        yield {
            "cloud cover": name,
            "patches": f"{report['patches_restored']} of {report['patches']}",
            "seconds": found["seconds"],
            **report["seconds"],
            "CPU s": found["cpu_seconds"],
        }


def write_mask(like: Path, covered: NDArray[np.bool_]) -> Path:
    path = like.with_name("mask-made.tif")
    with rasterio.open(like) as file:
        profile = file.profile
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.where(covered, CloudClass.THICK, CloudClass.CLEAR).astype(np.uint8), 1)
    return path


def threads(options: argparse.Namespace) -> Rows:
    scene = make_scene(options.work, options.height, options.width)
    counts = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= usable_cores()]
    alone = 0.0
    for count in counts:
        found = remove(scene, options.work / "clear.tif", *ALL, environment={"OMP_NUM_THREADS": str(count)})
        alone = alone or found["seconds"]
        seconds = found["report"]["seconds"]
        yield {
            "threads": count,
            "seconds": found["seconds"],
            "restore": seconds["restore"],
            "times as fast": alone / found["seconds"],
            "peak MB": found["peak_mb"],
        }


def plain(options: argparse.Namespace) -> Rows:
    scene = make_scene(options.work, options.height, options.width)
    output = options.work / "clear.tif"
    for steps in options.steps:
        program = [sys.executable, str(Path(__file__).with_name("reference.py"))]
        simple = measured([*program, str(scene["s2"]), str(scene["s1"]), str(output), str(steps)])
        streamed = remove(scene, output, "--steps", str(steps), "--mask", "all", "--no-context")
        for name, found in (("whole scene in memory", simple), ("cmcr remove", streamed)):
            yield {
                "way": name,
                "steps": steps,
                "seconds": found["seconds"],
                "CPU s": found["cpu_seconds"],
                "peak MB": found["peak_mb"],
            }


TABLES = {
    "parts": (parts, "Time of a whole scene, and its parts", 10980, 10980),
    "memory": (memory, "Peak memory against height and width", 2745, 10980),
    "cover": (cover, "Time against cloud cover", 10980, 10980),
    "threads": (threads, "Scaling over threads", 2048, 2048),
    "plain": (plain, "Strips against the whole scene in memory", 4096, 4096),
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--height", type=int)
    parser.add_argument("--width", type=int)
    parser.add_argument("--steps", type=int, nargs="+", default=[1])
    options = parser.parse_args()
    table, title, height, width = TABLES[options.table]
    options.height, options.width = options.height or height, options.width or width
    rows = list(table(options))
    size = f"{options.height} x {options.width} px"
    write_table(options.results, f"scene-{options.table}", f"{title}, {size}", rows)


if __name__ == "__main__":
    main()
