"""Reading Sentinel-2 stacks, products and catalogue items: band names, radiometry, validity."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.errors import InputError, RadiometryError
from cmcr_cli.scene.bands import (
    BANDS,
    L2A_BANDS,
    REFERENCE_NEEDS,
    SCENE_NEEDS,
    band_name,
    canonical,
    check_names,
    described_names,
)
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.pixels.masks_of_files import mask_bands, open_validity, usable_nodata
from cmcr_cli.scene.products.formats import read_product
from cmcr_cli.scene.products.stack import BlockRows, Product, open_stack
from cmcr_cli.scene.radiometry import QUANTIFICATION, Radiometry, measured
from cmcr_cli.scene.raster import Source, open_raster
from cmcr_cli.scene.references.placed import Shift, placed
from cmcr_cli.scene.sun import Sun, sun_of_tags
from cmcr_cli.warning_kinds import RadiometryWarning

log = logging.getLogger("cmcr")

T = TypeVar("T")

OffsetSource = Literal["product", "tag", "option", "assumed 0"]

MEAN_REFLECTANCE = (-0.05, 1.6)
"""No scene's mean is outside: below is dark ground with an offset too many, above brighter than cloud."""

ODD_SHARE = 0.005
"""Of valid pixels, in which a band is 0 or saturated: more than dark and bright pixels here and there."""

LIKELY_OFFSET = 1000
"""Products of processing baseline 04.00 and later store reflectance x 10000 + 1000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Optical:
    """An open Sentinel-2 stack; get one from `open_optical`. One handle: not for two threads at once."""

    source: Source
    names: tuple[str, ...]  # in file order
    radiometry: Radiometry
    offset_source: OffsetSource
    dtype: np.dtype[Any]
    nodata: float | None
    descriptions: tuple[str | None, ...]
    scales: tuple[float, ...]  # the file's own tags, (1, ...) where it has none
    offsets: tuple[float, ...]
    tags: dict[str, str]
    warnings: tuple[RadiometryWarning, ...]
    scl: str | None = None  # path of the product's own scene classification
    sun: Sun | None = None  # None: not known
    masked: bool = False  # whether it takes a mask beside the nodata value to say where it is valid

    @property
    def empty(self) -> float:
        """What all bands hold where nothing was measured, once they are read."""
        return usable_nodata(self.nodata, self.dtype)

    @property
    def path(self) -> str:
        """The path that was opened."""
        return self.source.path

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
    offset: float | None = None,
    sun: Sun | None = None,
    onto: Grid | None = None,
    shift: Shift = (0.0, 0.0),
) -> Iterator[Optical]:
    """Open a Sentinel-2 scene of DN, uint16 or int16, at any path GDAL knows.

    A reference, another date of a scene, is opened `onto` the grid of that scene. From another grid it is
    resampled (cubic) as it is read, and it is nodata where it has no pixels. It may have fewer bands.

    Args:
        path: A stack of bands, a .SAFE folder or zip, or a STAC item.
        bands: Names of the bands of a stack in file order, where neither descriptions nor their number tell.
        offset: DN, 0 or -1000; wins over the product's metadata and the file's scale and offset tags.
        sun: Position of the sun; wins over the product's metadata and the file's tags.
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
    with _dataset(path, product) as (dataset, rows), ExitStack() as stack:
        indexes = _measuring(dataset)
        dtypes = {dataset.dtypes[index - 1] for index in indexes}
        _check_dtype(len(indexes), dtypes, path)
        names = _names(dataset, indexes, path, bands, SCENE_NEEDS if onto is None else REFERENCE_NEEDS)
        radiometry, offset_source, found = _radiometry(dataset, indexes, path, offset)
        if product is not None:
            stated = offset_source == "tag" and product.offset is not None
            offset_source, found = "product" if stated else offset_source, (*product.warnings, *found)
        dtype, nodata = np.dtype(dtypes.pop()), dataset.nodatavals[indexes[0] - 1]
        made = rows is None or rows.masked
        validity = stack.enter_context(
            open_validity(dataset, names, indexes, usable_nodata(nodata, dtype), made=made)
        )
        grid = onto or Grid.from_dataset(dataset)
        source = stack.enter_context(
            placed(dataset, path, rows, grid, validity, indexes=indexes, shift=shift)
        )
        yield Optical(
            source=source,
            names=names,
            radiometry=radiometry,
            offset_source=offset_source,
            dtype=dtype,
            nodata=nodata,
            descriptions=_of(dataset.descriptions, indexes),
            scales=_of(dataset.scales, indexes),
            offsets=_of(dataset.offsets, indexes),
            tags=dataset.tags(),
            warnings=found,
            scl=None if product is None else product.scl,
            sun=_sun(dataset, product, sun),
            masked=validity.beyond_nodata,
        )


def _measuring(dataset: Any) -> tuple[int, ...]:
    """Bands of a raster that do not say where the others are valid, from 1."""
    masks = mask_bands(dataset)
    return tuple(index for index in dataset.indexes if index not in masks)


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


