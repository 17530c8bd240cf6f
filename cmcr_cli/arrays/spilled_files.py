"""Arrays written to temporary files, block by block as they are computed.

A removal reads its inputs several times: to find clouds, to learn, to restore, and once for each reference. A
lazy array would be computed, which may mean downloaded, each time. Written once to a GeoTIFF without
compression, every block of it is computed once and memory is bounded, and all readers of files, with their
checks of bands, units and masks, serve for arrays as they are.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from numpy.typing import NDArray
from rasterio.windows import Window

from cmcr_cli.arrays.array_layers import ArrayImage
from cmcr_cli.errors import InputError, OutputError
from cmcr_cli.output.write_errors import GDAL_ERRORS

BLOCK_BYTES = 16 * 2**20
"""Of the pixels that are computed at a time, unless one chunk of each layer of a lazy array has more."""

CACHE_BYTES = 32 * 2**20
"""GDAL's block cache while files are written; it would take 5 % of the memory of the machine."""

TILE = 256

SPARE_BYTES = 64 * 2**20
"""Room that is left on the disk."""


def check_room(folder: Path, needed: int) -> None:
    """Check that arrays have room on the disk before any of them is computed.

    Args:
        folder: Where they are to be written.
        needed: Bytes.

    Raises:
        OutputError: They have not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise OutputError(
            f"{folder}: has {free / 1e9:.1f} GB of free space; expected {needed / 1e9:.1f} GB for temporary "
            "files of the arrays. Free some space, or choose another disk: the files are beside the output, "
            "and in TMPDIR where no output is named."
        )


def write_image(image: ArrayImage, path: Path, progress: Callable[[int], None] = lambda done: None) -> None:
    """Write an array to a GeoTIFF, with north at its top.

    Args:
        image: The array.
        path: The file.
        progress: Called with the bytes that were written, block by block.

    Raises:
        InputError: The array cannot be computed, or is another one then.
        OutputError: The file cannot be written.
    """
    count, height, width = image.shape
    place = image.place
    profile: dict[str, Any] = {"driver": "GTiff", "count": count, "height": height, "width": width}
    profile |= {"dtype": image.dtype.name, "crs": place.crs, "transform": place.transform}
    profile |= {
        "nodata": image.nodata,
        "interleave": "band",
        "bigtiff": "if_safer",
        "photometric": "minisblack",
    }
    if min(height, width) >= TILE:
        profile |= {"tiled": True, "blockxsize": TILE, "blockysize": TILE}
    # One by one: Dask would join the chunks of several layers, and hold them twice.
    lazy = xr.Dataset({f"layer_{n}": layer for n, layer in enumerate(image.layers.each())})
    try:
        with (
            rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES),
            rasterio.open(path, "w", **profile) as file,
        ):
            for rows, columns in windows(image):
                window = _window(image, rows, columns)
                for index, pixels in enumerate(_computed(image, lazy, rows, columns), 1):
                    file.write(pixels, index, window=window)
                    progress(pixels.nbytes)
            file.update_tags(**image.tags)
            file.descriptions = tuple(name or "" for name in image.layers.names)
            file.scales, file.offsets = zip(*image.scaling, strict=True)
    except InputError:
        raise
    except GDAL_ERRORS as error:
        raise OutputError(
            f"{path.parent}: the temporary file of {image.what} cannot be written ({error}); expected room "
            f"for {image.bytes / 1e9:.1f} GB. Free some space, or choose another disk."
        ) from error


def windows(image: ArrayImage) -> Iterator[tuple[slice, slice]]:
    """Part an array into blocks, each made of whole chunks where it is lazy.

    Args:
        image: The array.

    Yields:
        Rows and columns of the array.
    """
    _, height, width = image.shape
    chunks = image.layers.pieces[0].chunksizes
    most = max(BLOCK_BYTES // (image.dtype.itemsize * len(image.layers.names)), 1)
    for rows in merged(chunks.get(image.place.y, (1,) * height), max(most // width, 1)):
        for columns in merged(chunks.get(image.place.x, (width,)), max(most // (rows.stop - rows.start), 1)):
            yield rows, columns


def merged(sizes: Sequence[int], most: int) -> Iterator[slice]:
    """Join neighbouring chunks.

    Args:
        sizes: Of the chunks.
        most: Size to which they are joined; a single chunk may be larger.

    Yields:
        Spans that cover them all.
    """
    start = stop = 0
    for size in sizes:
        if stop > start and stop + size - start > most:
            yield slice(start, stop)
            start = stop
        stop += size
    if stop > start:
        yield slice(start, stop)


def _computed(image: ArrayImage, lazy: xr.Dataset, rows: slice, columns: slice) -> Iterator[NDArray[Any]]:
    """Pixels of a block, layer by layer (rows, columns), in the order of the map."""
    try:
        # All layers at once: they may be parts of one chunk, and are computed in parallel.
        block = lazy.isel({image.place.y: rows, image.place.x: columns}).compute()
        parts = [np.asarray(part.values) for part in block.data_vars.values()]
    except MemoryError:
        raise
    except Exception as error:  # of whatever computes a lazy array, such as a reader of remote files
        raise InputError(
            f"{image.what}: rows {rows.start} to {rows.stop} cannot be computed ({type(error).__name__}: "
            f"{error}); expected an array that can. Look at it with ds.isel(...).load()."
        ) from error
    expected = rows.stop - rows.start, columns.stop - columns.start
    for part in parts:
        if part.shape != expected or not np.can_cast(part.dtype, image.dtype, "same_kind"):
            raise InputError(
                f"{image.what}: holds {part.dtype} pixels of the shape {part.shape} once it is computed; "
                f"expected {image.dtype} and {expected}, as the array says. Correct the dtype and chunks of "
                "the step that makes it, such as map_blocks."
            )
        yield np.ascontiguousarray(part[image.place.order], image.dtype)


def _window(image: ArrayImage, rows: slice, columns: slice) -> Window:
    """Place of a block in the file."""
    _, height, width = image.shape
    upwards, leftwards = (order.step == -1 for order in image.place.order)
    top = height - rows.stop if upwards else rows.start
    left = width - columns.stop if leftwards else columns.start
    return Window(left, top, columns.stop - columns.start, rows.stop - rows.start)
