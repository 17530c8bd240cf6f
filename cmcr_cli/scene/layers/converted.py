"""Images that are not stored as 16-bit DN: read as such, and written again as they are stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.radiometry import QUANTIFICATION, Radiometry

EMPTY = -32768
"""Nodata of the DN; reflectance of -3.3."""


@dataclass(frozen=True, slots=True)
class Original:
    """An image as it is stored, beside the DN as which it is read.

    Attributes:
        dtype: Of its numbers.
        nodata: Its nodata value.
        radiometry: Reflectance of its numbers.
        read: Reads full-width rows of its bands, by the first row and their number.
    """

    dtype: np.dtype[Any]
    nodata: float | None
    radiometry: Radiometry
    read: Callable[[int, int], NDArray[Any]]

    def with_new(self, top: int, dn: NDArray[Any], new: NDArray[np.bool_]) -> NDArray[Any]:
        """Put new pixels into rows of the image; others stay as they are, bit for bit.

        Args:
            top: First row.
            dn: DN of the new image (bands, rows, width).
            new: Where it is new (rows, width).

        Returns:
            Pixels (bands, rows, width) of `dtype`.
        """
        out = self.read(top, dn.shape[1])
        if not new.any():
            return out
        values = dn[:, new].astype(np.float64) / QUANTIFICATION * self.radiometry.quantification
        values -= self.radiometry.offset
        if self.dtype.kind == "f":
            values = values.astype(self.dtype)
            if self.nodata is not None:
                values[values == self.nodata] = np.nextafter(self.dtype.type(self.nodata), self.dtype.type(1))
        else:
            limits = np.iinfo(self.dtype)
            values = np.rint(values).clip(limits.min, limits.max)
            if self.nodata is not None:
                values[values == self.nodata] += 1 if self.nodata < limits.max else -1
        out[:, new] = values
        return out

    def dn(self, pixels: NDArray[Any]) -> NDArray[np.int16]:
        """Convert pixels of the image to the DN as which they are read.

        Args:
            pixels: Of any shape.

        Returns:
            DN of the same shape.
        """
        values = np.nan_to_num(pixels.astype(np.float64)) + self.radiometry.offset
        values *= QUANTIFICATION / self.radiometry.quantification
        return np.rint(values).clip(EMPTY, -1 - EMPTY).astype(np.int16)


def original_of(dataset: Any, indexes: Sequence[int], radiometry: Radiometry) -> Original:
    """Keep an image as it is stored.

    Args:
        dataset: The open file.
        indexes: Its bands, from 1.
        radiometry: Reflectance of its numbers.

    Returns:
        The image.
    """

    def read(top: int, rows: int) -> NDArray[Any]:
        found: NDArray[Any] = dataset.read(list(indexes), window=Window(0, top, dataset.width, rows))
        return found

    dtype = np.dtype(dataset.dtypes[indexes[0] - 1])
    return Original(dtype, dataset.nodatavals[indexes[0] - 1], radiometry, read)


def as_dn(dataset: Any, indexes: Sequence[int], radiometry: Radiometry) -> str:
    """Describe an image as one of DN = reflectance x 10 000, int16.

    Args:
        dataset: The open file.
        indexes: Its bands, from 1; other layers keep their numbers.
        radiometry: Reflectance of its numbers.

    Returns:
        The text of a virtual raster with the same layers.
    """
    grid = Grid.from_dataset(dataset)
    ratio = QUANTIFICATION / radiometry.quantification
    bands = []
    for index in dataset.indexes:
        measured = index in indexes
        nodata = dataset.nodatavals[index - 1]
        scaling = (
            f"<ScaleOffset>{radiometry.offset * ratio!r}</ScaleOffset><ScaleRatio>{ratio!r}</ScaleRatio>"
        )
        # Without a nodata value, 0 counts. It must not become another number by an offset.
        left_out = nodata if nodata is not None else 0 if radiometry.offset else float("nan")
        bands.append(
            f'<VRTRasterBand dataType="{"Int16" if measured else "UInt16"}" band="{index}">'
            f"<Description>{escape(dataset.descriptions[index - 1] or '')}</Description>"
            f"<ColorInterp>{dataset.colorinterp[index - 1].name.title()}</ColorInterp>"
            + (f"<NoDataValue>{EMPTY}</NoDataValue>" if measured and nodata is not None else "")
            + f'<ComplexSource><SourceFilename relativeToVRT="0">{escape(dataset.name)}</SourceFilename>'
            f"<SourceBand>{index}</SourceBand>"
            + (f"{scaling}<NODATA>{left_out!r}</NODATA>" if measured else "")
            + "</ComplexSource></VRTRasterBand>"
        )
    tags = "".join(
        f"<MDI key={quoteattr(key)}>{escape(text)}</MDI>"
        for key, text in dataset.tags().items()
        if key != "AREA_OR_POINT"
    )
    return (
        f'<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}">'
        f"<SRS>{escape(grid.crs.to_wkt())}</SRS>"
        f"<GeoTransform>{', '.join(repr(number) for number in grid.transform.to_gdal())}</GeoTransform>"
        f"<Metadata>{tags}</Metadata>{''.join(bands)}</VRTDataset>"
    )