def check_radiometry(optical: Optical) -> tuple[RadiometryWarning, ...]:
    """Look at a sample of the pixels.

    Args:
        optical: The scene.

    Returns:
        Warnings of what is odd about them.

    Raises:
        InputError: The whole scene is nodata.
        RadiometryError: Its mean reflectance is impossible.
    """
    dn = optical.source.sample()
    dn = dn[:, optical.valid(dn)]
    if dn.shape[1] == 0:
        if not any(optical.valid(strip).any() for strip in optical.source.strips()):
            raise InputError(
                f"{optical.path}: every pixel is nodata ({optical.nodata or 0:g} in all bands); expected "
                "measurements. Check the nodata tag and that this is the right file."
            )
        return ()
    mean = float(optical.radiometry.reflectance(dn).mean())
    low, high = MEAN_REFLECTANCE
    if not low <= mean <= high:
        raise RadiometryError(
            f"{optical.path}: the mean reflectance is {mean:.2f} with offset {optical.radiometry.offset:g} "
            f"({optical.offset_source}); expected {low} to {high} for DN = reflectance x {QUANTIFICATION}. "
            "Give the product's own offset with --offset 0 or --offset -1000, or rescale the DN."
        )
    odd = _odd_shares(optical, dn)
    darkest = float(np.percentile(dn, 1, axis=1).min())
    if optical.offset_source == "assumed 0" and darkest >= LIKELY_OFFSET:
        return (
            RadiometryWarning(
                f"the darkest band never falls below DN {darkest:.0f}: if the product is of baseline 04.00 "
                "or later and its offset was not removed, give --offset -1000"
            ),
            *odd,
        )
    return odd


def _odd_shares(optical: Optical, dn: NDArray[Any]) -> tuple[RadiometryWarning, ...]:
    """Warnings of single bands in valid pixels (bands, n) that often hold what may be no measurement."""
    found = []
    for value in (optical.empty, float(np.iinfo(optical.dtype).max)):
        shares = {
            name: float((band == value).mean())
            for name, band in zip(optical.names, dn, strict=True)
            if name != "B10"
        }
        odd = [f"{name} ({share:.1%})" for name, share in shares.items() if share >= ODD_SHARE]
        if odd:
            found.append(
                RadiometryWarning(
                    f"DN is {value:g} in {', '.join(odd)} where other bands hold measurements, and is taken "
                    "as one; if it is nodata, set it in all bands, or leave out a band that is empty"
                )
            )
    return tuple(found)


def _check_dtype(count: int, dtypes: set[str], path: str | Path) -> None:
    if count == 2:
        raise RadiometryError(
            f"{path}: has 2 bands of {min(dtypes)} and looks like Sentinel-1; expected Sentinel-2. "
            "The Sentinel-2 scene comes first, then the Sentinel-1 scene."
        )
    if len(dtypes) > 1 or not dtypes <= {"uint16", "int16"}:
        raise RadiometryError(
            f"{path}: has {', '.join(sorted(dtypes))} pixels; expected DN as uint16 or int16 (reflectance "
            f"x {QUANTIFICATION}). Convert reflectance with gdal_translate -ot UInt16 -scale 0 1 0 "
            f"{QUANTIFICATION}."
        )


def _names(
    dataset: Any,
    indexes: tuple[int, ...],
    path: str | Path,
    bands: tuple[str, ...] | None,
    needs: tuple[tuple[str, ...], ...],
) -> tuple[str, ...]:
    """Band names in file order: from the option, else the descriptions, else the number of bands."""
    count = len(indexes)
    if bands is not None:
        names = tuple(band_name(name) or name for name in bands)
        if len(names) != count:
            raise RadiometryError(
                f"{path}: has {count} bands, but --bands names {len(names)}; expected one name each."
            )
    else:
        described = described_names(_of(dataset.descriptions, indexes), str(path))
        by_count = {len(BANDS): BANDS, len(L2A_BANDS): L2A_BANDS}
        if described is None and count not in by_count:
            raise RadiometryError(
                f"{path}: has {count} bands without names; expected {len(BANDS)} (L1C), "
                f"{len(L2A_BANDS)} (L2A, no B10), or descriptions such as B04. "
                + (
                    "Name the bands in file order with --bands."
                    if needs is SCENE_NEEDS
                    else "Describe its bands."
                )
            )
        names = described or by_count[count]
    check_names(names, str(path), needs)
    return names


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


def _radiometry(
    dataset: Any, indexes: Sequence[int], path: str | Path, option: float | None
) -> tuple[Radiometry, OffsetSource, tuple[RadiometryWarning, ...]]:
    """Radiometry from the option, else the scale and offset tags, else offset 0; and warnings about it."""
    tags = set(zip(_of(dataset.scales, indexes), _of(dataset.offsets, indexes), strict=True))
    if tags == {(1.0, 0.0)}:
        if option is None:
            return Radiometry(), "assumed 0", ()
        return Radiometry(offset=option), "option", ()
    if len(tags) > 1:
        raise RadiometryError(
            f"{path}: its bands have different scale or offset tags {sorted(tags)}; expected one pair. "
            "Make them agree with gdal_edit -scale -offset."
        )
    scale, shift = tags.pop()
    if not 0 < scale <= 0.01:
        raise RadiometryError(
            f"{path}: its tags say reflectance = DN x {scale:g} + {shift:g}; expected a scale near "
            f"{1 / QUANTIFICATION}. Set the tags right with gdal_edit -scale -offset."
        )
    # Some writers keep tags as float32: -0.1 / 0.0001 must be -1000, not a number beside it.
    tagged = Radiometry(offset=round(shift / scale, 3), quantification=round(1 / scale, 3))
    if option is None or option == tagged.offset:
        return tagged, "tag", ()
    found = RadiometryWarning(f"--offset {option:g} is used; the file's tags say {tagged.offset:g}")
    return Radiometry(offset=option, quantification=tagged.quantification), "option", (found,)
