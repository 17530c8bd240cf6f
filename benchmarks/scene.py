"""Time, peak memory and seams of one removal of a simulated scene, with the shipped weights.

    python benchmarks/scene.py [--size 2048] [--steps 1 4] [--mask auto] [--weights FILE]

The seam metric is the mean absolute step between neighbouring pixels across borders of patches, over the same
elsewhere in the reconstructed area: 1 means that nobody can tell where a patch ends. Patches begin at even
map pixels, where the 20 m bands step too, clouds or not; so they are compared with other even places only.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import torch

from cmcr_cli.scene.cog import RECONSTRUCTED
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.patches import PATCH, lattice_starts
from cmcr_cli.simulate import simulate_scene

OVERLAP = 32


def seam(image: Path, provenance: Path) -> float:
    """The metric above, over rows and columns and all bands."""
    with rasterio.open(image) as file:
        pixels, grid = file.read().astype(np.float32), Grid.from_dataset(file)
    with rasterio.open(provenance) as file:
        restored = file.read(1) == RECONSTRUCTED
    across, elsewhere = [], []
    for axis, origin in enumerate(grid.origin):
        size = pixels.shape[1 + axis]
        step = np.abs(np.diff(pixels, axis=1 + axis)).mean(axis=0)
        both = np.logical_and(*(np.take(restored, range(a, size - 1 + a), axis=axis) for a in (0, 1)))
        starts = lattice_starts(origin, size, OVERLAP)
        lines = {edge - 1 for start in starts for edge in (start, start + PATCH)}
        even = (np.arange(1, size) + origin) % 2 == 0
        border = np.isin(np.arange(size - 1), list(lines))
        across.append(np.compress(border, step, axis)[np.compress(border, both, axis)])
        other = even & ~border
        elsewhere.append(np.compress(other, step, axis)[np.compress(other, both, axis)])
    return float(np.concatenate(across).mean() / np.concatenate(elsewhere).mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--mask", default="auto")
    parser.add_argument("--weights")
    options = parser.parse_args()
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"{machine}, {options.size} x {options.size} px\n")
    print("| steps | seconds | peak MB | seam |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate_scene(folder, size=options.size, seed=22, cloud_cover=0.4)
        for steps in options.steps:
            clear, provenance = folder / f"clear{steps}.tif", folder / f"provenance{steps}.tif"
            command = ["remove", str(folder / "s2.tif"), str(folder / "s1.tif"), "-o", str(clear), "--quiet"]
            command += ["--steps", str(steps), "--provenance", str(provenance), "--mask", options.mask]
            command += ["--weights", options.weights] if options.weights else []
            started = time.monotonic()
            peak = peak_of([sys.executable, "-m", "cmcr_cli", *command])
            seconds = time.monotonic() - started
            print(f"| {steps} | {seconds:.1f} | {peak:.0f} | {seam(clear, provenance):.3f} |")


def peak_of(command: list[str]) -> float:
    """Run a command; its peak resident memory in MB. Each is measured by a process of its own."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return int(done.stdout.split()[-1]) / unit


if __name__ == "__main__":
    main()
