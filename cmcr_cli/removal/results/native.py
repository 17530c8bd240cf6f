"""Bands in their own pixels of 10, 20 or 60 m, made of the finished rows of the image.

The image shows each pixel of a coarser band several times. Where none of these was reconstructed, they all
hold what the file of the band holds, bit for bit, and so does the band that is written. Elsewhere it holds
their mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from cmcr_cli.output.cog import StripWriter
from cmcr_cli.output.cog_spec import OutputSpec
from cmcr_cli.output.provenance import NODATA, RECONSTRUCTED
from cmcr_cli.removal.opening.native_files import NativeFile
from cmcr_cli.removal.opening.session import Session
from cmcr_cli.removal.restore.second_pass import FinishedStrip
from cmcr_cli.removal.results.rasters import Setting, image_spec
from cmcr_cli.scene.area import Area
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.span import Span

TOLERANCE = 1e-6
"""In pixels: areas and pixels whose edges are the same may differ by rounding."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How the rows or columns of the scene are shared out among those of a coarser grid.

    Attributes:
        starts: For each of the coarser ones, and after the last, the first of the scene that shows it.
    """

    starts: NDArray[np.intp]

    @classmethod
    def of(cls, fine: int, coarse: int) -> Spread:
        """Share out rows or columns: each shows the coarser one in which its centre is.

        Args:
            fine: Their number in the scene.
            coarse: Their number on the coarser grid, which has the same extent.

        Returns:
            The shares.
        """
        return cls(np.ceil(np.arange(coarse + 1) * (fine / coarse) - 0.5 - TOLERANCE).astype(np.intp))

    def touched(self, span: Span) -> Span:
        """Find the coarser rows or columns that some of the scene show any part of.

        Args:
            span: Rows or columns of the scene.

        Returns:
            Rows or columns of the coarser grid.
        """
        first = int(np.searchsorted(self.starts, span.start, side="right")) - 1
        return Span(first, int(np.searchsorted(self.starts, span.stop, side="left")))

    def shown(self, span: Span) -> Span:
        """Find the rows or columns of the scene that show some of the coarser ones.

        Args:
            span: Rows or columns of the coarser grid.

        Returns:
            Rows or columns of the scene.
        """
        return Span(int(self.starts[span.start]), int(self.starts[span.stop]))


@dataclass(frozen=True, slots=True)
class BandWindow:
    """The part of a band's own grid that is written: what an area of interest touches, or all of it.

    Attributes:
        rows: How rows are shared out.
        columns: The same of columns.
        tall: Rows that are written.
        wide: Columns that are written.
        area: Which of their pixels are in the area of interest; None: all.
    """

    rows: Spread
    columns: Spread
    tall: Span
    wide: Span
    area: Area | None

    @classmethod
    def of(cls, scene: Grid, own: Grid, area: Area | None) -> BandWindow:
        """Make the window of a band.

        Args:
            scene: Grid of the scene.
            own: Grid of the band, of the same extent.
            area: The area of interest; None: the whole scene.

        Returns:
            The window.
        """
        rows, columns = Spread.of(scene.height, own.height), Spread.of(scene.width, own.width)
        if area is None:
            return cls(rows, columns, Span(0, own.height), Span(0, own.width), None)
        tall = rows.touched(Span(area.top, area.top + area.grid.height))
        wide = columns.touched(Span(area.left, area.left + area.grid.width))
        part = own.crop(tall.start, wide.start, tall.size, wide.size)
        return cls(rows, columns, tall, wide, replace(area, grid=part, top=tall.start, left=wide.start))


def area_to_compute(session: Session) -> Area | None:
    """The area of interest, grown to whole pixels of the coarsest band that is written.

    Args:
        session: What is open.

    Returns:
        The area; that of the session where no bands are written in their own pixels.
    """
    area, scene = session.area, session.optical.grid
    if area is None or not session.native:
        return area
    windows = [BandWindow.of(scene, each.grid, area) for each in session.native]
    tall = [each.rows.shown(each.tall) for each in windows]
    wide = [each.columns.shown(each.wide) for each in windows]
    top, left = min(each.start for each in tall), min(each.start for each in wide)
    height, width = max(each.stop for each in tall) - top, max(each.stop for each in wide) - left
    reach = max(math.hypot(*each.grid.pixel_size) for each in session.native)
    shape = None if area.shape is None else area.shape.buffer(reach)
    if shape is not None:
        shapely.prepare(shape)
    return Area(scene.crop(top, left, height, width), top, left, shape, area.name)


class NativeBands:
    """Context of the writers of all bands that share one grid, which takes rows of the image from the top."""

    def __init__(self, files: Sequence[NativeFile], setting: Setting, area: Area | None) -> None:
        """Bands of which nothing is opened yet.

        Args:
            files: The bands, all on one grid.
            setting: What all rasters of the run have in common.
            area: The area of interest; None: the whole scene.
        """
        self.files = files
        self._window = BandWindow.of(setting.optical.grid, files[0].grid, area)
        tall, wide = self._window.tall, self._window.wide
        self._grid = files[0].grid.crop(tall.start, wide.start, tall.size, wide.size)
        image = image_spec(setting, files[0].path)
        self._nodata = setting.optical.empty if image.nodata is None else image.nodata
        self._specs = [_spec_of(image, each, self._grid) for each in files]
        self._places = [each.place for each in files]
        self._writers: list[StripWriter] = []
        self._next = tall.start
        self._held: tuple[Span, NDArray[Any], NDArray[np.uint8]] | None = None

    @property
    def specs(self) -> list[OutputSpec]:
        """What is written, in the order of the files."""
        return self._specs

    def begin(self, writers: Sequence[StripWriter], rows: int) -> Self:
        """Take the open writers.

        Args:
            writers: One for each file.
            rows: That they have written in an earlier run.

        Returns:
            This object, to be used as a context.
        """
        self._writers, self._next = list(writers), self._window.tall.start + rows
        return self

    @property
    def writers(self) -> Sequence[StripWriter]:
        """One for each file, open."""
        return self._writers

    @property
    def needed_from(self) -> int:
        """First row of the scene that is still needed; its height where there is none."""
        return int(self._window.rows.starts[min(self._next, self._window.tall.stop)])

    def add(self, strip: FinishedStrip, image: NDArray[Any]) -> None:
        """Append what some rows of the scene complete. Rows that come too early are ignored.

        Args:
            strip: The rows, full width.
            image: Their pixels as they are written (bands, rows, width).

        Raises:
            ValueError: Rows are left out.
            OutputError: They cannot be written.
        """
        if self._next == self._window.tall.stop:
            return
        rows, provenance = strip.rows, strip.provenance
        pixels = image[self._places]
        if self._held is not None:
            span, held, known = self._held
            rows = Span(span.start, rows.stop)
            pixels = np.concatenate([held, pixels], axis=1)
            provenance = np.concatenate([known, provenance])
        elif rows.start > self.needed_from:
            raise ValueError(f"rows from {rows.start} on come after {self.needed_from}, which were left out")
        starts, stop = self._window.rows.starts, self._window.tall.stop
        last = min(int(np.searchsorted(starts, rows.stop, side="right")) - 1, stop)
        if last > self._next:
            done = Span(self._next, last)
            part = self._window.rows.shown(done).within(rows.start)
            self._write(done, pixels[:, part], provenance[part])
            self._next = last
        left = max(self.needed_from, rows.start)
        self._held = None
        if left < rows.stop:
            rest = slice(left - rows.start, None)
            self._held = Span(left, rows.stop), pixels[:, rest].copy(), provenance[rest].copy()

    def _write(self, done: Span, pixels: NDArray[Any], provenance: NDArray[np.uint8]) -> None:
        window = self._window
        downs = window.rows.starts[done.start : done.stop + 1] - window.rows.starts[done.start]
        values, valid = in_own_pixels(pixels, provenance, downs, window.columns.starts, self._nodata)
        values, valid = values[..., window.wide.within(0)], valid[:, window.wide.within(0)]
        if window.area is not None:
            inside = window.area.part(done.start, done.size)[3]
            values = np.where(inside, values, np.asarray(self._nodata, values.dtype))
            valid = valid & inside
        for writer, band in zip(self._writers, values, strict=True):
            writer.write(band[None], valid)

    def checkpoint(self) -> dict[str, tuple[int, int]]:
        """Make all that was written outlast this process.

        Returns:
            Rows and their checksum, by the keys of the files.
        """
        for writer in self._writers:
            writer.checkpoint()
        return {
            each.key: (writer.written, writer.checksum)
            for each, writer in zip(self.files, self._writers, strict=True)
        }


def in_own_pixels(
    pixels: NDArray[Any],
    provenance: NDArray[np.uint8],
    downs: NDArray[np.intp],
    acrosses: NDArray[np.intp],
    nodata: float,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Make pixels of a coarser grid of those of the image that show them.

    Args:
        pixels: The image (bands, rows, columns).
        provenance: Of its pixels (rows, columns).
        downs: For each coarser row, and after the last, the first row that shows it.
        acrosses: The same of columns.
        nodata: Value that a measurement must not have.

    Returns:
        The coarser pixels (bands, coarser rows, coarser columns): what the pixels hold where none was
        reconstructed, else the mean of the valid ones; and where they are valid.
    """

    def gathered(how: np.ufunc, values: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(how.reduceat(how.reduceat(values, downs[:-1], axis=0), acrosses[:-1], axis=1))

    middles = (downs[:-1] + downs[1:]) // 2, (acrosses[:-1] + acrosses[1:]) // 2
    known = provenance != NODATA
    values, valid = pixels[:, middles[0][:, None], middles[1]], gathered(np.logical_or, known)
    made = gathered(np.logical_or, provenance >= RECONSTRUCTED)
    if made.any():
        number = gathered(np.add, known.astype(np.float64))[made]
        for band, own in zip(pixels, values, strict=True):
            total = gathered(np.add, np.where(known, band, 0).astype(np.float64))[made]
            own[made] = _stored(total / number, band.dtype, nodata)
    return values, valid


def _stored(means: NDArray[np.float64], dtype: np.dtype[Any], nodata: float) -> NDArray[Any]:
    """Means as the file stores them; one that rounds to nodata moves by one DN."""
    if dtype.kind == "f":
        return means.astype(dtype)
    whole = np.rint(means)
    whole[whole == nodata] += 1 if nodata < np.iinfo(dtype).max else -1
    return whole.astype(dtype)


def _spec_of(image: OutputSpec, file: NativeFile, grid: Grid) -> OutputSpec:
    """A file of one band that is stored as the image is."""
    return replace(
        image,
        path=file.path,
        grid=grid,
        count=1,
        descriptions=(file.name,),
        scales=image.scales[file.place : file.place + 1],
        offsets=image.offsets[file.place : file.place + 1],
        spectrum=image.spectrum[file.place : file.place + 1],
    )


def grouped(files: Sequence[NativeFile]) -> list[list[NativeFile]]:
    """Group bands by their grids.

    Args:
        files: The bands.

    Returns:
        Bands that share one.
    """
    groups: list[list[NativeFile]] = []
    for each in files:
        same = next((group for group in groups if group[0].grid.matches(each.grid)), None)
        if same is None:
            groups.append([each])
        else:
            same.append(each)
    return groups
