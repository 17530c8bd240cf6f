"""Writing Cloud-Optimized GeoTIFFs from strips, whole or not at all.

Rows go to a tiled GeoTIFF beside the output; GDAL's COG driver copies it; the copy takes the final name when
it is complete. Tags must be set before that copy, since a COG that is edited loses its layout.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.shutil import copy as gdal_copy
from rasterio.windows import Window

from cmcr_cli.errors import OptionError, OutputError
from cmcr_cli.scene.bands import band_name
from cmcr_cli.scene.grid import Grid

BLOCK = 256
"""Rows and columns of the temporary file's blocks. Strips that do not end on a block are compressed twice."""

NODATA, OBSERVED, RECONSTRUCTED = range(3)
"""The values of a provenance raster."""

COG_BLOCK = 512

TRIAL = (16, 1040)
"""Rows and columns of the raster on which creation options are tried; wide enough for overviews."""

TRUE_COLOUR = {"B04": ColorInterp.red, "B03": ColorInterp.green, "B02": ColorInterp.blue}

SIDECARS = (".aux.xml", ".ovr", ".msk")
"""Suffixes of files GDAL reads beside a raster; left from a raster that was replaced, they would mislead."""

GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError, SystemError)
"""What rasterio lets through when GDAL cannot write; SystemError is its "unknown GDAL error"."""


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """What a raster to be written is, apart from its pixels. `categorical` values are never averaged."""

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


