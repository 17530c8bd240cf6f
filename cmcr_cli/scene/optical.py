"""Reading Sentinel-2 stacks, products and catalogue items: band names, radiometry, validity."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.addresses import public
from cmcr_cli.errors import RadiometryError
from cmcr_cli.scene.bands import REFERENCE_NEEDS, SCENE_NEEDS, canonical
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.layers.converted import Original, as_dn, original_of
from cmcr_cli.scene.layers.pixel_sizes import check_pixel_size
from cmcr_cli.scene.layers.reflectance_units import STORED, OffsetSource, Units, find_units, find_unstated
from cmcr_cli.scene.layers.sensors import check_sensor
from cmcr_cli.scene.layers.stack_layers import Layers, find_layers
from cmcr_cli.scene.pixels.masks_of_files import open_validity, usable_nodata
from cmcr_cli.scene.products.formats import read_product
from cmcr_cli.scene.products.stack import BlockRows, Product, open_stack
from cmcr_cli.scene.radiometry import Radiometry, measured
from cmcr_cli.scene.raster import Source, open_raster
from cmcr_cli.scene.references.dates import TIME_TAGS, date_of
from cmcr_cli.scene.references.placed import Shift, placed
from cmcr_cli.scene.sun import Sun, sun_of_tags
from cmcr_cli.warning_kinds import CmcrWarning

log = logging.getLogger("cmcr")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Optical:
    """An open Sentinel-2 stack; get one from `open_optical`. One handle: not for two threads at once.

    Attributes:
        source: The open raster.
        names: Canonical names of its bands, in file order.
        radiometry: From DN to reflectance.
        offset_source: What stated the offset.
        dtype: Type of the DN.
        nodata: Nodata value; None: none stated.
        descriptions: The file's own names of its bands.
        scales: The file's own tags, 1 where it has none.
        offsets: The file's own tags, 0 where it has none.
        tags: Metadata that outputs keep.
        warnings: What there is to say about it.
        scl: Path of the product's own scene classification; None: there is none.
        sun: Position of the sun; None: not known.
        folder: Local folder of a product whose files GDAL does not list.
        masked: Whether it takes a mask besides the nodata value to say where it is valid.
        form: Name of its format, for people.
        guessed: Whether nothing but their number and order names the bands.
        scaled: Whether the user states the scale.
        original: The image as it is stored, where that is not 16-bit DN.
        own_files: File of each band of a product; empty for a stack.
    """

    source: Source
    names: tuple[str, ...]
    radiometry: Radiometry
    offset_source: OffsetSource
    dtype: np.dtype[Any]
    nodata: float | None
    descriptions: tuple[str | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    tags: dict[str, str]
    warnings: tuple[CmcrWarning, ...]
    scl: str | None = None
    sun: Sun | None = None
    folder: str | None = None
    masked: bool = False
    form: str = "stack"
    guessed: bool = False
    scaled: bool = False
    original: Original | None = None
    own_files: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Path, level and grid in one line."""
        return f"Optical({public(self.path)}: {self.level}, {self.grid.describe()})"

    @property
    def empty(self) -> float:
        """What all bands hold where nothing was measured, once they are read."""
        return usable_nodata(self.nodata, self.dtype)

    @property
    def path(self) -> str:
        """The path that was opened."""
        return self.source.path

    @property
    def files(self) -> list[str]:
        """Files and folders that are read, as far as GDAL and the product tell."""
        return [*self.source.files, *([] if self.folder is None else [self.folder])]

    @property
    def grid(self) -> Grid:
        """The scene's grid, which every other raster is aligned to."""
        return self.source.grid

    @property
    def level(self) -> Literal["L1C", "L2A"]:
        """Product level as the bands tell it: only L1C has the cirrus band B10."""
        return "L1C" if "B10" in self.names else "L2A"

    def read(self, top: int, rows: int, names: Sequence[str] | None = None) -> NDArray[Any]:
        """Read full-width rows.

        Args:
            top: First row.
            rows: Number of rows.
            names: Bands to read; None: all, in file order.

        Returns:
            DN (bands, rows, width) in the file's dtype.

        Raises:
            InputError: The file is damaged.
        """
        return self.source.read(top, rows, None if names is None else list(map(self.names.index, names)))

    def reflectance(self, dn: NDArray[Any]) -> NDArray[np.float32]:
        """Convert stored values to reflectance in the 13 canonical bands.

        Args:
            dn: DN, or means of them (bands in file order, ...).

        Returns:
            Reflectance (13, ...), not clipped; absent bands are 0.
        """
        found: NDArray[np.float32] = canonical(self.radiometry.reflectance(dn), self.names)
        return found

    def valid(self, dn: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell where DN hold a measurement.

        A pixel is nodata when all its bands but B10 hold the nodata value, or 0 where the file declares none.
        Whatever else says that there is none has given it these values as it was read, see `pixels.validity`.

        Args:
            dn: Of all bands (bands, ...).

        Returns:
            Booleans (...).
        """
        return np.asarray(measured(dn, self.names, self.empty))


@contextmanager
def open_optical(
    path: str | Path,
    *,
    bands: tuple[str, ...] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    sun: Sun | None = None,
    time: str | None = None,
    onto: Grid | None = None,
    shift: Shift = (0.0, 0.0),
) -> Iterator[Optical]:
    """Open a Sentinel-2 scene at any path GDAL knows. What is not stored as 16-bit DN is read as such.

    A reference, another date of a scene, is opened `onto` the grid of that scene. From another grid it is
    resampled (cubic) as it is read, and it is nodata where it has no pixels. It may have fewer bands.

    Args:
        path: A stack of bands, a folder or zip of SAFE or EOPF Zarr, or a STAC item.
        bands: Names of the bands of a stack in file order, where neither descriptions nor their number tell.
        scale: Reflectance of one DN; wins over the file's scale and offset tags.
        offset: DN, 0 or -1000; wins over the product's metadata and the file's scale and offset tags.
        sun: Position of the sun; wins over the product's metadata and the file's tags.
        time: When it was taken, in ISO 8601; wins over all that the image states.
        onto: Grid of the scene for which this is a reference.
        shift: Where the reference was found as seen from the scene, to the east and north in units of the CRS
            of `onto`; this is undone.

    Yields:
        The open scene.

    Raises:
        InputError: The file cannot be used.
        OverlapError: It does not cover any of `onto`.
        RadiometryError: Its bands or units are not known.
    """
    product = read_product(str(path))
    if product is not None and bands is not None:
        raise RadiometryError(
            f"{path}: says which bands it holds ({' '.join(product.bands)}), but --bands was given; expected "
            "--bands only for a stack without names. Leave it out."
        )
    with ExitStack() as stack:
        # What the file holds.
        stored, rows = stack.enter_context(_dataset(path, product))
        _check_dtype(stored, path)
        if product is None:
            check_sensor(str(path), stored.tags(), stored.descriptions)
        needs = SCENE_NEEDS if onto is None else REFERENCE_NEEDS
        layers = find_layers(stored, str(path), bands=bands, needs=needs, certain=product is not None)
        units = find_units(stored, layers.indexes, str(path), scale=scale, offset=offset)
        tags = stored.tags() | ({} if time is None else {TIME_TAGS[0]: time})
        # The same as 16-bit DN, where it has measurements, on the grid that is asked for.
        dataset, original = stored, None
        if not set(_of(stored.dtypes, layers.indexes)) <= set(STORED):
            original = original_of(stored, layers.indexes, units.radiometry)
            text = as_dn(stored, layers.indexes, units.radiometry)
            dataset, rows = stack.enter_context(open_raster(text, "a Sentinel-2 stack")), None
        first = layers.indexes[0] - 1
        dtype, nodata = np.dtype(dataset.dtypes[first]), dataset.nodatavals[first]
        empty, made = usable_nodata(nodata, dtype), rows is None or rows.masked
        validity = stack.enter_context(open_validity(dataset, layers.names, layers.indexes, empty, made=made))
        grid = onto or Grid.from_dataset(dataset)
        laid = placed(dataset, path, rows, grid, validity, indexes=layers.indexes, shift=shift)
        source = stack.enter_context(laid)
        yield Optical(
            source=source,
            names=layers.names,
            radiometry=units.radiometry if original is None else Radiometry(),
            offset_source=_offset_source(units, product),
            dtype=dtype,
            nodata=nodata,
            descriptions=_of(stored.descriptions, layers.indexes),
            scales=_of(stored.scales, layers.indexes),
            offsets=_of(stored.offsets, layers.indexes),
            tags=tags,
            warnings=_warnings(stored, product, layers, units, tags, str(path), reference=onto is not None),
            scl=_scl(path, product, layers),
            sun=_sun(stored, product, sun),
            masked=validity.beyond_nodata,
            folder=None if product is None else product.folder,
            form="stack" if product is None else product.form,
            guessed=layers.guessed,
            scaled=scale is not None,
            original=original,
            own_files={} if product is None else product.bands,
        )


def _offset_source(units: Units, product: Product | None) -> OffsetSource:
    stated = product is not None and product.offset is not None
    return "product" if units.source == "tag" and stated else units.source


def _warnings(
    dataset: Any,
    product: Product | None,
    layers: Layers,
    units: Units,
    tags: Mapping[str, str],
    path: str,
    *,
    reference: bool,
) -> tuple[CmcrWarning, ...]:
    """All there is to say; pixels of another size only of a scene, since references are resampled."""
    unstated = find_unstated(units, tags, date_of(tags, path), reference=reference)
    found: tuple[CmcrWarning, ...] = () if product is None else product.warnings
    found = (*found, *layers.warnings, *units.warnings, *unstated)
    return found if reference else (*found, *check_pixel_size(Grid.from_dataset(dataset), path))


def _scl(path: str | Path, product: Product | None, layers: Layers) -> str | None:
    """Path of the scene classification, which may be a layer of the file."""
    if product is not None:
        return product.scl
    return None if layers.scl is None else f"vrt://{path}?bands={layers.scl}"


def _of(values: Sequence[T], indexes: Sequence[int]) -> tuple[T, ...]:
    return tuple(values[index - 1] for index in indexes)


@contextmanager
def _dataset(path: str | Path, product: Product | None) -> Iterator[tuple[Any, BlockRows | None]]:
    if product is None:
        with open_raster(path, "a Sentinel-2 stack") as dataset:
            yield dataset, None
        return
    scaling = None
    if product.offset is not None and product.quantification is not None:
        scaling = (1 / product.quantification, product.offset / product.quantification)
    with open_stack(
        product.bands, f"the product {path}", nodata=product.nodata, scaling=scaling, tags=product.tags
    ) as opened:
        yield opened


def _check_dtype(dataset: Any, path: str | Path) -> None:
    if odd := [dtype for dtype in dataset.dtypes if "complex" in dtype]:
        raise RadiometryError(
            f"{path}: has {odd[0]} pixels; expected DN or reflectance as real numbers. Give a Level-1C or "
            "Level-2A image."
        )
    if dataset.count == 2:
        raise RadiometryError(
            f"{path}: has 2 bands of {dataset.dtypes[0]} and looks like Sentinel-1; expected Sentinel-2. The "
            "Sentinel-2 scene comes first, then the Sentinel-1 scene."
        )


def _sun(dataset: Any, product: Product | None, option: Sun | None) -> Sun | None:
    """The sun by the option, else the product, else the file's tags."""
    sun, source = option, "option"
    if sun is None and product is not None:
        sun, source = product.sun, "product"
    elif sun is None:
        sun, source = sun_of_tags(dataset.tags()), "tags"
    if sun is None:
        log.info("sun: not known")
    else:
        log.info("sun: azimuth %.1f, elevation %.1f (%s)", sun.azimuth, sun.elevation, source)
    return sun
