"""What a Cloud-Optimized GeoTIFF is to be, and GDAL's options for it, tried on a small raster beforehand."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import StatisticsError
from rasterio.io import MemoryFile
from rasterio.shutil import copy as gdal_copy

from cmcr_cli.errors import OptionError
from cmcr_cli.output.catalogue.categories import Categories
from cmcr_cli.output.catalogue.spectrum import Spectral
from cmcr_cli.output.write_errors import GDAL_ERRORS, gdal_warnings, output_errors
from cmcr_cli.scene.grid import Grid

BLOCK = 256
"""Rows that are checked at once, and the side of the blocks of small images."""

COG_BLOCK = 512

TRIAL = 16
"""Rows of the raster on which creation options are tried; it is as much wider than a block, for overviews."""

TRIAL_BLOCK = 1024
"""The widest block to which that applies: GDAL fills up the blocks, which takes its time."""


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """Raster to be written, apart from its pixels.

    Attributes:
        path: The file.
        grid: CRS, transform and size.
        count: Number of bands.
        dtype: Type of the values.
        nodata: Nodata value; None: none.
        descriptions: Of each band; empty: none.
        scales: Of each band; empty: none.
        offsets: Of each band; empty: none.
        tags: Tags of the file.
        creation_options: GDAL's, in place of the defaults.
        categorical: Whether values are classes, which overviews must not average.
        categories: What its values mean, if it holds classes.
        spectrum: Wavelengths of its bands, if they are spectral.
        masked: Whether it has a mask of where it is valid besides its nodata value.
    """

    path: Path
    grid: Grid
    count: int
    dtype: str
    nodata: float | None = None
    descriptions: tuple[str | None, ...] = ()
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    creation_options: Mapping[str, str] = field(default_factory=dict)
    categorical: bool = False
    categories: Categories = ()
    spectrum: tuple[Spectral, ...] = ()
    masked: bool = False


def check_creation_options(spec: OutputSpec) -> None:
    """Check that a small raster written with these creation options comes back as it was.

    That catches names and values that GDAL warns of and ignores, lossy compression, and options that warp.

    Args:
        spec: The raster to be written.

    Raises:
        OptionError: It does not.
    """
    options = cog_options(spec)
    text = " ".join(f"{name}={value}" for name, value in spec.creation_options.items())
    block = options["BLOCKSIZE"]
    # GDAL aborts the whole process on a BLOCKSIZE that is no number.
    if not (block.isdecimal() and 128 <= int(block) <= 4096 and int(block) % 16 == 0):
        raise OptionError(f"--co BLOCKSIZE={block}: expected a multiple of 16 from 128 to 4096.")
    shape = TRIAL, TRIAL + min(int(block), TRIAL_BLOCK)
    pixels = _noise((spec.count, *shape), np.dtype(spec.dtype))
    # Asked for by hand, the number of threads is part of the trial; otherwise one, which reports all errors.
    options["NUM_THREADS"] = spec.creation_options.get("NUM_THREADS", "1")
    profile = {
        "crs": spec.grid.crs,
        "transform": spec.grid.transform,
        "count": spec.count,
        "dtype": spec.dtype,
    }
    with MemoryFile() as plain, MemoryFile() as cog, gdal_warnings() as warnings:
        with plain.open(driver="GTiff", height=shape[0], width=shape[1], **profile) as dataset:
            dataset.write(pixels)
        try:
            gdal_copy(plain.name, cog.name, driver="COG", **options)
        except GDAL_ERRORS as error:
            raise OptionError(f"--co {text}: GDAL cannot write a COG with this ({error}).") from error
        if warnings:
            raise OptionError(f"--co {text}: {warnings[0]}; expected creation options of GDAL's COG driver.")
        with cog.open() as dataset:
            same_grid = dataset.transform == spec.grid.transform and dataset.shape == shape
            if not (same_grid and np.array_equal(dataset.read(), pixels)):
                raise OptionError(
                    f"--co {text}: changes the grid or the pixels; expected lossless creation options, "
                    "since clear pixels are kept bit for bit."
                )


def _noise(shape: tuple[int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values over all that `dtype` holds, which no lossy compression keeps."""
    bits = np.frombuffer(
        np.random.default_rng(0).bytes(int(np.prod(shape)) * dtype.itemsize), f"u{dtype.itemsize}"
    )
    return (bits.view(dtype) if dtype.kind in "iu" else bits.astype(dtype)).reshape(shape)


def add_statistics(dataset: Any) -> None:
    """Give bands their statistics.

    Left to GDAL 3.10's COG driver, these would cost the bands their metadata in the domain IMAGERY.

    Args:
        dataset: An open raster, all of whose rows are written.
    """
    with gdal_warnings(), suppress(StatisticsError):  # as where no pixel is valid
        dataset.update_stats()


def cog_options(spec: OutputSpec) -> dict[str, str]:
    """Choose creation options of GDAL's COG driver.

    Args:
        spec: The raster to be written.

    Returns:
        Values by name; those that the user gives win.
    """
    width, height = spec.grid.width, spec.grid.height
    # Blocks as wide as the image look like strips to validators.
    large = max(width, height) > COG_BLOCK and width != COG_BLOCK
    options = {
        "BLOCKSIZE": str(COG_BLOCK if large else BLOCK),
        "BIGTIFF": "IF_SAFER",
        "OVERVIEW_RESAMPLING": "NEAREST" if spec.categorical or spec.categories else "AVERAGE",
        "NUM_THREADS": threads(),
    }
    if "COMPRESS" not in spec.creation_options:
        # Level 1 with a predictor is as small as level 6 on Sentinel-2, and written in half the time.
        options |= {"COMPRESS": "DEFLATE", "LEVEL": "1", "PREDICTOR": "YES"}
    return options | dict(spec.creation_options)


def threads() -> str:
    """Choose how many threads GDAL uses for a COG.

    Returns:
        The number, or ALL_CPUS, as GDAL's options take it.
    """
    return os.environ.get("GDAL_NUM_THREADS", "ALL_CPUS")


def try_writing(spec: OutputSpec, rows: NDArray[Any]) -> tuple[float, int]:
    """Time and weigh rows on their way to a COG, written to memory.

    Args:
        spec: The raster.
        rows: Pixels (count, any height, width).

    Returns:
        Seconds, and bytes of the COG.

    Raises:
        OutputError: GDAL cannot write them.
    """
    size = {"height": rows.shape[1], "width": rows.shape[2], "count": spec.count, "dtype": spec.dtype}
    started = time.monotonic()
    with output_errors(spec.path), MemoryFile() as plain, MemoryFile() as cog:
        with plain.open(
            driver="GTiff", tiled=True, blockxsize=BLOCK, blockysize=BLOCK,
            crs=spec.grid.crs, transform=spec.grid.transform, **size,
        ) as dataset:  # fmt: skip
            dataset.write(rows)
            add_statistics(dataset)
        gdal_copy(plain.name, cog.name, driver="COG", **cog_options(spec))
        with cog.open() as dataset:
            dataset.read()
        return time.monotonic() - started, len(cog)