class StripWriter:
    """Context manager that writes rows in order, and leaves a complete COG or nothing.

    On entry raises OptionError when GDAL refuses the creation options; any time OutputError when the folder
    cannot be written or the disk is full. Any exception, Ctrl-C included, removes all temporary files, unless
    they are to be `kept`: a later writer then goes on behind the first `resumed` rows, which `checkpoint`
    made safe.
    """

    def __init__(self, spec: OutputSpec, *, kept: bool = False, resumed: int = 0) -> None:
        """Writer of the raster that `spec` describes; nothing is opened yet."""
        self._spec, self._kept, self._resumed = spec, kept, resumed
        self._buffer = np.empty((spec.count, BLOCK, spec.grid.width), dtype=spec.dtype)
        self._buffered = 0
        self.written = resumed  # rows that are in the temporary file

    def __enter__(self) -> Self:
        """Check the creation options and create the temporary file, or open the one that was left."""
        check_creation_options(self._spec)
        with ExitStack() as stack:
            self._part = stack.enter_context(part_files(self._spec.path, kept=self._kept))
            # An earlier run may have been stopped between finishing this raster and the next one.
            self._done = self._resumed == self._spec.grid.height and not self._temporary.exists()
            if self._done:
                self._stack = stack.pop_all()
                return self
            with output_errors(self._spec.path):
                if self._resumed:
                    self._dataset = rasterio.open(self._temporary, "r+")
                else:
                    self._dataset = _create(self._temporary, self._spec)
            stack.callback(lambda: self._dataset.close())
            self._stack = stack.pop_all()
        return self

    def write(self, rows: NDArray[Any]) -> None:
        """Append `rows` (count, any height, width) of the raster's dtype; ValueError when they do not fit."""
        height = self._spec.grid.height
        if rows.dtype != self._buffer.dtype or rows.shape[::2] != self._buffer.shape[::2]:
            raise ValueError(f"{rows.dtype} rows {rows.shape} do not fit {self._spec}")
        if self.written + self._buffered + rows.shape[1] > height:
            raise ValueError(f"{self._spec.path}: more than {height} rows")
        while rows.shape[1]:
            taken = min(BLOCK - self._buffered, rows.shape[1])
            self._buffer[:, self._buffered : self._buffered + taken] = rows[:, :taken]
            self._buffered += taken
            rows = rows[:, taken:]
            if self._buffered == BLOCK or self.written + self._buffered == height:
                self._flush()

    def read(self, top: int, rows: int) -> NDArray[Any]:
        """Rows (count, rows, width) that were written before this writer was opened."""
        with output_errors(self._spec.path):
            pixels: NDArray[Any] = self._dataset.read(window=Window(0, top, self._spec.grid.width, rows))
        return pixels

    def checkpoint(self) -> None:
        """Make the rows written so far outlast this process: GDAL completes a file when it is closed."""
        with output_errors(self._spec.path):
            self._dataset.close()
            self._dataset = rasterio.open(self._temporary, "r+")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Turn the temporary file into the output, unless an exception is on its way; remove what is left."""
        if kind is not None or self._done:
            self._stack.__exit__(kind, error, trace)  # which learns from it what to keep
            return
        with self._stack:
            if self.written != self._spec.grid.height:
                raise ValueError(
                    f"{self._spec.path}: only {self.written} of {self._spec.grid.height} rows written"
                )
            with output_errors(self._spec.path):
                self._dataset.close()
                cog = self._part.with_name(self._part.name + ".cog.part")
                gdal_copy(self._temporary, cog, driver="COG", **_cog_options(self._spec))
                _check_readable(cog)
                replace(cog, self._spec.path)

    @property
    def _temporary(self) -> Path:
        return self._part.with_name(self._part.name + ".tif.part")

    def _flush(self) -> None:
        window = Window(0, self.written, self._spec.grid.width, self._buffered)
        with output_errors(self._spec.path):
            self._dataset.write(self._buffer[:, : self._buffered], window=window)
        self.written += self._buffered
        self._buffered = 0


def part_of(path: Path) -> Path:
    """Beside `path`, what the names of its temporary files begin with.

    They are the same in every run, so that the next one finds what a killed one left.
    """
    return path.with_name(f".{path.name}.cmcr-part")


@contextmanager
def part_files(path: Path, *, kept: bool = False) -> Iterator[Path]:
    """Path of a hidden file beside `path`; in the end all files whose names start like it are removed.

    With `kept` they stay when an exception is on its way.
    """
    part = part_of(path)
    try:
        yield part
    except BaseException:
        if not kept:
            _remove_all(part)
        raise
    _remove_all(part)


def _remove_all(part: Path) -> None:
    if part.parent.is_dir():
        for leftover in part.parent.iterdir():
            if leftover.name.startswith(part.name):
                leftover.unlink(missing_ok=True)


def replace(part: Path, path: Path) -> None:
    """Give the finished `part` its final name, and remove what GDAL would read beside it."""
    part.replace(path)
    for suffix in SIDECARS:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def check_writable(path: Path, overwrite: bool, others: Sequence[str | Path]) -> None:
    """Raise OutputError unless `path` can be written: call it before any work starts.

    `others` are the run's inputs and other outputs, any of which may be a path that only GDAL knows.
    """
    for other in others:
        if path.resolve() == Path(other).resolve() or _same_file(path, Path(other)):
            raise OutputError(
                f"{path}: is also used as {other} in this run; give the output another name with -o."
            )
    if path.is_dir():
        raise OutputError(
            f"{path}: is a folder; expected the name of a file to write, such as {path / 'clear.tif'}."
        )
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: is not a regular file; expected the name of a file to write. See -o.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; give --overwrite to replace it.")
    if not path.parent.is_dir():
        raise OutputError(
            f"{path}: folder {path.parent} does not exist; create it or choose another with -o."
        )
    try:
        # Trying is surer than asking for permission bits: file systems can be mounted read-only.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(
            f"{path}: no file can be created in {path.parent} ({error.strerror}); expected a writable "
            "folder. Choose another with -o."
        ) from error


def parse_creation_options(items: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE strings as given to `--co`, names in capitals; OptionError for anything else."""
    options = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not (name and equals and value):
            raise OptionError(f"--co {item}: expected NAME=VALUE, such as --co COMPRESS=ZSTD.")
        options[name.strip().upper()] = value.strip()
    return options


