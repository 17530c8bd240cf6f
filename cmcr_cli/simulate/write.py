"""Simulated scenes: a window in memory, or a whole scene and its earlier dates as GeoTIFFs, tile by tile."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
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
from cmcr_cli.output.files import FileSet
from cmcr_cli.output.lock import locked, restore_old
from cmcr_cli.output.write_errors import GDAL_ERRORS
from cmcr_cli.scene.bands import BANDS, RADAR_BANDS
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.layers.reflectance_units import OURS
from cmcr_cli.scene.radiometry import Radiometry
from cmcr_cli.scene.sun import AZIMUTH_TAG, ZENITH_TAG, Sun
from cmcr_cli.simulate.clouds import add_clouds, check_cover, simulate_sky
from cmcr_cli.simulate.noise import Field, Window
from cmcr_cli.simulate.palette import SceneRecipe
from cmcr_cli.simulate.seasons import Date, draw_dates, scene_date
from cmcr_cli.simulate.surface import simulate_ground, simulate_optical

_TILE = 512
_PIXEL = 10.0  # metres
_TIME_TAG = "PRODUCT_START_TIME"  # GDAL gives Sentinel-2 products a tag of this name


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
class SimulatedDate:
    """The files of an earlier date of a simulated scene."""

    s2: Path
    """Cloudy Sentinel-2 Level-1C, as that of the scene."""
    mask: Path
    """SCL codes, as that of the scene."""
    days: int
    """Days before the scene."""


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
    dates: tuple[SimulatedDate, ...] = ()
    """Earlier dates, the latest first."""

    @property
    def files(self) -> list[Path]:
        """All files."""
        earlier = (path for date in self.dates for path in (date.s2, date.mask))
        return [self.s2, self.s1, self.truth, self.mask, *earlier]


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


_Rasters = dict[str, NDArray[Any]]


def _dn(reflectance: Field) -> NDArray[Any]:
    return Radiometry().dn(reflectance, dtype=np.dtype(np.uint16), nodata=0)


def _scene_rasters(window: Window, seed: int, cloud_cover: float) -> _Rasters:
    """Pixels of one tile for each of the four files of a scene."""
    pixels = simulate_window(seed, window.top, window.left, window.height, window.width, cloud_cover)
    return {
        "s2": _dn(pixels.cloudy),
        "s1": pixels.radar,
        "truth": _dn(pixels.truth),
        "mask": pixels.mask[None],
    }


def _date_rasters(window: Window, seed: int, cloud_cover: float, date: Date) -> _Rasters:
    """Pixels of one tile for each of the two files of an earlier date."""
    clear = simulate_optical(seed, window, date)
    sky = simulate_sky(date.sky, cloud_cover, window, date.recipe)
    return {"s2": _dn(clear * sky.gain + sky.added), "mask": sky.mask()[None]}


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


def _create(path: Path, size: int, date: Date, profile: _Profile) -> DatasetWriter:
    """Create an empty tiled GeoTIFF on the grid of the scene; images say when they were taken."""
    biome = date.recipe.biome
    transform = Affine(_PIXEL, 0, biome.origin[0], 0, -_PIXEL, biome.origin[1])
    dataset = rasterio.open(
        path, "w", driver="GTiff", width=size, height=size, count=len(profile.names), dtype=profile.dtype,
        crs=f"EPSG:{biome.epsg}", transform=transform, nodata=profile.nodata,
        tiled=True, blockxsize=_TILE, blockysize=_TILE, compress="zstd", zstd_level=1,
        predictor=profile.predictor, bigtiff="if_safer",
    )  # fmt: skip
    dataset.descriptions = profile.names
    if profile.names == BANDS:
        sun = _sun(date.recipe, Grid.from_dataset(dataset))
        dataset.update_tags(**{AZIMUTH_TAG: f"{sun.azimuth:.4f}", ZENITH_TAG: f"{90 - sun.elevation:.4f}"})
        dataset.update_tags(**{OURS: "0 (simulated)"})
        dataset.update_tags(**{_TIME_TAG: f"{date.time:%Y-%m-%dT%H:%M:%S.000Z}"})
    return dataset


def _sun(recipe: SceneRecipe, grid: Grid) -> Sun:
    """Sun of the recipe, with its azimuth converted from grid north to true north."""
    azimuth, elevation = math.degrees(recipe.sun_azimuth), 90 - math.degrees(recipe.sun_zenith)
    rows, columns = Sun(azimuth, elevation).direction(grid)
    convergence = math.remainder(azimuth - math.degrees(math.atan2(columns, -rows)), 360)
    return Sun((azimuth + convergence) % 360, elevation)


def _write_date(
    paths: Mapping[str, Path],
    size: int,
    seed: int,
    cloud_cover: float,
    date: Date,
    progress: Callable[[float], None],
) -> None:
    """Write the rasters of one date to `paths` by their names, with one tile per core in memory at a time."""
    if date.days:
        rasters_of = partial(_date_rasters, seed=seed, cloud_cover=cloud_cover, date=date)
        names = {"s2": f"s2_{date.stamp}", "mask": f"mask_{date.stamp}"}
    else:
        rasters_of = partial(_scene_rasters, seed=seed, cloud_cover=cloud_cover)
        names = {name: name for name in _PROFILES}
    tiles = list(_tiles(size))
    checksums: dict[str, list[int]] = {kind: [] for kind in names}
    with ExitStack() as stack:
        files = {
            kind: stack.enter_context(_create(paths[f"{name}.tif"], size, date, _PROFILES[kind]))
            for kind, name in names.items()
        }
        pool = stack.enter_context(ThreadPoolExecutor(cores := os.cpu_count() or 1))
        # Submitted in batches, because finished tiles that wait to be written would fill the memory.
        for start in range(0, len(tiles), cores):
            batch = tiles[start : start + cores]
            for tile, by_name in zip(batch, pool.map(rasters_of, batch), strict=True):
                for kind, pixels in by_name.items():
                    files[kind].write(pixels, window=_window(tile))
                    checksums[kind].append(zlib.crc32(np.ascontiguousarray(pixels).data))
            progress((start + len(batch)) / len(tiles))
    for kind, name in names.items():
        _check(paths[f"{name}.tif"], size, checksums[kind])


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
    dates: int = 0,
    overwrite: bool = False,
    progress: Callable[[float], None] | None = None,
) -> SimulatedScene:
    """Write s2.tif, s1.tif, truth.tif and mask.tif of a simulated scene, and earlier dates of its ground.

    An earlier date is dates/s2_YYYYMMDDTHHMMSS.tif and masks/mask_YYYYMMDDTHHMMSS.tif. Images have a tag with
    their time.

    Memory does not depend on the size or the dates. A scene is the upper left part of any larger scene of the
    same seed. Files get their names only when they are complete.

    Args:
        out_dir: Folder of the files; created if needed.
        size: Pixels along each side, 1 or more.
        seed: Which scene.
        cloud_cover: Approximate share of each date under cloud, 0 to 1.
        dates: Number of earlier dates.
        overwrite: Whether existing files are replaced.
        progress: Called with the share that is done, 0 to 1.

    Returns:
        Paths of the files.

    Raises:
        OptionError: `size`, `cloud_cover` or `dates` is out of range.
        OutputError: A file exists and `overwrite` is False, a file cannot be written, or there are other
            dates in the folder.
    """
    if size < 1:
        raise OptionError(f"--size {size}: expected 1 or more")
    check_cover(cloud_cover)
    drawn = [scene_date(seed), *draw_dates(seed, dates)]
    scene = _named(out_dir, drawn[1:])
    restore_old(scene.files)
    _check_present(out_dir, scene.files, overwrite)
    try:
        for path in scene.files:
            path.parent.mkdir(parents=True, exist_ok=True)
            check_writable(path, overwrite)
        with locked(scene.files), FileSet(scene.files, overwrite=overwrite) as files:
            parts = {path.name: files.part(path) for path in scene.files}
            for index, date in enumerate(drawn):
                ended = partial(_report, progress, index, len(drawn))
                _write_date(parts, size, seed, cloud_cover, date, ended)
            for path in scene.files:
                files.finish(path)
    except GDAL_ERRORS as error:
        raise OutputError(
            f"{out_dir}: cannot write the scene ({error}); choose a writable folder with enough free space"
        ) from error
    return scene


def _named(out_dir: Path, dates: Sequence[Date]) -> SimulatedScene:
    """Name the files of a scene and its dates."""
    earlier = (
        SimulatedDate(
            out_dir / "dates" / f"s2_{date.stamp}.tif",
            out_dir / "masks" / f"mask_{date.stamp}.tif",
            date.days,
        )
        for date in dates
    )
    s2, s1, truth, mask = (out_dir / f"{name}.tif" for name in _PROFILES)
    return SimulatedScene(s2, s1, truth, mask, tuple(earlier))


def _check_present(out_dir: Path, files: Sequence[Path], overwrite: bool) -> None:
    """Raise OutputError for files that exist, and for dates that would be mixed with those of this scene."""
    present = [path.name for path in files if path.exists()]
    if present and not overwrite:
        raise OutputError(f"{out_dir}: {', '.join(present)} exist already; use --overwrite to replace them")
    for folder in (out_dir / "dates", out_dir / "masks"):
        others = sorted({*folder.glob("*")} - {*files})
        if others:
            raise OutputError(
                f"{folder}: holds {others[0].name}, which is not one of the dates to write; remove the "
                "folder or choose another OUT_DIR, so that no dates of another scene remain"
            )


def _report(progress: Callable[[float], None] | None, index: int, count: int, done: float) -> None:
    if progress:
        progress((index + done) / count)
