"""Files of one band each, of any resolution, read as one stack on the finest of their grids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from cmcr_cli.errors import GridMismatchError, InputError, RadiometryError
from cmcr_cli.scene.grid import Grid, same_crs
from cmcr_cli.scene.pixels.virtual import says_more_than_nodata
from cmcr_cli.scene.raster import open_raster
from cmcr_cli.scene.sun import Sun
from cmcr_cli.warning_kinds import RadiometryWarning

GDAL_TYPES = {
    "uint8": "Byte",
    "uint16": "UInt16",
    "int16": "Int16",
    "float32": "Float32",
    "float64": "Float64",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Bands and metadata of a product or catalogue item; paths are any that GDAL can open.

    Attributes:
        path: What the user named.
        bands: File of each band by its canonical name, in the order of the stack.
        scl: File of the scene classification; None: there is none.
        offset: Added to DN; None: not said.
        quantification: DN of reflectance 1; None: not said.
        sun: Position of the sun; None: not said.
        nodata: Value of pixels without a measurement; None: not said.
        tags: Metadata that outputs keep.
        warnings: What there is to say about its radiometry.
        form: Name of the format, for people.
        folder: Local folder of many files, which GDAL does not list; None: there is none.
    """

    path: str
    bands: Mapping[str, str]
    scl: str | None = None
    offset: float | None = None
    quantification: float | None = None
    sun: Sun | None = None
    nodata: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[RadiometryWarning, ...] = ()
    form: str = "product"
    folder: str | None = None


