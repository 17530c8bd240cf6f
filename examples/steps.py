"""Compare the images of one step and of four steps over the middle of a scene.

python examples/steps.py s2.SAFE.zip s1.tif folder
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyproj
import rasterio

from cmcr_cli import RemoveOptions, load_model, open_scene, remove
from cmcr_cli.output.provenance import RECONSTRUCTED

HALF = 1280
"""Metres from the middle to each side of the window."""


def main() -> None:
    """Run on the files named on the command line; writes steps_N.tif, _provenance.tif and .html."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("s2")
    parser.add_argument("s1")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    given.folder.mkdir(exist_ok=True)

    with open_scene(given.s2, given.s1) as scene:
        grid = scene.grid
        print(f"{scene.optical.level}, {grid.describe()}, offset {scene.optical.radiometry.offset:g}")
        middle = scene.reflectance(grid.height // 2, 1)[3]
        print(f"red along the middle row: {np.median(middle):.3f}")
        x, y = grid.footprint().centroid.coords[0]
        to_degrees = pyproj.Transformer.from_crs(grid.crs.to_wkt(), "EPSG:4326", always_xy=True)
    bbox = to_degrees.transform_bounds(x - HALF, y - HALF, x + HALF, y + HALF)

    model = load_model()  # once for both
    images = {}
    for steps in (1, 4):
        output, which = given.folder / f"steps_{steps}.tif", given.folder / f"steps_{steps}_provenance.tif"
        page = given.folder / f"steps_{steps}.html"
        options = RemoveOptions(
            s2=given.s2, s1=given.s1, output=output, provenance=which, report=page, steps=steps, bbox=bbox
        )
        remove(options, model=model)
        with rasterio.open(output) as image, rasterio.open(which) as origin:
            images[steps] = image.read().astype(float) / 10_000
            covered = origin.read(1) == RECONSTRUCTED
    apart = np.abs(images[4] - images[1]).mean(axis=0)
    print(f"{covered.mean():.0%} of the window was reconstructed")
    print(f"mean difference there: {apart[covered].mean() if covered.any() else 0:.4f} in reflectance")


if __name__ == "__main__":
    main()
