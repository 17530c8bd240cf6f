"""Checksums of the outputs of a small simulated scene, to verify that a change of the code preserves pixels.

    python benchmarks/digests.py --store before.json      # before the change
    python benchmarks/digests.py --compare before.json    # after the change

The last bits depend on processor and libraries, so both must run on the same machine. All cases use the
weights that come with cmcr: one step and four, samples with uncertainty, provenance, an area of interest, two
devices, a run that was stopped and resumed, masks of several kinds, and a Level-2A stack. With `--keep`,
`--compare` also states how much a raster differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from cmcr_cli import RemoveOptions, remove, write_mask
from cmcr_cli.simulate import SimulatedScene, simulate_scene

SIZE, SEED = 600, 22


def digest(path: Path) -> str:
    """SHA-256 of all pixels of a raster, with their type and nodata value."""
    with rasterio.open(path) as file:
        found = hashlib.sha256(f"{file.dtypes} {file.nodata} {file.shape}".encode())
        found.update(np.ascontiguousarray(file.read()).tobytes())
    return found.hexdigest()


def level_2a(scene: SimulatedScene, folder: Path) -> Path:
    """Write the scene without B10, as signed integers with a nodata value and a corner of nodata."""
    path = folder / "l2a.tif"
    with rasterio.open(scene.s2) as file:
        kept = [number for number in file.indexes if file.descriptions[number - 1] != "B10"]
        profile = {**file.profile, "count": len(kept), "dtype": "int16", "nodata": -9999}
        pixels = file.read(kept).astype(np.int16)
        pixels[:, -90:, :70] = -9999
        with rasterio.open(path, "w", **profile) as made:
            made.write(pixels)
            made.descriptions = [file.descriptions[number - 1] for number in kept]
    return path


def cases(scene: SimulatedScene, folder: Path) -> dict[str, dict[str, Any]]:
    """Options of the cases that are one call of `remove`, by name."""
    with rasterio.open(scene.s2) as file:
        box = rasterio.warp.transform_bounds(file.crs, "EPSG:4326", *file.bounds)
    west, south, east, north = box
    part = (west + 0.3 * (east - west), south + 0.2 * (north - south), east, south + 0.6 * (north - south))
    return {
        "one-step": {"provenance": True},
        "four-steps": {"steps": 4, "provenance": True},
        "samples": {"steps": 3, "samples": 2, "uncertainty": True, "provenance": True},
        "area": {"steps": 2, "bbox": part, "provenance": True},
        "two-devices": {"steps": 2, "device": "cpu,cpu"},
        "no-radar": {"s1": None, "steps": 2, "overlap": 64},
        "whole": {"mask": "all", "keep_clear": False, "context": False},
        "mask": {"mask": str(scene.mask), "dilate": 30.0, "steps": 2},
        "dilated": {"dilate": 20.0},
        "level-2a": {"s2": str(level_2a(scene, folder)), "steps": 2, "provenance": True},
    }


def _stopped(options: RemoveOptions) -> None:
    """Start a run, and stop it when some rows are finished."""

    def stop(stage: str, done: float) -> None:
        if stage == "restore" and done > 0.8:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        remove(options, stop)


def digests(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield names and checksums of all rasters, which are written to `folder`."""
    scene = simulate_scene(folder / "scene", size=SIZE, seed=SEED)
    plain: dict[str, Any] = {"s2": str(scene.s2), "s1": str(scene.s1), "device": "cpu", "overwrite": True}
    for name, changes in cases(scene, folder).items():
        rasters = {"output": folder / f"{name}.tif"}
        for extra in ("provenance", "uncertainty"):
            if changes.pop(extra, False):
                rasters[extra] = folder / f"{name}-{extra}.tif"
        remove(RemoveOptions(**{**plain, **changes, **rasters}))
        for path in rasters.values():
            yield path.stem, digest(path)
    resumed = folder / "resumed.tif"
    options = RemoveOptions(**{**plain, "steps": 4, "output": resumed, "resume": True})
    _stopped(options)
    remove(options)
    yield resumed.stem, digest(resumed)
    for dilate in (0.0, 40.0):
        mask, sure = folder / f"mask-{dilate:g}.tif", folder / f"confidence-{dilate:g}.tif"
        write_mask(RemoveOptions(**{**plain, "output": mask, "dilate": dilate}), confidence=sure)
        yield mask.stem, digest(mask)
        yield sure.stem, digest(sure)


def difference(one: Path, other: Path) -> str:
    """Largest difference of two rasters, and the number of values that differ."""
    if not (one.exists() and other.exists()):
        return "?"
    with rasterio.open(one) as first, rasterio.open(other) as second:
        off = np.abs(first.read().astype(np.float64) - second.read().astype(np.float64))
    return f"{np.nanmax(off):g} at most, in {int((off > 0).sum())} of {off.size} values"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", type=Path, help="JSON file to write")
    parser.add_argument("--compare", type=Path, help="JSON file of another run")
    parser.add_argument("--keep", type=Path, help="folder for the rasters; with --compare, of the other run")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if chosen.keep and not chosen.compare:
            folder = chosen.keep
            folder.mkdir(parents=True, exist_ok=True)
        expected = json.loads(chosen.compare.read_text()) if chosen.compare else {}
        found, changed = {}, 0
        for name, value in digests(folder):
            found[name] = value
            same = expected.get(name) in (None, value)
            changed += not same
            far = (
                ""
                if same or not chosen.keep
                else difference(folder / f"{name}.tif", chosen.keep / f"{name}.tif")
            )
            print(f"{name:24} {value[:16]} {'' if same else 'CHANGED'} {far}", flush=True)
        if chosen.store:
            chosen.store.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(f"{changed} rasters changed" if changed else 0)


if __name__ == "__main__":
    main()