@contextmanager
def open_stack(
    files: Mapping[str, str],
    what: str,
    *,
    nodata: float | None = None,
    scaling: tuple[float, float] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Iterator[tuple[Any, BlockRows | None]]:
    """Open rasters of one band each as one dataset; coarser pixels are repeated.

    Args:
        files: Paths by name of the band; the names become descriptions.
        what: Name of the product, for messages.
        nodata: Nodata value where the files state none.
        scaling: Scale and offset where the files state none.
        tags: Tags of the dataset.

    Yields:
        The dataset, and a faster reader of full rows, None if the pixel sizes do not divide each other.

    Raises:
        InputError: A file cannot be used.
        RadiometryError: The data types differ.
        GridMismatchError: The files do not have one extent.
    """
    with ExitStack() as stack:
        opened = {
            name: stack.enter_context(open_raster(path, f"band {name} of {what}"))
            for name, path in files.items()
        }
        dataset = stack.enter_context(rasterio.open(_vrt(opened, nodata, scaling, tags or {})))
        size = dataset.width, dataset.height
        even = all(
            size == (each.width * (size[0] // each.width), each.height * (size[0] // each.width))
            for each in opened.values()
        )
        yield dataset, BlockRows(list(opened.values()), size[0]) if even else None


def _vrt(
    opened: Mapping[str, Any],
    nodata: float | None,
    scaling: tuple[float, float] | None,
    tags: Mapping[str, str],
) -> str:
    """The stack as the text of a GDAL virtual raster."""
    finest = min(opened.values(), key=lambda dataset: abs(dataset.transform.a))
    grid, dtype = Grid.from_dataset(finest), finest.dtypes[0]
    bands = []
    for number, (name, dataset) in enumerate(opened.items(), 1):
        _check(name, dataset, finest.name, grid, dtype)
        rows, columns = dataset.block_shapes[0]
        size = f'xOff="0" yOff="0" xSize="{dataset.width}" ySize="{dataset.height}"'
        band_nodata = dataset.nodata if dataset.nodata is not None else nodata
        scale, offset = scaling or (dataset.scales[0], dataset.offsets[0])
        bands.append(
            f'<VRTRasterBand dataType="{GDAL_TYPES[dtype]}" band="{number}"><Description>{name}</Description>'
            + (f"<NoDataValue>{band_nodata!r}</NoDataValue>" if band_nodata is not None else "")
            + (f"<Offset>{offset!r}</Offset><Scale>{scale!r}</Scale>" if (scale, offset) != (1, 0) else "")
            + f'<SimpleSource><SourceFilename relativeToVRT="0">{escape(dataset.name)}</SourceFilename>'
            f"<SourceBand>1</SourceBand>"
            f'<SourceProperties RasterXSize="{dataset.width}" RasterYSize="{dataset.height}" '
            f'DataType="{GDAL_TYPES[dtype]}" BlockXSize="{columns}" BlockYSize="{rows}"/>'
            f'<SrcRect {size}/><DstRect xOff="0" yOff="0" xSize="{grid.width}" ySize="{grid.height}"/>'
            "</SimpleSource></VRTRasterBand>"
        )
    items = "".join(f'<MDI key="{escape(key)}">{escape(value)}</MDI>' for key, value in tags.items())
    return (
        f'<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}">'
        f"<SRS>{escape(grid.crs.to_wkt())}</SRS>"
        f"<GeoTransform>{', '.join(repr(number) for number in grid.transform.to_gdal())}</GeoTransform>"
        f"<Metadata>{items}</Metadata>{''.join(bands)}</VRTDataset>"
    )


def _check(name: str, dataset: Any, reference: str, grid: Grid, dtype: str) -> None:
    """Raise an error unless `dataset` is one band of `dtype` over exactly the ground of `grid`."""
    if dataset.count != 1:
        raise InputError(f"{dataset.name}: has {dataset.count} bands; expected {name} alone.")
    if dataset.dtypes[0] != dtype or dtype not in GDAL_TYPES:
        raise RadiometryError(
            f"{dataset.name}: holds {dataset.dtypes[0]} pixels, and {reference} {dtype}; expected one type "
            f"of real numbers for all bands. Convert them with gdal_translate -ot."
        )
    own = Grid.from_dataset(dataset)
    apart = np.abs(np.subtract(own.corners, grid.corners)).max() / min(grid.pixel_size)
    if not same_crs(own.crs, grid.crs) or apart > 0.5:
        raise GridMismatchError(
            f"{dataset.name}: {own.describe()} does not cover the extent of {reference} ({grid.describe()}); "
            "expected all bands over the same ground. Bring them to one extent with gdalwarp -te."
        )


class BlockRows:
    """Full-width rows of a stack, each block of which is decoded once when rows are read from the top down.

    One line of a tile crosses 140 MB of JPEG 2000 blocks. GDAL's cache cannot hold as many beside all else,
    and would decode most of them again for every strip.
    """

    def __init__(self, datasets: Sequence[Any], width: int) -> None:
        """Rows of which none is read yet.

        Args:
            datasets: Open datasets of one band, whose widths divide `width`.
            width: Columns of the stack.
        """
        self._datasets = [(dataset, width // dataset.width) for dataset in datasets]
        self._held = [(0, np.empty((0, dataset.width), dataset.dtypes[0])) for dataset in datasets]

    @property
    def masked(self) -> bool:
        """Whether a file has a mask besides its nodata value."""
        return any(
            says_more_than_nodata(flags) for each, _ in self._datasets for flags in each.mask_flag_enums
        )

    def read(self, top: int, rows: int, bands: Sequence[int]) -> NDArray[Any]:
        """Read full-width rows, with coarser pixels repeated.

        Args:
            top: First row.
            rows: Number of rows.
            bands: Positions of the bands.

        Returns:
            Pixels (bands, rows, width).

        Raises:
            RasterioError: A file is damaged.
        """
        found = []
        for band in bands:
            factor = self._datasets[band][1]
            first, stop = top // factor, -(-(top + rows) // factor)
            lines = np.arange(top, top + rows) // factor - first
            found.append(self._stored(band, first, stop)[lines].repeat(factor, axis=1))
        return np.stack(found)

    def _stored(self, band: int, first: int, stop: int) -> NDArray[Any]:
        """Rows of a file from `first`, at least to `stop`; what is read goes on to the end of its blocks."""
        dataset, _ = self._datasets[band]
        start, held = self._held[band]
        held = held[first - start :] if start <= first < start + len(held) else held[:0]
        begin = first + len(held)
        if begin < stop:
            block = dataset.block_shapes[0][0]
            end = min(-(-stop // block) * block, dataset.height)
            fresh = dataset.read(1, window=Window(0, begin, dataset.width, end - begin))
            held = np.concatenate([held, fresh])
        self._held[band] = first, held
        return held
