"""Finished rows of a raster in a plain file, which only cmcr writes and GDAL reads as a virtual raster.

Where a write fails to a TIFF that is being changed, GDAL's TIFF library (libtiff 4.7 in GDAL 3.10) may loop
forever or crash when it closes the file. A write of Python that fails is an error, there and then.

The file begins with the bytes of a row. Each row has all its bands one after the other, then its mask.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.dtypes import dtype_rev, typename_fwd

HEADER = 8
"""Bytes before the first row: the size of a row, little endian."""

PIECE = 64
"""Rows that are put into the order of the file at once."""

READ_BYTES = 4 * 2**20

OPTIONS = {"GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE": "ALL", "GDAL_ONE_BIG_READ": "YES"}
"""Of GDAL, with which the virtual raster is read: nothing is read that is not needed, whatever the block."""


class RowsFile:
    """Open file to which rows are appended."""

    def __init__(
        self, path: Path, shape: tuple[int, int], dtype: str, *, masked: bool = False, resumed: int = 0
    ) -> None:
        """Create the file, or open the one that an earlier run has left. No link is followed.

        Args:
            path: The file.
            shape: Bands, and pixels of a row.
            dtype: Of the pixels.
            masked: Whether each row has a mask.
            resumed: Rows of the earlier run; later ones are dropped.

        Raises:
            OSError: It cannot be done.
        """
        self._path, self._dtype = path, np.dtype(dtype)
        self._count, self._width = shape
        self._mask = self._width if masked else 0
        self._line = self._width * self._dtype.itemsize
        self._bytes = self._count * self._line + self._mask
        flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        if not resumed:
            path.unlink(missing_ok=True)
            flags |= os.O_CREAT | os.O_EXCL
        self._file = open(os.open(path, flags, 0o666), "r+b", buffering=0)  # noqa: PTH123, SIM115
        if resumed:
            end = HEADER + resumed * self._bytes
            self._file.truncate(end)
            self._file.seek(end)
        else:
            self._append(self._bytes.to_bytes(HEADER, "little"))

    def write(self, rows: NDArray[Any], valid: NDArray[np.bool_] | None, checksum: int) -> int:
        """Append rows.

        Args:
            rows: Pixels (count, any height, width).
            valid: Where they are valid (height, width), if the raster is masked.
            checksum: Of the rows before them.

        Returns:
            Checksum of all rows.

        Raises:
            OSError: They cannot be written.
        """
        for content in self.packed(rows, valid):
            self._append(content)
            checksum = zlib.crc32(content, checksum)
        return checksum

    def packed(self, rows: NDArray[Any], valid: NDArray[np.bool_] | None) -> Iterator[memoryview]:
        """Put rows into the order of the file.

        Args:
            rows: Pixels (count, any height, width).
            valid: Where they are valid (height, width), if the raster is masked.

        Yields:
            Bytes of some rows.
        """
        for top in range(0, rows.shape[1], PIECE):
            piece = np.ascontiguousarray(rows[:, top : top + PIECE].swapaxes(0, 1))
            content = piece.view(np.uint8).reshape(len(piece), -1)
            if valid is not None:
                content = np.hstack([content, np.uint8(255) * valid[top : top + PIECE]])
            yield content.data.cast("B")

    def read(self, top: int, rows: int) -> NDArray[Any]:
        """Read rows.

        Args:
            top: First row.
            rows: Number of rows.

        Returns:
            Pixels (count, rows, width).

        Raises:
            OSError: They cannot be read, or the file ends before.
        """
        start, size = HEADER + top * self._bytes, rows * self._bytes
        with self._path.open("rb") as file:
            file.seek(start)
            content = file.read(size)
        if len(content) != size:
            raise OSError(f"ends after {start + len(content)} bytes; expected {start + size}")
        lines = np.frombuffer(content, np.uint8).reshape(rows, self._bytes)
        pixels = np.ascontiguousarray(lines[:, : self._bytes - self._mask]).view(self._dtype)
        return pixels.reshape(rows, self._count, self._width).swapaxes(0, 1)

    def close(self) -> None:
        """Close the file; OSError where that is when a failed write comes out."""
        self._file.close()

    @contextmanager
    def opened(self, height: int, transform: Any) -> Iterator[Any]:
        """Open the rows as a raster, to whose description anything may be added.

        Args:
            height: Rows of the raster.
            transform: Its affine transform.

        Yields:
            The rasterio dataset.
        """
        kind, size, line = typename_fwd[dtype_rev[self._dtype.name]], self._dtype.itemsize, self._line
        bands = [self._band(f'dataType="{kind}" band="{n + 1}"', n * line, size) for n in range(self._count)]
        if self._mask:
            mask = self._band('dataType="Byte"', self._count * line, 1)
            bands.append(f"<MaskBand>{mask}</MaskBand>")
        vrt = (
            f'<VRTDataset rasterXSize="{self._width}" rasterYSize="{height}">'
            f"<GeoTransform>{', '.join(map(repr, transform.to_gdal()))}</GeoTransform>"
            '<Metadata domain="IMAGE_STRUCTURE"><MDI key="INTERLEAVE">PIXEL</MDI></Metadata>'
            f"{''.join(bands)}</VRTDataset>"
        )
        with rasterio.Env(**OPTIONS), rasterio.open(vrt, "r+") as dataset:
            yield dataset

    def _band(self, what: str, offset: int, step: int) -> str:
        order = "LSB" if sys.byteorder == "little" else "MSB"
        return (
            f'<VRTRasterBand {what} subClass="VRTRawRasterBand">'
            f'<SourceFilename relativeToVRT="0">{escape(str(self._path.absolute()))}</SourceFilename>'
            f"<ImageOffset>{HEADER + offset}</ImageOffset><PixelOffset>{step}</PixelOffset>"
            f"<LineOffset>{self._bytes}</LineOffset><ByteOrder>{order}</ByteOrder></VRTRasterBand>"
        )

    def _append(self, content: bytes | memoryview) -> None:
        left = memoryview(content)
        while left:
            left = left[self._file.write(left) :]  # a disk may take a part

    def __enter__(self) -> Self:
        """The file itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self.close()


def checksum_of(path: Path, rows: int) -> int:
    """Compute the checksum of the first rows of a file, as `RowsFile.write` has counted it.

    Args:
        path: The file.
        rows: Number of rows.

    Returns:
        CRC-32 of the rows.

    Raises:
        OSError: It cannot be read.
        EOFError: It has less rows.
    """
    checksum = 0
    with path.open("rb") as file:
        left = rows * int.from_bytes(file.read(HEADER), "little")
        while left:
            content = file.read(min(left, READ_BYTES))
            if not content:
                raise EOFError(path)
            checksum = zlib.crc32(content, checksum)
            left -= len(content)
    return checksum
