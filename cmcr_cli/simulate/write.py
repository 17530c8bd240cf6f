"""Simulated scenes: a window in memory, or a whole scene written as GeoTIFFs tile by tile."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import DatasetWriter
from rasterio.transform import Affine
from rasterio.windows import Window as RasterWindow

from cmcr_cli.errors import OptionError, OutputError
from cmcr_cli.output.claims import check_writable
from cmcr_cli.output.files import GDAL_ERRORS, FileSet
from cmcr_cli.output.lock import locked
from cmcr_cli.scene.bands import BANDS, RADAR_BANDS
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.radiometry import Radiometry
from cmcr_cli.scene.sun import AZIMUTH_TAG, ZENITH_TAG, Sun
from cmcr_cli.simulate.clouds import add_clouds, check_cover
from cmcr_cli.simulate.noise import Field, Window
from cmcr_cli.simulate.palette import Recipe, draw_recipe
from cmcr_cli.simulate.surface import simulate_ground

_TILE = 512
_PIXEL = 10.0  # metres


@dataclass(frozen=True, slots=True)
class SimulatedWindow:
    """A simulated window in memory; bands are in the order of `scene.bands.BANDS`."""

    truth: Field
    """Reflectance without clouds, (13, height, width)."""
    cloudy: Field
    """Reflectance with clouds and shadows, (13, height, width)."""
    radar: Field
    """VV and VH in dB, (2, height, width)."""
    opacity: Field
    """Share of the ground's light that clouds absorb or scatter, 0 to 1, (height, width)."""
    shadow: Field
    """Share of the direct sun that clouds block, 0 to 1, (height, width)."""
    mask: NDArray[np.uint8]
    """SCL codes: 4 clear, 9 cloud, 10 thin cloud or haze, 3 shadow, (height, width)."""


@dataclass(frozen=True, slots=True)
class SimulatedScene:
    """The files of a simulated scene."""

    s2: Path
    """Cloudy Sentinel-2 Level-1C, 13 bands, DN uint16."""
    s1: Path
    """Sentinel-1 VV and VH in dB."""
    truth: Path
    """The same as `s2` without clouds."""
    mask: Path
    """SCL codes: 4 clear, 9 cloud, 10 thin cloud or haze, 3 shadow."""


def simulate_window(
    seed: int, top: int, left: int, height: int, width: int, cloud_cover: float = 0.4
) -> SimulatedWindow:
    """Simulate a window in memory; a pixel is bit-identical in every window that contains it.

    Args:
        seed: Which scene.
        top: First row.
        left: First column.
        height: Number of rows.
        width: Number of columns.
        cloud_cover: Approximate share of a whole scene under cloud, 0 to 1.

    Returns:
        The window.

    Raises:
        OptionError: `cloud_cover` is out of range.
    """
    truth, radar = simulate_ground(seed, Window(top, left, height, width))
    cloudy, opacity, shadow, mask = add_clouds(truth, seed, cloud_cover, top, left)
    return SimulatedWindow(truth, cloudy, radar, opacity, shadow, mask)


def _tiles(size: int) -> Iterator[Window]:
    for top in range(0, size, _TILE):
        for left in range(0, size, _TILE):
            yield Window(top, left, min(_TILE, size - top), min(_TILE, size - left))


def _tile_rasters(window: Window, seed: int, cloud_cover: float) -> dict[str, NDArray[Any]]:
    """Pixels of one tile for each of the four files."""
    pixels = simulate_window(seed, window.top, window.left, window.height, window.width, cloud_cover)
    dn = partial(Radiometry().dn, dtype=np.dtype(np.uint16), nodata=0)
    return {"s2": dn(pixels.cloudy), "s1": pixels.radar, "truth": dn(pixels.truth), "mask": pixels.mask[None]}


class _Profile(NamedTuple):
    names: tuple[str, ...]
    dtype: str
    nodata: int | None
    predictor: int


_PROFILES = {
    "s2": _Profile(BANDS, "uint16", 0, 2),
    "s1": _Profile(RADAR_BANDS, "float32", None, 3),
    "truth": _Profile(BANDS, "uint16", 0, 2),
    "mask": _Profile(("SCL",), "uint8", None, 2),
}


def _create(path: Path, size: int, seed: int, profile: _Profile) -> DatasetWriter:
    """Create an empty tiled GeoTIFF on the grid of the scene."""
    recipe = draw_recipe(seed)
    biome = recipe.biome
    transform = Affine(_PIXEL, 0, biome.origin[0], 0, -_PIXEL, biome.origin[1])
    dataset = rasterio.open(
        path, "w", driver="GTiff", width=size, height=size, count=len(profile.names), dtype=profile.dtype,
        crs=f"EPSG:{biome.epsg}", transform=transform, nodata=profile.nodata,
        tiled=True, blockxsize=_TILE, blockysize=_TILE, compress="zstd", zstd_level=1,
        predictor=profile.predictor, bigtiff="if_safer",
    )  # fmt: skip
    dataset.descriptions = profile.names
    if profile.names == BANDS:
        sun = _sun(recipe, Grid.from_dataset(dataset))
        dataset.update_tags(**{AZIMUTH_TAG: f"{sun.azimuth:.4f}", ZENITH_TAG: f"{90 - sun.elevation:.4f}"})
    return dataset


