"""Checking a finished COG for writes that failed without GDAL reporting them.

GDAL builds overviews in a file of its own, in which a tile may then be missing, or be another one. Tiles of
the image may be where no reader expects them: LAYOUT=COG promises their size in front of each.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Interleaving
from rasterio.windows import Window

STRIP = 256
"""Rows of an overview that are checked at once."""

REACH = 2
"""Pixels, beside the two that an overview halves, that may count: where a size is odd, the places drift."""

PROMISED = b"BLOCK_LEADER=SIZE_AS_UINT4\n", b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\n", b"EDITION=NO\n"
"""What GDAL states in front of the first directory of a COG, and readers rely on."""

GHOST = 512
"""Bytes from the begin of a file in which that must be."""

OFFSETS, COUNTS = 324, 325
"""Tags of TIFF: where the tiles begin, and their sizes."""

NUMBERS = {3: "H", 4: "I", 16: "Q"}
"""Types of TIFF, as struct names them."""


def overviews_fit(cog: Path, source: Any, **options: str) -> bool:
    """Tell whether each overview can follow from the level above it, by averages or by nearest pixels.

    Each pixel must lie within the range of the pixels around its place, in the mask and in the first band, or
    in all bands where they are not stored together.

    Args:
        cog: The file.
        source: Open raster of which its full size is a copy, which is quicker to read.
        **options: Options of GDAL to open it with.

    Returns:
        Whether they do.

    Raises:
        RasterioError: They cannot be read.
    """
    with rasterio.open(cog, **options) as image:
        levels = len(image.overviews(1))
        bands = [1] if image.interleaving == Interleaving.pixel else list(image.indexes)
    with ExitStack() as stack:
        files = [source]
        for level in range(levels):
            files.append(stack.enter_context(rasterio.open(cog, overview_level=level, **options)))
        return all(_fits(fine, coarse, band) for fine, coarse in pairwise(files) for band in bands)


def laid_out(cog: Path) -> bool:
    """Tell whether each tile of a COG, its overviews and masks is where readers over a network look for it.

    Args:
        cog: The file.

    Returns:
        Whether it is.
    """
    with cog.open("rb") as file:
        head = file.read(GHOST)
        try:
            return all(each in head for each in PROMISED) and all(
                _framed(file, offset, size) for offset, size in _tiles(file, head) if size
            )
        except (struct.error, KeyError, OverflowError):
            return False


def _tiles(file: IO[bytes], head: bytes) -> Iterator[tuple[int, int]]:
    """Offset and size of all tiles of a TIFF, directory by directory."""
    order = {b"II": "<", b"MM": ">"}[head[:2]]
    big = struct.unpack_from(order + "H", head, 2)[0] == 43
    pointer, count_of = order + ("Q" if big else "I"), order + ("Q" if big else "H")
    entry = order + ("HHQ8s" if big else "HHI4s")
    seen: set[int] = set()
    (place,) = struct.unpack_from(pointer, head, 8 if big else 4)
    while place and place not in seen:  # a damaged chain may be a circle
        seen.add(place)
        file.seek(place)
        (count,) = struct.unpack(count_of, file.read(struct.calcsize(count_of)))
        directory = file.read(count * struct.calcsize(entry) + struct.calcsize(pointer))
        (place,) = struct.unpack_from(pointer, directory, len(directory) - struct.calcsize(pointer))
        found: dict[int, tuple[int, ...]] = {}
        for index in range(count):
            tag, kind, length, value = struct.unpack_from(entry, directory, index * struct.calcsize(entry))
            if tag in (OFFSETS, COUNTS):
                numbers = f"{order}{length}{NUMBERS[kind]}"
                if (size := struct.calcsize(numbers)) > len(value):
                    file.seek(struct.unpack(pointer, value)[0])
                    value = file.read(size)
                found[tag] = struct.unpack_from(numbers, value)
        yield from zip(found[OFFSETS], found[COUNTS], strict=True)


def _framed(file: IO[bytes], offset: int, size: int) -> bool:
    """Whether the size of a tile is in front of it, and its last bytes are repeated behind it."""
    file.seek(offset - 4)
    leader = file.read(4)
    file.seek(offset + size - 4)
    trailer = file.read(8)
    return leader == struct.pack("<I", size) and len(trailer) == 8 and trailer[:4] == trailer[4:]


def _fits(fine: Any, coarse: Any, band: int) -> bool:
    for top in range(0, coarse.height, STRIP):
        rows = min(STRIP, coarse.height - top)
        first = max(2 * top - REACH, 0)
        last = min(2 * (top + rows) + REACH, fine.height)
        within = Window(0, first, fine.width, last - first)
        part = Window(0, top, coarse.width, rows)
        found, given = coarse.read(band, window=part), fine.read(band, window=within)
        valid, were_valid = (
            file.read_masks(band, window=window) for file, window in ((coarse, part), (fine, within))
        )
        skipped = 2 * top - first
        if not _between(valid, were_valid, skipped).all():
            return False
        # Of pixels that are nodata, the values may be any.
        if not (_between(found, given, skipped) | (valid == 0)).all():
            return False
    return True


def _between(coarse: NDArray[Any], fine: NDArray[Any], skipped: int) -> NDArray[np.bool_]:
    """Which pixels (h, w) lie within the range of those around their places in `fine`, (2 h + ..., 2 w)."""
    lowest, highest = (_around(fine, coarse.shape, skipped, least) for least in (True, False))
    if coarse.dtype.kind == "f":
        slack = 1e-5 * np.abs(coarse)
        inside = (coarse >= lowest - slack) & (coarse <= highest + slack)
        return np.asarray(inside | np.isnan(coarse) | np.isnan(lowest))
    return np.asarray((coarse >= lowest) & (coarse <= highest))


def _around(fine: NDArray[Any], shape: tuple[int, ...], skipped: int, least: bool) -> NDArray[Any]:
    """Least or greatest value around the place of each pixel of a level half as large."""
    pick = np.minimum if least else np.maximum
    for axis, (size, begin) in enumerate(zip(shape, (skipped, 0), strict=True)):
        places = 2 * np.arange(size) + begin
        ends = [
            np.take(fine, np.clip(places + offset, 0, fine.shape[axis] - 1), axis)
            for offset in range(-REACH, REACH + 2)
        ]
        fine = ends[0]
        for other in ends[1:]:
            fine = pick(fine, other)
    return fine
