"""Writing Cloud-Optimized GeoTIFFs from strips, whole or not at all.

Rows go to a plain file in a hidden folder beside the output; GDAL's COG driver copies it; the copy takes
the final name when it is complete. Tags must be set before that copy, since a COG that is edited loses its
layout.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile
from rasterio.shutil import copy as gdal_copy
from rasterio.windows import Window

from cmcr_cli.errors import OutputError
from cmcr_cli.output.catalogue.attribute_table import embed, reserve
from cmcr_cli.output.catalogue.categories import attribute_table, colour_table
from cmcr_cli.output.cog_check import laid_out, overviews_fit
from cmcr_cli.output.cog_spec import (
    BLOCK,
    OutputSpec,
    add_statistics,
    check_creation_options,
    cog_options,
    threads,
)
from cmcr_cli.output.files import FileSet, flush_to_disk
from cmcr_cli.output.parts.rows_file import RowsFile
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
        self._tags = dict(spec.tags)
        self.written = resumed  # rows that are in the temporary file
        self.checksum = checksum  # of these rows

    def __enter__(self) -> Self:
        """Check the creation options and create the temporary file, or open the one that was left."""
        spec = self._spec
        check_creation_options(spec)
        with ExitStack() as stack:
            self._files = self._given or stack.enter_context(FileSet([spec.path]))
            with output_errors(spec.path):
                shape = spec.count, spec.grid.width
                self._rows = RowsFile(
                    self._temporary, shape, spec.dtype, masked=spec.masked, resumed=self._resumed
                )
            stack.push(self._let_go)
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
        spec = self._spec
        if rows.dtype != spec.dtype or rows.shape[::2] != (spec.count, spec.grid.width):
            raise ValueError(f"{rows.dtype} rows {rows.shape} do not fit {spec}")
        if spec.masked and valid is None:
            raise ValueError(f"{spec.path}: has a mask; expected where these rows are valid")
        if self.written + rows.shape[1] > spec.grid.height:
            raise ValueError(f"{spec.path}: more than {spec.grid.height} rows")
        with output_errors(spec.path):
            self.checksum = self._rows.write(rows, valid if spec.masked else None, self.checksum)
        self.written += rows.shape[1]

    def read(self, top: int, rows: int) -> NDArray[Any]:
        """Read rows that were written before.

        Args:
            top: First row.
            rows: Number of rows.

        Returns:
            Pixels (count, rows, width).

        Raises:
            OutputError: They cannot be read.
        """
        with output_errors(self._spec.path):
            return self._rows.read(top, rows)

    def add_tags(self, tags: Mapping[str, str]) -> None:
        """Add tags that were not known when the writer was opened.

        Args:
            tags: Texts by name.
        """
        self._tags |= tags

    def checkpoint(self) -> None:
        """Make the rows written so far outlast the machine, where the set is kept."""
        if self._files.kept:
            with output_errors(self._spec.path):
                flush_to_disk(self._temporary)

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
                self._rows.close()
                grid = self._spec.grid
                with self._rows.opened(grid.height, grid.transform) as rows:
                    self._copy(rows)
                if not self._files.kept:  # else a run that is stopped before the end begins here again
                    self._temporary.unlink()
            self._files.finish(self._spec.path)

    def _let_go(self, *error: object) -> None:
        """Close the file of rows, which is closed already unless an exception is on its way."""
        with suppress(OSError):
            self._rows.close()

    def _copy(self, rows: Any) -> None:
        """Make the COG of the finished rows, and check it."""
        _describe(rows, self._spec, self._tags)
        add_statistics(rows)
        cog = self._files.part(self._spec.path)
        cog.unlink(missing_ok=True)
        # Where the environment has another folder for GDAL's overviews, they would be left there.
        with rasterio.Env(CPL_TMPDIR=str(cog.parent)):
            gdal_copy(rows, cog, driver="COG", **cog_options(self._spec))
        if self._spec.categories:
            embed(cog, attribute_table(self._spec.categories))
        self._check_copy(cog, rows)

    def _check_copy(self, cog: Path, rows: Any) -> None:
        """Read the whole copy: neither GDAL's threads nor its closing of a file report a full disk."""
        if not (
            self._checksum_of(cog) == self.checksum
            and _described_alike(cog, rows)
            and laid_out(cog)
            and self._overviews_fit(cog, rows)
        ):
            raise OutputError(
                f"{self._spec.path}: the copy differs from what was written; expected the same. The "
                "disk is full or damaged: choose another folder with -o."
            )

    def _overviews_fit(self, cog: Path, rows: Any) -> bool:
        # Other resampling than ours may overshoot, and is not checked.
        asked = {name.upper() for name in self._spec.creation_options}
        return bool(asked & {"OVERVIEW_RESAMPLING", "RESAMPLING"}) or overviews_fit(
            cog, rows, NUM_THREADS=threads()
        )

    @property
    def _temporary(self) -> Path:
        return rows_of(self._files, self._spec.path)

    def _checksum_of(self, cog: Path) -> int:
        """The checksum of a COG's pixels, as that of its rows is counted."""
        checksum = 0
        with rasterio.open(cog, NUM_THREADS=threads()) as dataset:
            for top in range(0, dataset.height, BLOCK):
                window = Window(0, top, dataset.width, min(BLOCK, dataset.height - top))
                valid = dataset.read_masks(1, window=window) > 0 if self._spec.masked else None
                for content in self._rows.packed(dataset.read(window=window), valid):
                    checksum = zlib.crc32(content, checksum)
        return checksum


def rows_of(files: FileSet, path: Path) -> Path:
    """Name the temporary file that holds the rows of a raster.

    Args:
        files: Set of outputs.
        path: The raster.

    Returns:
        Path of the file.
    """
    return files.part(path, "rows.raw")


def _described_alike(cog: Path, source: Any) -> bool:
    """Whether a copy says of itself what its source does."""
    with rasterio.open(cog) as copy:
        names = ["transform", "shape", "dtypes", "scales", "offsets", "colorinterp"]
        alike = all(repr(getattr(source, name)) == repr(getattr(copy, name)) for name in names)
        nodata = [None if each is None else float(each) for each in (source.nodata, copy.nodata)]
        crs, tags, descriptions = _as_stored(source)
        alike = alike and repr(nodata[0]) == repr(nodata[1]) and copy.crs == crs
        return alike and copy.descriptions == descriptions and bool(tags.items() <= copy.tags().items())


def _as_stored(source: Any) -> tuple[Any, dict[str, str], tuple[str | None, ...]]:
    """What a GeoTIFF makes of CRS, tags and descriptions: it does not hold all that there may be."""
    with MemoryFile() as memory:
        place = {"crs": source.crs, "transform": Affine.translation(1, 1)}
        with memory.open(
            driver="GTiff", width=1, height=1, count=source.count, dtype="uint8", **place
        ) as stored:
            stored.update_tags(**source.tags())
            stored.descriptions = [text or "" for text in source.descriptions]
        with memory.open() as stored:
            return stored.crs, stored.tags(), stored.descriptions


def _describe(dataset: Any, spec: OutputSpec, tags: Mapping[str, str]) -> None:
    """Say of an open raster what it is."""
    dataset.crs = spec.grid.crs
    if spec.nodata is not None:
        dataset.nodata = spec.nodata
    dataset.update_tags(**tags)
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
    elif not spec.categories:
        dataset.colorinterp = [ColorInterp.gray, *[ColorInterp.undefined] * (spec.count - 1)]
