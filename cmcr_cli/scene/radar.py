"""Reading Sentinel-1: polarisations, units, and alignment to the Sentinel-2 grid.

A scene without Sentinel-1 has no reader: callers pass `None` where a `Radar` may stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.windows import Window

from cmcr_cli.addresses import public
from cmcr_cli.errors import GridMismatchError, InputError
from cmcr_cli.scene.backscatter.polarisations import check_pair, in_order, polarisations
from cmcr_cli.scene.backscatter.units import (
    RadarUnits,
    check_alike,
    check_amplitude,
    check_brightness,
    check_stated,
    is_amplitude,
    marks,
    to_db,
    units_of,
)
from cmcr_cli.scene.bands import RADAR_BANDS
from cmcr_cli.scene.grid import Grid, crs_name
from cmcr_cli.scene.pixels.masks_of_files import open_validity
from cmcr_cli.scene.pixels.validity import Mask
from cmcr_cli.scene.pixels.warped import ReadWindow, warped_windows, window_around
from cmcr_cli.scene.products.stac import is_item, radar_item
from cmcr_cli.scene.products.stack import open_stack
from cmcr_cli.scene.raster import Source, aligned, open_raster
from cmcr_cli.warning_kinds import RadarWarning

LEAST_OVERLAP = 0.05
FULL_OVERLAP = 0.99

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """VV and VH as a file holds them, on its own grid, and what of it is no measurement.

    Attributes:
        dataset: The open file.
        indexes: Its bands, from 1.
        nodata: What its tags say, band by band.
        scaling: Scale and offset of its tags (2 bands, 2).
        marks: Values that stand for no measurement though no tag says so, band by band.
        masks: Masks besides the nodata values.
    """

    dataset: Any
    indexes: tuple[int, ...]
    nodata: tuple[float | None, ...]
    scaling: Floats
    marks: tuple[tuple[float, ...], ...] = ((), ())
    masks: tuple[Mask, ...] = ()

    def read(self, window: Window, bands: Sequence[int] = (0, 1)) -> Floats:
        """Read a window in the units of the file.

        Args:
            window: Of the file's own grid.
            bands: 0 for VV, 1 for VH.

        Returns:
            Values (bands, rows, columns), NaN where nothing was measured.
        """
        values = self.measured(self.dataset.read(self.indexes, window=window))
        for mask in self.masks:
            values[:, ~mask(window)] = np.nan
        return values[list(bands)]

    def measured(self, stored: NDArray[Any]) -> Floats:
        """Apply scale and offset of the tags.

        Args:
            stored: VV and VH as they are stored (2, ...).

        Returns:
            Values (2, ...); 0, nodata, marks and infinity are NaN.
        """
        values = stored.astype(np.float32)
        absent = ~np.isfinite(values) | (values == 0)
        for band, gone, nodata in zip(values, absent, self.nodata, strict=True):
            if nodata is not None:
                gone |= band == np.float32(nodata)
        scale, offset = self.scaling.T.reshape(2, 2, *([1] * (values.ndim - 1)))
        values *= scale
        values += offset
        for band, gone, known in zip(values, absent, self.marks, strict=True):
            for value in known:
                gone |= band == np.float32(value)
        values[absent] = np.nan
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Radar:
    """Open Sentinel-1 backscatter on the scene's grid; get one from `open_radar`. One handle: one thread.

    Attributes:
        source: The open raster.
        units: Units of its values.
        stored: How its values are stored.
        warnings: What there is to say about it.
        amplitude: Whether values are the square root of linear power.
        swapped: Whether VH comes first.
    """

    source: Source
    units: RadarUnits
    stored: Stored
    warnings: tuple[RadarWarning, ...]
    amplitude: bool = False
    swapped: bool = False

    def __repr__(self) -> str:
        """Path and units in one line."""
        return f"Radar({public(self.path)}: {self.units})"

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
        values = self.stored.measured(self.source.read(top, rows))
        db = to_db(values**2 if self.amplitude else values, self.units)
        if self.swapped:
            db = db[[1, 0]]
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
    with _dataset(path) as (dataset, files), ExitStack() as stack:
        path = path if isinstance(path, str | Path) else " and ".join(path)
        indexes, named, found = polarisations(dataset, path)
        own = Grid.from_dataset(dataset)
        found = (*_partial_cover(path, grid, own), *found)
        stored = _stored(dataset, indexes, stack)
        seen = _near(stored, path, own, grid)
        stored, odd = _marked(stored, seen)
        with _laid(stored, path, own, grid, seen) as (source, stored):
            if source.warped:
                text = f"Sentinel-1 is resampled (bilinear) from {own.describe()} to the Sentinel-2 grid"
                found += (RadarWarning(text),)
            sample = _valid_sample(source, stored)
            alike = check_alike(sample)
            amplitude = units != "db" and is_amplitude(files, dataset.descriptions)
            if amplitude:
                sample **= 2
            units, doubts = _units(sample, path, units, amplitude=amplitude)
            db = to_db(sample, units)
            kept = np.isfinite(db).all(axis=0)
            if not kept.any():
                raise _nothing_valid(source.path)
            swapped, order = in_order(db[:, kept], path, named=named or len(files) > 1)
            yield Radar(
                source=source,
                units=units,
                stored=stored,
                warnings=(*found, *doubts, *odd, *alike, *order),
                amplitude=amplitude,
                swapped=swapped,
            )


@contextmanager
def _dataset(path: str | Path | tuple[str, str]) -> Iterator[tuple[Any, list[str]]]:
    """The open dataset, and the files of which it is made; two of them are VV and VH."""
    if isinstance(path, tuple) or is_item(str(path)):
        files = (
            dict(zip(RADAR_BANDS, path, strict=True)) if isinstance(path, tuple) else radar_item(str(path))
        )
        check_pair(files)
        with open_stack(files, "Sentinel-1") as (dataset, _):
            yield dataset, list(files.values())
        return
    with open_raster(path, "a Sentinel-1 scene") as dataset:
        yield dataset, [str(path)]


def _stored(dataset: Any, indexes: tuple[int, ...], stack: ExitStack) -> Stored:
    """What the tags and masks of a file say of its values."""
    scaling = [(dataset.scales[index - 1], dataset.offsets[index - 1]) for index in indexes]
    said = stack.enter_context(open_validity(dataset, RADAR_BANDS, indexes, 0))
    return Stored(
        dataset=dataset,
        indexes=indexes,
        nodata=tuple(dataset.nodatavals[index - 1] for index in indexes),
        scaling=np.array(scaling, dtype=np.float32),
        masks=said.masks,
    )


def _near(stored: Stored, path: str | Path, own: Grid, grid: Grid) -> NDArray[Any]:
    """A sample (2, n) of what the file holds around the scene, on its own grid and as it is stored."""
    around = window_around(grid, own) or Window(0, 0, own.width, own.height)
    part = own.crop(around.row_off, around.col_off, around.height, around.width)
    origin = around.row_off, around.col_off
    return Source(str(path), stored.dataset, part, stored.indexes, warped=False, origin=origin).sample()


def _marked(stored: Stored, seen: NDArray[Any]) -> tuple[Stored, tuple[RadarWarning, ...]]:
    """Find values in a sample that stand for no measurement, and warnings with their share."""
    values = stored.measured(seen)
    known = tuple(marks(band[np.isfinite(band)]) for band in values)
    odd = []
    for name, band, found in zip(RADAR_BANDS, values, known, strict=True):
        for value in found:
            share = float((band == np.float32(value)).mean())
            text = (
                f"Sentinel-1: {share:.1%} of the pixels of {name} hold {value:g}, which is taken as not "
                "measured; if it is not, tag it as nodata with gdal_edit -a_nodata"
            )
            odd.append(RadarWarning(text))
    return replace(stored, marks=known), tuple(odd)


@contextmanager
def _laid(
    stored: Stored, path: str | Path, own: Grid, grid: Grid, seen: NDArray[Any]
) -> Iterator[tuple[Source, Stored]]:
    """The radar on the grid of the scene, and what its values are there.

    GDAL can leave one value out as it interpolates. Where there are several, they are left out before.
    """
    nodata = stored.nodata[0]
    one = len(set(stored.nodata)) == 1 and (nodata is None or not (seen == 0).any() or nodata == 0)
    with aligned(
        stored.dataset,
        path,
        grid,
        stored.indexes,
        resampling=Resampling.bilinear,
        # Swath borders are 0 in products without a nodata tag, and must not bleed into their neighbours.
        src_nodata=0 if nodata is None else nodata,
        nodata=np.nan,
        dtype="float32",
    ) as source:
        if one and not stored.masks and not any(stored.marks):
            yield source, stored
            return
        window: ReadWindow = stored.read
        if source.warped:
            window = warped_windows(
                stored.read, own, grid, fill=np.nan, resampling=Resampling.bilinear, unified=False
            )
        plain = np.array([(1, 0), (1, 0)], np.float32)
        yield replace(source, window=window), replace(stored, nodata=(None, None), scaling=plain)


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
            RadarWarning(f"Sentinel-1 covers {overlap:.0%} of the scene; the rest is restored without it"),
        )
    return ()


def _valid_sample(source: Source, stored: Stored) -> Floats:
    """Valid values (2, n) from a sample of the scene, or from the first strip that has any."""

    def valid(pixels: NDArray[Any]) -> Floats:
        values = stored.measured(pixels.reshape(2, -1))
        return values[:, np.isfinite(values).all(axis=0)]

    sample = valid(source.sample())
    if sample.size:
        return sample
    for strip in source.strips():
        sample = valid(strip)
        if sample.size:
            return sample
    raise _nothing_valid(source.path)


def _nothing_valid(path: str) -> InputError:
    return InputError(
        f"{path}: no pixel over the scene is valid (all are NaN, infinite, 0 or nodata in a band); expected "
        "VV and VH backscatter. Check the file and its nodata tag, or leave Sentinel-1 out."
    )


def _units(
    sample: Floats, path: str | Path, units: Literal["auto", "db", "linear"], *, amplitude: bool
) -> tuple[RadarUnits, tuple[RadarWarning, ...]]:
    """Units of valid values (2, n), as stated or by their range, and warnings about them."""
    if units != "auto":
        return units, check_stated(sample, path, units)
    if amplitude:
        text = "Sentinel-1: the names say that the values are amplitude, which is squared to power"
        return "linear", (RadarWarning(text),)
    found = units_of(sample, path)
    shown = "dB" if found == "db" else "linear power"
    text = f"Sentinel-1: units detected as {shown} from the value range"
    doubts = check_amplitude(sample) if found == "linear" else check_brightness(sample)
    return found, (RadarWarning(text), *doubts)