def check_creation_options(spec: OutputSpec) -> None:
    """Raise OptionError unless a small raster written with these creation options comes back as it was.

    That catches names and values that GDAL warns of and ignores, lossy compression, and options that warp.
    """
    options = _cog_options(spec)
    text = " ".join(f"{name}={value}" for name, value in spec.creation_options.items())
    block = options["BLOCKSIZE"]
    # GDAL aborts the whole process on a BLOCKSIZE that is no number.
    if not (block.isdecimal() and 128 <= int(block) <= 4096 and int(block) % 16 == 0):
        raise OptionError(f"--co BLOCKSIZE={block}: expected a multiple of 16 from 128 to 4096.")
    pixels = _noise((spec.count, *TRIAL), np.dtype(spec.dtype))
    # Asked for by hand, the number of threads is part of the trial; otherwise one, which reports all errors.
    options["NUM_THREADS"] = spec.creation_options.get("NUM_THREADS", "1")
    profile = {
        "crs": spec.grid.crs,
        "transform": spec.grid.transform,
        "count": spec.count,
        "dtype": spec.dtype,
    }
    with MemoryFile() as plain, MemoryFile() as cog, _gdal_warnings() as warnings:
        with plain.open(driver="GTiff", height=TRIAL[0], width=TRIAL[1], **profile) as dataset:
            dataset.write(pixels)
        try:
            gdal_copy(plain.name, cog.name, driver="COG", **options)
        except GDAL_ERRORS as error:
            raise OptionError(f"--co {text}: GDAL cannot write a COG with this ({error}).") from error
        if warnings:
            raise OptionError(f"--co {text}: {warnings[0]}; expected creation options of GDAL's COG driver.")
        with cog.open() as dataset:
            same_grid = dataset.transform == spec.grid.transform and dataset.shape == TRIAL
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
    names = [band_name(description or "") for description in spec.descriptions]
    if TRUE_COLOUR.keys() <= set(names):
        dataset.colorinterp = [TRUE_COLOUR.get(name or "", ColorInterp.undefined) for name in names]
    return dataset


def _cog_options(spec: OutputSpec) -> dict[str, str]:
    width, height = spec.grid.width, spec.grid.height
    # Blocks as wide as the image look like strips to validators.
    large = max(width, height) > COG_BLOCK and width != COG_BLOCK
    options = {
        "BLOCKSIZE": str(COG_BLOCK if large else BLOCK),
        "BIGTIFF": "IF_SAFER",
        "STATISTICS": "YES",
        "OVERVIEW_RESAMPLING": "NEAREST" if spec.categorical else "AVERAGE",
        "NUM_THREADS": _threads(),
    }
    if "COMPRESS" not in spec.creation_options:
        # Level 1 with a predictor is as small as level 6 on Sentinel-2, and written in half the time.
        options |= {"COMPRESS": "DEFLATE", "LEVEL": "1", "PREDICTOR": "YES"}
    return options | dict(spec.creation_options)


def _threads() -> str:
    return os.environ.get("GDAL_NUM_THREADS", "ALL_CPUS")


def _check_readable(path: Path) -> None:
    """Decode every pixel: GDAL's writing threads do not report a full disk."""
    side = COG_BLOCK
    with rasterio.open(path, NUM_THREADS=_threads()) as dataset:
        for top in range(0, dataset.height, side):
            for left in range(0, dataset.width, 8 * side):
                dataset.read(window=Window(left, top, 8 * side, side))


def try_writing(spec: OutputSpec, rows: NDArray[Any]) -> float:
    """Seconds that `rows` (count, any height, width) take on their way to a COG, written to memory."""
    size = {"height": rows.shape[1], "width": rows.shape[2], "count": spec.count, "dtype": spec.dtype}
    started = time.monotonic()
    with output_errors(spec.path), MemoryFile() as plain, MemoryFile() as cog:
        with plain.open(
            driver="GTiff", tiled=True, blockxsize=BLOCK, blockysize=BLOCK,
            crs=spec.grid.crs, transform=spec.grid.transform, **size,
        ) as dataset:  # fmt: skip
            dataset.write(rows)
        gdal_copy(plain.name, cog.name, driver="COG", **_cog_options(spec))
        with cog.open() as dataset:
            dataset.read()
    return time.monotonic() - started


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Tell GDAL's errors as OutputError.

    How large its block cache is decides who opens the inputs: a change here would throw out their blocks.
    """
    try:
        yield
    except GDAL_ERRORS as error:
        raise OutputError(
            f"{path}: cannot be written ({error}); expected room for about four times the output. "
            "Free some space, or choose another folder with -o."
        ) from error


@contextmanager
def _gdal_warnings() -> Iterator[list[str]]:
    """Collect what GDAL warns of through rasterio's logger, whatever level the program has set for it."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("rasterio._env")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _same_file(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)
