"""Reading Sentinel-1: polarisations, units, and alignment to the Sentinel-2 grid.

A scene without Sentinel-1 has no reader: callers pass `None` where a `Radar` may stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling

from cmcr_cli.errors import GridMismatchError, InputError, RadiometryError
from cmcr_cli.scene.bands import RADAR_BANDS
from cmcr_cli.scene.grid import Grid, crs_name
from cmcr_cli.scene.products.stac import is_item, radar_item
from cmcr_cli.scene.products.stack import open_stack
from cmcr_cli.scene.radiometry import decibels
from cmcr_cli.scene.raster import Source, aligned, open_raster
from cmcr_cli.warning_kinds import RadarWarning

RadarUnits = Literal["db", "linear"]

LEAST_OVERLAP = 0.05
FULL_OVERLAP = 0.99

DB_MEDIAN = (-50.0, 0.0)
LINEAR_MEDIAN = (0.0, 10.0)
"""Backscatter's median in dB is negative; as linear power it is small and positive (0.1 on land)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Radar:
    """Open Sentinel-1 backscatter on the scene's grid; get one from `open_radar`. One handle: one thread."""

    source: Source
    units: RadarUnits
    nodata: float | None
    scaling: NDArray[np.float32]  # (2 bands, scale and offset) of the file's tags
    warnings: tuple[RadarWarning, ...]

    @property
    def path(self) -> str:
        """The path that was opened."""
        return self.source.path

    def read(self, top: int, rows: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read full-width rows.

        Args:
            top: First row.
            rows: Number of rows.

        Returns:
            VV and VH in dB (2, rows, width), not clipped, NaN where not valid; and where both are valid
            (rows, width).

        Raises:
            InputError: The file is damaged.
        """
        values = _measured(self.source.read(top, rows), self.nodata, self.scaling)
        db = decibels(values) if self.units == "linear" else values
        valid = np.asarray(np.isfinite(db).all(axis=0))
        db[:, ~valid] = np.nan
        return db, valid

    def lines(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read rows in any order as one window.

        Args:
            rows: Rows, such as `reflected` returns them.

        Returns:
            As for `read`.
        """
        first = int(rows.min())
        db, valid = self.read(first, int(rows.max()) + 1 - first)
        return db[:, rows - first], valid[rows - first]


@contextmanager
def open_radar(
    path: str | Path | tuple[str, str], grid: Grid, *, units: Literal["auto", "db", "linear"] = "auto"
) -> Iterator[Radar]:
    """Open VV and VH backscatter in any CRS and grid, aligned to a grid.

    Pixels on another grid are interpolated bilinearly, in the units they are stored in.

    Args:
        path: A stack, a STAC item, or a pair of files, VV and VH.
        grid: Grid of the scene.
        units: Units of the values; auto: detected from the value range.

    Yields:
        The open radar.

    Raises:
        InputError: A file cannot be used, or has no valid pixel over the scene.
        RadiometryError: Polarisations or units are unknown.
        GridMismatchError: It covers less than 5 % of `grid`.
    """
    with _dataset(path) as dataset:
        path = path if isinstance(path, str | Path) else " and ".join(path)
        indexes = _polarisations(dataset, path)
        own = Grid.from_dataset(dataset)
        found = _partial_cover(path, grid, own)
        scaling = np.array(
            [(dataset.scales[i - 1], dataset.offsets[i - 1]) for i in indexes], dtype=np.float32
        )
        with aligned(
            dataset,
            path,
            grid,
            indexes,
            resampling=Resampling.bilinear,
            # Swath borders are 0 in products without a nodata tag, and must not bleed into their neighbours.
            src_nodata=0 if dataset.nodata is None else dataset.nodata,
            nodata=np.nan,
            dtype="float32",
        ) as source:
            if source.warped:
                text = f"Sentinel-1 is resampled (bilinear) from {own.describe()} to the Sentinel-2 grid"
                found += (RadarWarning(text),)
            sample = _valid_sample(source, dataset.nodata, scaling)
            if units == "auto":
                units = _units(sample, path)
                shown = "dB" if units == "db" else "linear power"
                found += (RadarWarning(f"Sentinel-1: units detected as {shown} from the value range"),)
            else:
                found += _doubts(sample, path, units)
            yield Radar(source=source, units=units, nodata=dataset.nodata, scaling=scaling, warnings=found)


@contextmanager
def _dataset(path: str | Path | tuple[str, str]) -> Iterator[Any]:
    if isinstance(path, tuple) or is_item(str(path)):
        files = (
            dict(zip(RADAR_BANDS, path, strict=True)) if isinstance(path, tuple) else radar_item(str(path))
        )
        with open_stack(files, "Sentinel-1") as (dataset, _):
            yield dataset
        return
    with open_raster(path, "a Sentinel-1 scene") as dataset:
        yield dataset


def _measured(
    stored: NDArray[Any], nodata: float | None, scaling: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Stored values (2, ...) with the file's scale and offset applied; 0, nodata and infinity become NaN."""
    values = stored.astype(np.float32)
    absent = ~np.isfinite(values) | (values == 0)
    if nodata is not None:
        absent |= values == np.float32(nodata)
    scale, offset = scaling.T.reshape(2, 2, *([1] * (values.ndim - 1)))
    values *= scale
    values += offset
    values[absent] = np.nan
    return values


def _polarisations(dataset: Any, path: str | Path) -> tuple[int, ...]:
    """Band indexes of VV and VH, from the descriptions or else the order."""
    if any("complex" in dtype for dtype in dataset.dtypes):
        raise RadiometryError(
            f"{path}: holds complex pixels (single look complex); expected VV and VH backscatter in dB or "
            "linear power. Calibrate, detect and geocode it first."
        )
    if dataset.count >= 12:
        raise RadiometryError(
            f"{path}: has {dataset.count} bands and looks like Sentinel-2; expected Sentinel-1 (VV, VH). "
            "The Sentinel-2 scene comes first, then the Sentinel-1 scene."
        )
    found: dict[str, int] = {}
    for index, text in zip(dataset.indexes, dataset.descriptions, strict=True):
        spoken = re.findall(r"(?<![A-Z])(VV|VH|HH|HV)(?![A-Z])", (text or "").upper())
        # A description with two polarisations is a ratio or a difference of them.
        if len(spoken) == 1:
            found.setdefault(spoken[0], index)
    if set(RADAR_BANDS) <= set(found):
        return tuple(found[name] for name in RADAR_BANDS)
    if dataset.count != len(RADAR_BANDS) or found:
        seen = ", ".join(text or "no description" for text in dataset.descriptions)
        raise RadiometryError(
            f"{path}: has {dataset.count} bands ({seen}); expected 2, VV and VH, or descriptions that "
            "say which these are. Give single files with --s1-vv and --s1-vh."
        )
    return (1, 2)


def _partial_cover(path: str | Path, grid: Grid, own: Grid) -> tuple[RadarWarning, ...]:
    """A warning where the radar covers part of the scene; GridMismatchError where it covers none."""
    overlap = grid.overlap(own)
    if overlap < LEAST_OVERLAP:
        raise GridMismatchError(
            f"{path}: covers {overlap:.1%} of the Sentinel-2 scene ({crs_name(own.crs)} against "
            f"{crs_name(grid.crs)}); expected at least {LEAST_OVERLAP:.0%}. Give the Sentinel-1 scene of "
            "the same place, or leave it out."
        )
    if overlap < FULL_OVERLAP:
        return (
            RadarWarning(f"Sentinel-1 covers {overlap:.0%} of the scene; the rest is done without radar"),
        )
    return ()


def _valid_sample(source: Source, nodata: float | None, scaling: NDArray[np.float32]) -> NDArray[np.float32]:
    """Valid values (2, n) from a sample of the scene, or from the first strip that has any."""

    def valid(stored: NDArray[Any]) -> NDArray[np.float32]:
        values = _measured(stored.reshape(2, -1), nodata, scaling)
        return values[:, np.isfinite(values).all(axis=0)]

    sample = valid(source.sample())
    if sample.size:
        return sample
    for strip in source.strips():
        sample = valid(strip)
        if sample.size:
            return sample
    raise InputError(
        f"{source.path}: no pixel over the scene is valid (all are NaN, infinite, 0 or nodata); expected VV "
        "and VH backscatter. Check the file and its nodata tag, or leave Sentinel-1 out."
    )


def _doubts(sample: NDArray[np.float32], path: str | Path, units: RadarUnits) -> tuple[RadarWarning, ...]:
    """Warnings if valid values (2, n) contradict the stated units; RadiometryError for negative power."""
    median = float(np.median(sample))
    if units == "linear" and median <= 0:
        raise RadiometryError(
            f"{path}: the median of its values is {median:.4g}, but linear power is never negative; expected "
            "--s1-units db, or leave --s1-units out."
        )
    low, high = DB_MEDIAN if units == "db" else LINEAR_MEDIAN
    if low <= median <= high:
        return ()
    return (
        RadarWarning(
            f"Sentinel-1 is taken as --s1-units {units}, though the median of its values is {median:.4g}; "
            f"expected {low:g} to {high:g}"
        ),
    )


def _units(sample: NDArray[np.float32], path: str | Path) -> RadarUnits:
    """Units by the median of valid values (2, n); raises RadiometryError when it fits neither."""
    median = float(np.median(sample))
    if DB_MEDIAN[0] <= median < DB_MEDIAN[1]:
        return "db"
    if LINEAR_MEDIAN[0] < median < LINEAR_MEDIAN[1]:
        return "linear"
    raise RadiometryError(
        f"{path}: the median of its values is {median:.4g}; expected {DB_MEDIAN[0]:g} to {DB_MEDIAN[1]:g} "
        f"(dB) or {LINEAR_MEDIAN[0]:g} to {LINEAR_MEDIAN[1]:g} (linear power). Calibrate digital numbers "
        "first, tag scaled dB with gdal_edit -scale 0.01, or state the units with --s1-units."
    )
