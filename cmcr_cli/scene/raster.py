"""Shared by all readers: opening, aligning and reading rasters, with GDAL's errors turned into ours.

A GDAL dataset handle must not be used by two threads at once: a reader has one, and belongs to one thread.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.env import get_gdal_config
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from cmcr_cli.errors import InputError
from cmcr_cli.scene.environment import COMPLETE
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.pixels.lines import PIECE
from cmcr_cli.scene.pixels.validity import Validity
from cmcr_cli.scene.readable import check_readable, check_sidecars, streamed, why_not

SAMPLE_SIDE = 6
SAMPLE_WINDOW = 128
"""A sample is 6 x 6 windows of 128 x 128 px: a few blocks of a large file, all of a small one."""

SCAN_ROWS = 256

RAW_LINE = 16384
"""Bytes in a line of a file that is read as a raster; GDAL checks the size of files with wider lines."""

REMOTE = re.compile(r"/vsi(curl|s3|gs|az|adls|oss|swift|webhdfs)(_streaming)?\b|^(https?|s3|gs|az|oss)://")
"""Paths that GDAL asks the network for."""

SIDECARS = "GDAL_DISABLE_READDIR_ON_OPEN"
"""Whether GDAL looks for files beside the one that it opens."""

NETWORK = {
    "GDAL_HTTP_CONNECTTIMEOUT": "30",
    "GDAL_HTTP_LOW_SPEED_TIME": "60",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_TIMEOUT": "300",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "1",
}
"""Seconds, bytes per second and tries for remote files: by default GDAL waits forever."""


@contextmanager
def open_raster(path: str | Path, what: str, *, containers: bool = False) -> Iterator[Any]:
    """Open a raster for reading. Network requests time out, by NETWORK unless the user has set otherwise.

    Args:
        path: Any path that GDAL can open.
        what: Name of the expected content, for messages.
        containers: Whether the raster may have no bands of its own.

    Yields:
        The open dataset.

    Raises:
        InputError: It is missing, is not a raster or not a file, has an unknown encoding, or has no bands.
    """
    check_readable(path, what)
    settings = {name: value for name, value in NETWORK.items() if get_gdal_config(name) is None}
    # Beside a remote file every look is a request; some are made when the file is open already.
    settings |= COMPLETE
    settings[SIDECARS] = "EMPTY_DIR" if REMOTE.search(str(path)) else "FALSE"
    with rasterio.Env(**settings), _opened(path, what) as dataset:
        if dataset.count == 0 and not containers:
            raise InputError(
                f"{path}: holds no bands itself, only subdatasets; expected {what} as one stack of bands. "
                "Make one with gdalbuildvrt -separate."
            )
        _check_texts(dataset, path)
        if dataset.driver != "VRT":
            check_sidecars(str(path), dataset.files)
        yield dataset


def _check_texts(dataset: Any, path: str | Path) -> None:
    """Raise InputError where what a file says of itself is not UTF-8, as GDAL wants it."""
    try:
        _ = dataset.descriptions, dataset.tags(), [dataset.tags(band) for band in dataset.indexes]
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: its tags or band descriptions are not UTF-8 ({error.reason}); expected UTF-8. Write "
            "them again with gdal_edit or rio edit-info, or leave them out with gdal_translate -nomd."
        ) from error


def _opened(path: str | Path, what: str) -> Any:
    try:
        with warnings.catch_warnings():
            # A missing CRS becomes an error of Grid.from_dataset.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(path)
    except (RasterioError, ValueError, OSError) as error:  # ValueError: a name with a zero byte
        why = why_not(path) or error
        raise InputError(
            f"{path}: cannot be opened as {what} ({why}); expected a complete raster file that GDAL reads, "
            "such as a GeoTIFF. Check the path, and copy or download the file again."
        ) from error


def is_complete(path: Path) -> bool:
    """Tell whether a file is a raster down to its last block, which is at the end of a COG.

    Args:
        path: The file.

    Returns:
        Whether that block can be read.
    """
    try:
        with open_raster(path, "an image") as dataset:
            rows, columns = dataset.block_shapes[-1]
            top, left = (
                (size - 1) // side * side for size, side in ((dataset.height, rows), (dataset.width, columns))
            )
            window = Window(left, top, min(columns, dataset.width - left), min(rows, dataset.height - top))
            dataset.read(window=window)
    except (InputError, RasterioError):
        return False
    return True


def read_bytes(path: str, most: int) -> bytes:
    """Read a small file at any path GDAL knows.

    Args:
        path: The file; it must not end in a zero byte.
        most: Bytes that it may have.

    Returns:
        The bytes of the file.

    Raises:
        InputError: It is missing, out of reach or too large.
    """
    local = not path.startswith("/vsi")
    content = read_start(path, "metadata", most + 1) if local else _through_gdal(path, most)
    if len(content) > most:
        raise InputError(f"{path}: has more than {most} bytes; expected metadata.")
    return content


def read_start(path: str | Path, what: str, most: int) -> bytes:
    """Read the first bytes of a file on this machine.

    Args:
        path: The file.
        what: The expected content, for messages.
        most: Bytes to read.

    Returns:
        Its bytes, no more than `most`.

    Raises:
        InputError: It is missing, may not be read, or is a pipe or a device and not a file.
    """
    check_readable(path, what)
    try:
        with Path(path).open("rb") as file:
            return file.read(most)
    except (OSError, ValueError) as error:
        why = why_not(path) or f"cannot be read ({getattr(error, 'strerror', None) or error})"
        raise InputError(f"{path}: {why}; expected {what}. Check the path.") from error


def _through_gdal(path: str, most: int) -> bytes:
    """A file as the pixels of a raw raster, which is how GDAL hands bytes through: zeros follow its end."""
    lines = most // RAW_LINE + 1
    vrt = (
        f'<VRTDataset rasterXSize="{RAW_LINE}" rasterYSize="{lines}">'
        '<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">'
        f'<SourceFilename relativeToVRT="0">{escape(streamed(path))}</SourceFilename>'
        f"<ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset><LineOffset>{RAW_LINE}</LineOffset>"
        "</VRTRasterBand></VRTDataset>"
    )
    content = b""
    try:
        # Newer versions of GDAL refuse raw files that are not below the VRT, unless allowed.
        with (
            rasterio.Env(GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE="ALL"),
            open_raster(vrt, "metadata") as dataset,
        ):
            for top in range(0, lines, PIECE):
                window = Window(0, top, RAW_LINE, min(PIECE, lines - top))
                content += dataset.read(1, window=window).tobytes()
                if content.endswith(b"\0"):
                    break
    except (InputError, RasterioError) as error:
        raise InputError(f"{path}: cannot be read; expected metadata. Check the path.") from error
    return content.rstrip(b"\0")


@dataclass(frozen=True, slots=True)
class Source:
    """Chosen bands of an open raster, laid on the scene's grid.

    Attributes:
        path: What was opened.
        dataset: Open dataset of rasterio.
        grid: Grid of the scene.
        indexes: Numbers of the bands in the dataset, from 1.
        warped: Whether the dataset resamples a file of another grid.
        origin: Row and column of the grid in the dataset, when it is a part of it.
        rows: A faster way to read full-width rows of some bands, by their places among all.
        window: Another way to read windows than from the dataset itself.
        validity: Where it holds a measurement, if more than its nodata value tells; all else gets that value.
    """

    path: str
    dataset: Any
    grid: Grid
    indexes: tuple[int, ...]
    warped: bool
    origin: tuple[int, int] = (0, 0)
    rows: Callable[[int, int, Sequence[int]], NDArray[Any]] | None = None
    window: Callable[[Window, Sequence[int]], NDArray[Any]] | None = None
    validity: Validity | None = None

    @property
    def files(self) -> list[str]:
        """All files that are read, also those of which a virtual raster is made."""
        dataset = self.dataset.src_dataset if self.warped else self.dataset
        return list(dataset.files)

    def read(self, top: int, rows: int, bands: Sequence[int] | None = None) -> NDArray[Any]:
        """Read full-width rows.

        Args:
            top: First row.
            rows: Number of rows.
            bands: Positions among the chosen bands; None: all.

        Returns:
            Pixels (bands, rows, width) in the stored dtype.

        Raises:
            InputError: The file is damaged.
        """
        window = self.grid.window(top, rows)
        places = range(len(self.indexes)) if bands is None else bands
        if self.rows is None:
            return self.read_window(window, places)
        with self._errors(window):
            return self._cleaned(self.rows(top, rows, places), window, places)

    def sample(self, side: int = SAMPLE_SIDE) -> NDArray[Any]:
        """Read windows spread evenly over the grid.

        Args:
            side: Number of windows in each direction.

        Returns:
            Pixels (bands, n), in the stored dtype.
        """
        height, width = min(SAMPLE_WINDOW, self.grid.height), min(SAMPLE_WINDOW, self.grid.width)
        tops = np.unique(np.linspace(0, self.grid.height - height, side).astype(int))
        lefts = np.unique(np.linspace(0, self.grid.width - width, side).astype(int))
        windows = [Window(int(left), int(top), width, height) for top in tops for left in lefts]
        return np.concatenate(
            [
                self.read_window(window, range(len(self.indexes))).reshape(len(self.indexes), -1)
                for window in windows
            ],
            axis=1,
        )

    def strips(self) -> Iterator[NDArray[Any]]:
        """Read all rows, a strip at a time from the top down.

        Yields:
            Values (bands, rows, width).

        Raises:
            InputError: The file is damaged.
        """
        for top in range(0, self.grid.height, SCAN_ROWS):
            yield self.read(top, min(SCAN_ROWS, self.grid.height - top))

    def as_stored(self, top: int, pixels: NDArray[Any]) -> NDArray[Any]:
        """Put what the file holds where there is no measurement into full-width rows of all bands.

        Args:
            top: First row.
            pixels: The rows (bands, rows, width).

        Returns:
            The rows, or a copy of them.
        """
        return pixels if self.validity is None else self.validity.kept.put_back(top, pixels, self.read)

    def read_window(self, window: Window, bands: Sequence[int]) -> NDArray[Any]:
        """Read a window.

        Args:
            window: Rows and columns of the grid.
            bands: Positions among the chosen bands.

        Returns:
            Pixels (bands, rows, columns) in the stored dtype.

        Raises:
            InputError: The file is damaged.
        """
        if self.window is not None:
            with self._errors(window):
                return self.window(window, bands)
        top, left = self.origin
        window = Window(window.col_off + left, window.row_off + top, window.width, window.height)
        with self._errors(window):
            pixels: NDArray[Any] = self.dataset.read([self.indexes[band] for band in bands], window=window)
            return self._cleaned(pixels, window, bands)

    def _cleaned(self, pixels: NDArray[Any], window: Window, bands: Sequence[int]) -> NDArray[Any]:
        return pixels if self.validity is None else self.validity.cleaned(pixels, window, bands)

    @contextmanager
    def _errors(self, window: Window) -> Iterator[None]:
        try:
            yield
        except RasterioError as error:
            raise InputError(
                f"{self.path}: rows {window.row_off} to {window.row_off + window.height} cannot be read "
                f"({error.__cause__ or error}); expected a complete file. It is truncated, damaged or out of "
                "reach: copy or download it again."
            ) from error


@contextmanager
def aligned(
    dataset: Any,
    path: str | Path,
    grid: Grid,
    indexes: tuple[int, ...],
    *,
    resampling: Resampling,
    src_nodata: float | None = None,
    nodata: float | None = None,
    dtype: str | None = None,
    unified: bool = False,
) -> Iterator[Source]:
    """Lay a dataset on a grid: as it is if it is there already, else warped window by window when it is read.

    Args:
        dataset: The open dataset.
        path: Its path, for messages.
        grid: The grid.
        indexes: Bands, from 1.
        resampling: How pixels of another grid are resampled.
        src_nodata: Nodata value of the dataset, if not its own.
        nodata: Value where a warp has no source pixels; None: 0.
        dtype: Data type of the result; None: that of the dataset.
        unified: Whether a source pixel is nodata only if all bands are.

    Yields:
        The dataset on the grid.
    """
    if grid.matches(Grid.from_dataset(dataset)):
        yield Source(str(path), dataset, grid, indexes, warped=False)
        return
    with WarpedVRT(
        dataset,
        crs=grid.crs,
        transform=grid.transform,
        width=grid.width,
        height=grid.height,
        resampling=resampling,
        src_nodata=src_nodata,
        nodata=nodata,
        dtype=dtype,
        num_threads=os.cpu_count() or 1,
        **({"UNIFIED_SRC_NODATA": "YES"} if unified else {}),
    ) as warped:
        yield Source(str(path), warped, grid, indexes, warped=True)