def _sun(recipe: Recipe, grid: Grid) -> Sun:
    """Sun of the recipe, with its azimuth converted from grid north to true north."""
    azimuth, elevation = math.degrees(recipe.sun_azimuth), 90 - math.degrees(recipe.sun_zenith)
    rows, columns = Sun(azimuth, elevation).direction(grid)
    convergence = azimuth - math.degrees(math.atan2(columns, -rows))  # small: azimuths are 120 to 175
    return Sun(azimuth + convergence, elevation)


def _write(
    paths: dict[str, Path], size: int, seed: int, cloud_cover: float, progress: Callable[[float], None] | None
) -> dict[str, list[int]]:
    """Write the four rasters, with one tile per core in memory at a time; return checksums of tiles."""
    tiles = list(_tiles(size))
    checksums: dict[str, list[int]] = {name: [] for name in paths}
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(_create(paths[name], size, seed, profile))
            for name, profile in _PROFILES.items()
        }
        pool = stack.enter_context(ThreadPoolExecutor(cores := os.cpu_count() or 1))
        # Submitted in batches, because finished tiles that wait to be written would fill the memory.
        for start in range(0, len(tiles), cores):
            batch = tiles[start : start + cores]
            rasters = pool.map(partial(_tile_rasters, seed=seed, cloud_cover=cloud_cover), batch)
            for tile, by_name in zip(batch, rasters, strict=True):
                for name, pixels in by_name.items():
                    files[name].write(pixels, window=_window(tile))
                    checksums[name].append(zlib.crc32(np.ascontiguousarray(pixels).data))
            if progress:
                progress((start + len(batch)) / len(tiles))
    return checksums


def _check(path: Path, size: int, checksums: list[int]) -> None:
    """Raise OutputError unless all tiles are as they were written: GDAL may not report a failure."""
    with rasterio.open(path) as dataset:
        for tile, checksum in zip(_tiles(size), checksums, strict=True):
            if zlib.crc32(dataset.read(window=_window(tile)).data) != checksum:
                raise OutputError(
                    f"{path}: has other pixels than were written; expected the same. The disk is full or "
                    "damaged: choose another folder."
                )


def _window(tile: Window) -> RasterWindow:
    return RasterWindow(tile.left, tile.top, tile.width, tile.height)


def simulate_scene(
    out_dir: Path,
    *,
    size: int,
    seed: int,
    cloud_cover: float = 0.4,
    overwrite: bool = False,
    progress: Callable[[float], None] | None = None,
) -> SimulatedScene:
    """Write s2.tif, s1.tif, truth.tif and mask.tif of a simulated scene.

    Memory does not depend on the size. A scene is the upper left part of any larger scene of the same seed.
    Files get their names only when they are complete.

    Args:
        out_dir: Folder of the files; created if needed.
        size: Pixels along each side, 1 or more.
        seed: Which scene.
        cloud_cover: Approximate share of the scene under cloud, 0 to 1.
        overwrite: Whether existing files are replaced.
        progress: Called with the share that is done, 0 to 1.

    Returns:
        Paths of the files.

    Raises:
        OptionError: `size` or `cloud_cover` is out of range.
        OutputError: A file exists and `overwrite` is False, or a file cannot be written.
    """
    if size < 1:
        raise OptionError(f"--size {size}: expected 1 or more")
    check_cover(cloud_cover)
    scene = SimulatedScene(*(out_dir / f"{name}.tif" for name in _PROFILES))
    present = [path.name for path in astuple(scene) if path.exists()]
    if present and not overwrite:
        raise OutputError(f"{out_dir}: {', '.join(present)} exist already; use --overwrite to replace them")
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        paths = list(astuple(scene))
        for path in paths:
            check_writable(path, overwrite)
        with locked(paths), FileSet(paths, overwrite=overwrite) as files:
            parts = {name: files.part(path) for name, path in zip(_PROFILES, paths, strict=True)}
            checksums = _write(parts, size, seed, cloud_cover, progress)
            for name, path in zip(_PROFILES, paths, strict=True):
                _check(parts[name], size, checksums[name])
                files.finish(path)
    except GDAL_ERRORS as error:
        raise OutputError(
            f"{out_dir}: cannot write the scene ({error}); choose a writable folder with enough free space"
        ) from error
    return scene
