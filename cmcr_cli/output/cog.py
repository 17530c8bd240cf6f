"""Writing Cloud-Optimized GeoTIFFs from strips, whole or not at all.

Rows go to a tiled GeoTIFF in a hidden folder beside the output; GDAL's COG driver copies it; the copy takes
the final name when it is complete. Tags must be set before that copy, since a COG that is edited loses its
layout.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.shutil import copy as gdal_copy
from rasterio.windows import Window

from cmcr_cli.errors import OutputError
from cmcr_cli.output.catalogue.attribute_table import embed, reserve
from cmcr_cli.output.catalogue.categories import attribute_table, colour_table
from cmcr_cli.output.cog_check import overviews_fit
from cmcr_cli.output.cog_spec import (
    BLOCK,
    OutputSpec,
    add_statistics,
    check_creation_options,
    cog_options,
    threads,
)
from cmcr_cli.output.files import FileSet, flush_to_disk
from cmcr_cli.output.write_errors import output_errors
from cmcr_cli.scene.bands import band_name

TRUE_COLOUR = {"B04": ColorInterp.red, "B03": ColorInterp.green, "B02": ColorInterp.blue}


class StripWriter:
    """Context manager that writes rows in order, and leaves a complete COG or nothing.

    On entry raises OptionError when GDAL refuses the creation options; any time OutputError when the folder
    cannot be written or the disk is full. Any exception, Ctrl-C included, removes all temporary files.
    """

    def __init__(
        self, spec: OutputSpec, files: FileSet | None = None, *, resumed: int = 0, checksum: int = 0
    ) -> None:
        """Writer of the raster that `spec` describes; nothing is opened yet.

        Args:
            spec: The raster.
            files: The open set to which it belongs, and which gives it its name; None: it stands alone.
            resumed: Rows that an earlier writer left in a set that is kept; `checkpoint` made them safe.
            checksum: That of these rows.
        """
        self._spec, self._given, self._resumed = spec, files, resumed
        self._buffer = np.empty((spec.count, BLOCK, spec.grid.width), dtype=spec.dtype)
        self._valid = np.empty((BLOCK, spec.grid.width), np.bool_) if spec.masked else None
        self._buffered = 0
        self.written = resumed  # rows that are in the temporary file
        self.checksum = checksum  # of these rows

    def __enter__(self) -> Self:
        """Check the creation options and create the temporary file, or open the one that was left."""
        check_creation_options(self._spec)
        with ExitStack() as stack:
            self._files = self._given or stack.enter_context(FileSet([self._spec.path]))
            with output_errors(self._spec.path):
                if self._resumed:
                    self._dataset = rasterio.open(self._temporary, "r+", driver="GTiff")
                else:
                    self._temporary.unlink(missing_ok=True)
                    self._dataset = _create(self._temporary, self._spec)
            stack.callback(lambda: self._dataset.close())
            self._stack = stack.pop_all()
        return self

    def write(self, rows: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> None:
        """Append rows.

        Args:
            rows: Pixels (count, any height, width) of the raster's dtype.
            valid: Where they are valid (height, width); a masked raster needs to know.

        Raises:
            ValueError: They do not fit.
            OutputError: They cannot be written.
        """
        height = self._spec.grid.height
        if rows.dtype != self._buffer.dtype or rows.shape[::2] != self._buffer.shape[::2]:
            raise ValueError(f"{rows.dtype} rows {rows.shape} do not fit {self._spec}")
        if self.written + self._buffered + rows.shape[1] > height:
            raise ValueError(f"{self._spec.path}: more than {height} rows")
        while rows.shape[1]:
            taken = min(BLOCK - self._buffered, rows.shape[1])
            self._buffer[:, self._buffered : self._buffered + taken] = rows[:, :taken]
            if self._valid is not None and valid is not None:
                self._valid[self._buffered : self._buffered + taken] = valid[:taken]
                valid = valid[taken:]
            self._buffered += taken
            rows = rows[:, taken:]
            if self._buffered == BLOCK or self.written + self._buffered == height:
                self._flush()

    def read(self, top: int, rows: int) -> NDArray[Any]:
        """Read rows that were written before this writer was opened.

        Args:
            top: First row.
            rows: Number of rows.

        Returns:
            Pixels (count, rows, width).

        Raises:
            OutputError: They cannot be read.
        """
        with output_errors(self._spec.path):
            pixels: NDArray[Any] = self._dataset.read(window=Window(0, top, self._spec.grid.width, rows))
        return pixels

    def flush(self) -> None:
        """Write what waits for a whole block."""
        if self._buffered:
            self._flush()

    def add_tags(self, tags: Mapping[str, str]) -> None:
        """Add tags that were not known when the writer was opened.

        Args:
            tags: Texts by name.

        Raises:
            OutputError: They cannot be written.
        """
        with output_errors(self._spec.path):
            self._dataset.update_tags(**tags)

    def checkpoint(self) -> None:
        """Make the rows written so far outlast this process, and the machine where the set is kept."""
        with output_errors(self._spec.path):
            self._dataset.close()  # which is when GDAL completes a file
            if self._files.kept:
                flush_to_disk(self._temporary)
            self._dataset = rasterio.open(self._temporary, "r+", driver="GTiff")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Turn the temporary file into the output, unless an exception is on its way; remove what is left."""
        if kind is not None:
            self._stack.__exit__(kind, error, trace)  # which learns from it what to keep
            return
        with self._stack:
            if self.written != self._spec.grid.height:
                raise ValueError(
                    f"{self._spec.path}: only {self.written} of {self._spec.grid.height} rows written"
                )
            with output_errors(self._spec.path):
                add_statistics(self._dataset)
                self._dataset.close()
                cog = self._files.part(self._spec.path)
                cog.unlink(missing_ok=True)
                # Where the environment has another folder for GDAL's overviews, they would be left there.
                with rasterio.Env(CPL_TMPDIR=str(cog.parent)):
                    gdal_copy(self._temporary, cog, driver="COG", **cog_options(self._spec))
                if self._spec.categories:
                    embed(cog, attribute_table(self._spec.categories))
                self._check_copy(cog)
                if not self._files.kept:  # else a run that is stopped before the end begins here again
                    self._temporary.unlink()
            self._files.finish(self._spec.path)

    def _check_copy(self, cog: Path) -> None:
        """Read the whole copy: neither GDAL's threads nor its closing of a file report a full disk."""
        if not (
            checksum_of(cog, self.written, NUM_THREADS=threads()) == self.checksum
            and _described_alike(cog, self._temporary)
            and self._overviews_fit(cog)
        ):
            raise OutputError(
                f"{self._spec.path}: the copy differs from what was written; expected the same. The "
                "disk is full or damaged: choose another folder with -o."
            )

    def _overviews_fit(self, cog: Path) -> bool:
        # Other resampling than ours may overshoot, and is not checked.
        asked = {name.upper() for name in self._spec.creation_options}
        return bool(asked & {"OVERVIEW_RESAMPLING", "RESAMPLING"}) or overviews_fit(
            cog, NUM_THREADS=threads()
        )

    @property
    def _temporary(self) -> Path:
        return rows_of(self._files, self._spec.path)

    def _flush(self) -> None:
        window = Window(0, self.written, self._spec.grid.width, self._buffered)
        with output_errors(self._spec.path):
            rows = self._buffer[:, : self._buffered]
            self._dataset.write(rows, window=window)
            if self._valid is not None:
                with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"):
                    self._dataset.write_mask(self._valid[: self._buffered], window=window)
        self.checksum = zlib.crc32(np.ascontiguousarray(rows).data, self.checksum)
        self.written += self._buffered
        self._buffered = 0


