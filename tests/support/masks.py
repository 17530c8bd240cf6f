"""Masks of other tools on a small grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS

from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.masks.mask_raster import open_mask

if TYPE_CHECKING:
    from pathlib import Path


GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 600000, 0, -10, 5900040), 60, 80)


def raster(*values: float, dtype: str = "uint8") -> NDArray[Any]:
    """Pixels of GRID: a patch of each of `values`, and the first one everywhere else."""
    pixels = np.full((80, 60), values[0], dtype)
    for place, value in enumerate(values):
        pixels[3 * place : 3 * place + 3, 20:30] = value
    return pixels


def read(path: Path, codes: str | None = None) -> tuple[str, NDArray[np.uint8]]:
    """Name of the scheme that a mask is read by, and its classes."""
    with open_mask(path, GRID, codes=codes) as mask:
        return mask.scheme.name, mask.read(0, 80)
