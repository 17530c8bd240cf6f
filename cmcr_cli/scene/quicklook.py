"""A small picture of what was done: before, after, and what changed, side by side in one PNG."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from cmcr_cli.scene.cog import NODATA, RECONSTRUCTED, output_errors, part_files, replace

LARGEST, SMALLEST = 1024, 512
"""Longest side of a panel in pixels: larger scenes are averaged in square cells, smaller ones repeated."""

PERCENTILES = (1, 99)
GAMMA = 1 / 1.5

NODATA_GREY = 0.08
SEPARATOR = 6

TINT = np.array([1.0, 0.35, 0.1], dtype=np.float32)[:, None, None]
TINT_STRENGTH = 0.6


class Quicklook:
    """Gathers strips of a scene of any size into cell means, in memory of a few tens of megabytes."""

    def __init__(self, width: int, height: int) -> None:
        """Quicklook of a scene of `width` x `height` pixels."""
        self._cell = -(-max(width, height) // LARGEST)
        rows, columns = -(-height // self._cell), -(-width // self._cell)
        self._before = np.zeros((3, rows, columns), dtype=np.float32)
        self._after = np.zeros_like(self._before)
        self._valid = np.zeros((rows, columns), dtype=np.float32)
        self._reconstructed = np.zeros_like(self._valid)

    def add(
        self,
        top: int,
        before: NDArray[np.float32],
        after: NDArray[np.float32],
        provenance: NDArray[np.uint8],
    ) -> None:
        """Add a strip of any height from row `top`: reflectance (3, rows, width) of B04, B03 and B02.

        Of `provenance` (rows, width), pixels of 0 (nodata) are left out, and 2 counts as reconstructed.
        """
        valid = provenance != NODATA
        first = top // self._cell
        cells = slice(first, -(-(top + len(provenance)) // self._cell))
        for band in range(3):
            self._before[band, cells] += self._sums(top, np.where(valid, before[band], 0))
            self._after[band, cells] += self._sums(top, np.where(valid, after[band], 0))
        self._valid[cells] += self._sums(top, valid.astype(np.float32))
        self._reconstructed[cells] += self._sums(top, (provenance == RECONSTRUCTED).astype(np.float32))

    def write(self, path: Path) -> None:
        """Write the PNG, whole or not at all. Raises OutputError when it cannot be written.

        Both images share a stretch, taken from the image after: each band starts at its 1st percentile, which
        takes off the blue of the air, and all span the same reflectance, which keeps the hues. Clouds before
        clip to white.
        """
        seen = self._valid > 0
        count = np.maximum(self._valid, 1)
        before, after, reconstructed = self._before / count, self._after / count, self._reconstructed / count
        low, span = stretch_of(after[:, seen]) if seen.any() else (np.zeros(3), 1.0)
        before, after = (stretched(image, low, span) for image in (before, after))
        grey = after.mean(axis=0, keepdims=True)
        changed = grey + reconstructed * TINT_STRENGTH * (TINT - grey)
        repeat = max(1, SMALLEST // max(seen.shape))
        panels = [
            np.where(seen, image, NODATA_GREY).repeat(repeat, 1).repeat(repeat, 2)
            for image in (before, after, changed)
        ]
        between = np.ones((3, panels[0].shape[1], SEPARATOR), dtype=np.float32)
        picture = np.concatenate([panels[0], between, panels[1], between, panels[2]], axis=2)
        write_png(path, np.rint(picture * 255).astype(np.uint8))

    def _sums(self, top: int, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sums of a strip (rows, width) over the cells it touches."""
        starts = np.arange(top // self._cell * self._cell, top + len(plane), self._cell) - top
        by_row = np.add.reduceat(plane, np.maximum(starts, 0), axis=0)
        sums: NDArray[np.float32] = np.add.reduceat(by_row, np.arange(0, plane.shape[1], self._cell), axis=1)
        return sums


def stretch_of(pixels: NDArray[Any]) -> tuple[NDArray[Any], float]:
    """Lower ends (3,) and common span of the stretch that shows reflectance (3, N) well."""
    low, high = np.percentile(pixels, PERCENTILES, axis=1)
    return low, max(float((high - low).max()), 1e-3)


def stretched(image: NDArray[Any], low: NDArray[Any], span: float) -> NDArray[Any]:
    """Reflectance (3, H, W) as brightness on a screen, 0 to 1."""
    return np.asarray(np.clip((image - low[:, None, None]) / span, 0, 1) ** GAMMA)


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write (3, H, W) as a PNG, whole or not at all. Raises OutputError when it cannot be written."""
    bands, height, width = picture.shape
    with part_files(path) as part, output_errors(path), warnings.catch_warnings():
        # A picture needs no georeference, and with one GDAL would leave a .aux.xml file.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        png = part.with_name(part.name + ".png.part")
        with rasterio.open(
            png, "w", driver="PNG", width=width, height=height, count=bands, dtype="uint8"
        ) as dataset:
            dataset.write(picture)
        replace(png, path)