def rows_of(files: FileSet, path: Path) -> Path:
    """Name the temporary file that holds the rows of a raster.

    Args:
        files: Set of outputs.
        path: The raster.

    Returns:
        Path of the file.
    """
    return files.part(path, "rows.tif")


def _described_alike(cog: Path, rows: Path) -> bool:
    """Whether a copy says of itself what its source does."""
    with rasterio.open(rows) as source, rasterio.open(cog) as copy:
        names = ["crs", "transform", "shape", "dtypes", "nodata"]
        names += ["descriptions", "scales", "offsets", "colorinterp"]
        alike = all(repr(getattr(source, name)) == repr(getattr(copy, name)) for name in names)
        return alike and bool(source.tags().items() <= copy.tags().items())


def checksum_of(path: Path, rows: int, **options: str) -> int:
    """Compute the checksum of the first rows of a raster, as its writer has counted it.

    Args:
        path: The raster.
        rows: Number of rows.
        **options: Options of GDAL to open it with.

    Returns:
        CRC-32 of the rows.

    Raises:
        RasterioError: They cannot be read.
    """
    checksum = 0
    with rasterio.open(path, **options) as dataset:
        for top in range(0, rows, BLOCK):
            window = Window(0, top, dataset.width, min(BLOCK, rows - top))
            checksum = zlib.crc32(dataset.read(window=window).data, checksum)
    return checksum


def _create(path: Path, spec: OutputSpec) -> Any:
    dataset = rasterio.open(
        path,
        "w",
        driver="GTiff",
        crs=spec.grid.crs,
        transform=spec.grid.transform,
        width=spec.grid.width,
        height=spec.grid.height,
        count=spec.count,
        dtype=spec.dtype,
        nodata=spec.nodata,
        tiled=True,
        blockxsize=BLOCK,
        blockysize=BLOCK,
        # Not compressed: a file that is opened again would be compressed at GDAL's slow default level.
        bigtiff="IF_SAFER",
    )
    dataset.update_tags(**spec.tags)
    for index, description in enumerate(spec.descriptions, 1):
        if description:
            dataset.set_band_description(index, description)
    if spec.scales:
        dataset.scales = spec.scales
    if spec.offsets:
        dataset.offsets = spec.offsets
    if spec.categories:
        dataset.write_colormap(1, colour_table(spec.categories))
        reserve(dataset, attribute_table(spec.categories))
    for index, band in enumerate(spec.spectrum, 1):
        dataset.update_tags(index, ns="IMAGERY", **band.imagery)
        dataset.update_tags(index, common_name=band.common_name)
    names = [band_name(description or "") for description in spec.descriptions]
    if TRUE_COLOUR.keys() <= set(names):
        dataset.colorinterp = [TRUE_COLOUR.get(name or "", ColorInterp.undefined) for name in names]
    return dataset
