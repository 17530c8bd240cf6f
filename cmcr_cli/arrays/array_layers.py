"""What an array of xarray holds: its layers, how their numbers are stored, and when it was taken."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from affine import Affine
from rasterio.crs import CRS

from cmcr_cli.arrays.coordinates import Place, dimensions, place_of, spatial_dims, with_mapping
from cmcr_cli.arrays.layer_names import each_of, names_of
from cmcr_cli.errors import InputError, RadiometryError
from cmcr_cli.scene.backscatter.polarisations import SPOKEN
from cmcr_cli.scene.layers.layer_texts import is_other_layer
from cmcr_cli.scene.pixels.masks_of_files import MASK_NAME
from cmcr_cli.scene.sun import AZIMUTH_TAG, ZENITH_TAG

Kind = Literal["image", "radar", "mask"]

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
"""Types of pixels that all of cmcr and GDAL know."""

TIMES = ("time", "t", "date", "datetime")

NODATA = ("_FillValue", "missing_value", "fill_value", "nodata")
"""Attributes by CF, rioxarray and odc-stac."""

STORAGE = (*NODATA, "scale_factor", "add_offset")
"""Attributes that state how numbers are stored."""

NOT_TAGS = {*STORAGE, "scales", "offsets", "grid_mapping", "transform", "crs",
            "res", "resolution", "spec", "nodatavals", "long_name", "units", "AREA_OR_POINT"}  # fmt: skip
"""Attributes that are written in another way, or that may belong to the array before it was cut."""

TAG = re.compile(r"[\w:.-]+")

COUNTED = re.compile(r"band_\d+")
"""Variables of rioxarray's `band_as_variable`, whose long_name is that of the band."""

SUN = "view:sun_azimuth", "view:sun_elevation"
"""Coordinates that stackstac makes of STAC items."""


@dataclass(frozen=True, slots=True)
class ArrayLayers:
    """Layers of an array, not yet computed where it is lazy.

    Attributes:
        pieces: One variable (layers, y, x), or one (y, x) for each layer.
        names: Name of each layer; None: it has none.
        attrs: Attributes of each layer.
    """

    pieces: tuple[xr.Variable, ...]
    names: tuple[str | None, ...]
    attrs: tuple[Mapping[Hashable, Any], ...]

    @property
    def stacked(self) -> bool:
        """Whether all are one variable."""
        return len(self.pieces) == 1 and self.pieces[0].ndim == 3

    @property
    def dtypes(self) -> tuple[np.dtype[Any], ...]:
        """Of each layer."""
        return tuple(self.pieces[0 if self.stacked else place].dtype for place in range(len(self.names)))

    def each(self) -> tuple[xr.Variable, ...]:
        """Split the layers.

        Returns:
            One variable (y, x) for each layer.
        """
        if not self.stacked:
            return self.pieces
        (stack,) = self.pieces
        return tuple(stack.isel({stack.dims[0]: n}) for n in range(len(self.names)))

    def only(self, places: Sequence[int]) -> ArrayLayers:
        """Choose some of the layers.

        Args:
            places: Their indices, in the order wanted.

        Returns:
            These layers.
        """
        if len(places) == len(self.names):
            return self
        pieces = tuple(self.pieces[place] for place in places) if not self.stacked else ()
        if self.stacked:
            pieces = (self.pieces[0].isel({self.pieces[0].dims[0]: list(places)}),)
        return ArrayLayers(pieces, tuple(self.names[n] for n in places), tuple(self.attrs[n] for n in places))


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayImage:
    """An image of one time; get one from `image_of`. Nothing of a lazy array is computed.

    Attributes:
        what: Name of the argument that it was given as.
        array: The Dataset or DataArray.
        place: Where it is on the map.
        layers: Its layers, without those that do not serve.
        sources: Places of these among all layers of the array.
        bands: Places of those that are no masks or classes by their names.
        dtype: In which all are written.
        nodata: Value of pixels without a measurement; None: not stated.
        scaling: Scale and offset of each layer.
        tags: What else is known of it.
    """

    what: str
    array: Any
    place: Place
    layers: ArrayLayers
    sources: tuple[int, ...]
    bands: tuple[int, ...]
    dtype: np.dtype[Any]
    nodata: float | None
    scaling: tuple[tuple[float, float], ...]
    tags: Mapping[str, str]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Layers, rows and columns."""
        return len(self.layers.names), self.array.sizes[self.place.y], self.array.sizes[self.place.x]

    @property
    def bytes(self) -> int:
        """Of all pixels."""
        layers, rows, columns = self.shape
        return layers * rows * columns * self.dtype.itemsize


def each_time(array: Any, what: str) -> Iterator[tuple[Any, str]]:
    """Part an array by its times.

    Args:
        array: Dataset or DataArray.
        what: Name of the argument, for messages.

    Yields:
        The array of each time, and a name for it.
    """
    name = _time_dim(array, what)
    if name is None or array.sizes[name] == 1:
        yield array, what
        return
    for number in range(array.sizes[name]):
        yield array.isel({name: number}), f"{what}.isel({name}={number})"


def time_of(array: Any) -> np.datetime64 | None:
    """Find out when an array of one time was taken.

    Args:
        array: DataArray.

    Returns:
        The time; None: not known.
    """
    for name in TIMES:
        if name in array.coords and array.coords[name].size == 1:
            value = array.coords[name].values.reshape(-1)[0]
            if isinstance(value, np.datetime64) and not np.isnat(value):
                return value
    return None


def image_of(
    array: Any,
    what: str,
    kind: Kind,
    *,
    named: bool = False,
    transform: Affine | None = None,
    crs: CRS | None = None,
) -> ArrayImage:
    """Find out what an array holds.

    Args:
        array: Dataset or DataArray.
        what: Name of the argument, for messages.
        kind: What it is to be.
        named: Whether an option names all layers, so that none may be left out.
        transform: Transform of an array without coordinates.
        crs: CRS of an array that states none.

    Returns:
        The image.

    Raises:
        InputError: It has several times, other dimensions, or no place on the map.
        RadiometryError: Its pixels are not numbers, or its bands are not stored alike.
    """
    array = _lone_stack(with_mapping(_of_one_time(array, what)), what)
    place = place_of(array, what, transform, crs)
    if isinstance(array, xr.Dataset):
        layers = _of_dataset(array, what, place)
    else:
        layers = _of_array(array, what, place, named=named or kind == "mask")
    sources = list(range(len(layers.names))) if named else _wanted(layers.names, kind)
    layers = layers.only(sources)
    if not layers.names:
        raise InputError(
            f"{what}: has no layers; expected variables with the dimensions {place.y} and {place.x}. Check "
            "what was selected."
        )
    others = {n for n, name in enumerate(layers.names) if kind == "image" and not named and _is_other(name)}
    others = others if len(others) < len(layers.names) else set()
    dtype = _dtype([each for n, each in enumerate(layers.dtypes) if n not in others], what, kind)
    # A classification of bytes fits beside bands of 16 bits, and one that does not is left out.
    kept = [n for n, each in enumerate(layers.dtypes) if n not in others or np.can_cast(each, dtype)]
    layers = layers.only(kept)
    bands = tuple(place for place, n in enumerate(kept) if n not in others)
    return ArrayImage(
        what=what,
        array=array,
        place=place,
        layers=layers,
        sources=tuple(sources[n] for n in kept),
        bands=bands,
        dtype=dtype,
        nodata=_nodata([layers.attrs[n] for n in bands], dtype, what),
        scaling=_scaling(layers.attrs, what),
        tags=_tags(array),
    )


def _time_dim(array: Any, what: str) -> Hashable | None:
    space = spatial_dims(array, what)
    for name in array.dims:
        dated = name in array.coords and array.coords[name].dtype.kind == "M"
        if name not in space and (name in TIMES or dated):
            found: Hashable = name
            return found
    return None


def _of_one_time(array: Any, what: str) -> Any:
    name = _time_dim(array, what)
    if name is None:
        return array
    if array.sizes[name] != 1:
        raise InputError(
            f"{what}: has {array.sizes[name]} times along {name}; expected one. Choose it, as in "
            f"ds.isel({name}=-1); the others may be references."
        )
    return array.isel({name: 0})


def _lone_stack(array: Any, what: str) -> Any:
    """The variable of a Dataset that holds nothing but one stack of layers, as those that rioxarray makes."""
    if isinstance(array, xr.Dataset):
        space = set(spatial_dims(array, what))
        images = [each for each in array.data_vars.values() if space <= set(each.dims)]
        if len(images) == 1 and images[0].squeeze().ndim > 2:
            return images[0].assign_attrs({**array.attrs, **images[0].attrs})
    return array


def _of_dataset(array: xr.Dataset, what: str, place: Place) -> ArrayLayers:
    """Every variable with rows and columns is a layer."""
    pieces, names, attrs = [], [], []
    # Where the variables were the layers of a DataArray, its attributes are those of the Dataset.
    common: dict[Hashable, Any] = {key: array.attrs[key] for key in STORAGE if key in array.attrs}
    for name, each in array.data_vars.items():
        if not {place.y, place.x} <= set(each.dims):
            continue
        extra = [each_dim for each_dim in each.dims if each_dim not in (place.y, place.x)]
        if any(each.sizes[dim] != 1 for dim in extra):
            raise InputError(
                f"{what}: its variable {name} has the dimensions {dimensions(each)}; expected {place.y} and "
                f"{place.x} alone, since each variable is a band. Choose one along the others with ds.isel."
            )
        text = each.attrs.get("long_name")
        names.append(text if COUNTED.fullmatch(str(name)) and isinstance(text, str) else str(name))
        pieces.append(each.squeeze(extra).variable.transpose(place.y, place.x))
        stated: dict[Hashable, Any] = {**common, **_stated(each)}
        attrs.append(stated)
    return ArrayLayers(tuple(pieces), tuple(names), tuple(attrs))


def _of_array(array: xr.DataArray, what: str, place: Place, *, named: bool) -> ArrayLayers:
    """A DataArray has its layers along the one dimension that it has besides rows and columns."""
    extra = [dim for dim in array.dims if dim not in (place.y, place.x)]
    if len(extra) > 1:
        array = array.squeeze([dim for dim in extra if array.sizes[dim] == 1])
        extra = [dim for dim in array.dims if dim not in (place.y, place.x)]
    if len(extra) > 1:
        raise InputError(
            f"{what}: has the dimensions {dimensions(array)}; expected band, {place.y}, {place.x}. Choose "
            "one along the others with ds.isel."
        )
    if not extra:
        name = None if array.name is None else str(array.name)
        return ArrayLayers((array.variable.transpose(place.y, place.x),), (name,), (_stated(array),))
    (dim,), attrs = extra, _stated(array)
    scales = each_of(array, dim, attrs.get("scales", attrs.get("scale_factor", 1)))
    offsets = each_of(array, dim, attrs.get("offsets", attrs.get("add_offset", 0)))
    each_attrs = tuple(
        {**attrs, "scale_factor": scale, "add_offset": offset}
        for scale, offset in zip(scales, offsets, strict=True)
    )
    pieces = (array.variable.transpose(dim, place.y, place.x),)
    return ArrayLayers(pieces, names_of(array, dim, what, named=named), each_attrs)


def _stated(array: xr.DataArray) -> Mapping[Hashable, Any]:
    """Attributes; where whole numbers were not decoded, the encoding may still state their nodata value."""
    encoded = array.encoding if array.dtype.kind in "iu" else {}
    return {**{key: encoded[key] for key in NODATA if key in encoded}, **array.attrs}


def _is_other(name: str | None) -> bool:
    return name is not None and (is_other_layer(name) or MASK_NAME.fullmatch(name) is not None)


def _wanted(names: Sequence[str | None], kind: Kind) -> list[int]:
    """Places of the layers that serve: no others are read, which may be as large as the bands."""
    every = range(len(names))
    if kind == "image":
        wanted = [n for n in every if not _is_other(name := names[n]) or _serves(name or "")]
        return wanted or list(every)  # the reader of files says what is wrong with them
    pattern = SPOKEN if kind == "radar" else re.compile("SCL")
    return [n for n in every if pattern.search((names[n] or "").upper())] or list(every)


def _serves(name: str) -> bool:
    return name.upper().startswith("SCL") or MASK_NAME.fullmatch(name) is not None


def _dtype(dtypes: Sequence[np.dtype[Any]], what: str, kind: Kind) -> np.dtype[Any]:
    """The type of all bands."""
    different = sorted(set(map(str, dtypes)))
    dtype = np.result_type(*dtypes) if kind == "radar" and len(different) > 1 else dtypes[0]
    if kind == "mask" and dtype.kind in "biu":
        # Whole numbers of 64 bits, as numpy makes them, where none is as large.
        return np.dtype("int32") if dtype.itemsize == 8 else np.dtype("uint8") if dtype.kind == "b" else dtype
    if (len(different) > 1 and kind != "radar") or dtype.name not in DTYPES:
        better = "uint16" if all(each.kind in "iu" for each in dtypes) else "float32"
        raise RadiometryError(
            f"{what}: holds {' and '.join(different)} pixels; expected one type for all: DN as uint16 or "
            f'int16, or reflectance or backscatter as float32. Convert it, as in ds.astype("{better}").'
        )
    return dtype.newbyteorder("=")


def _nodata(attrs: Sequence[Mapping[Hashable, Any]], dtype: np.dtype[Any], what: str) -> float | None:
    """The one nodata value of all bands; NaN where fractions state none."""
    found = {_nodata_of(each, dtype) for each in attrs}
    if len(found - {None}) > 1:
        raise RadiometryError(
            f"{what}: its bands have different nodata values ({', '.join(f'{each}' for each in found)}); "
            "expected one for all. Mask them, as in ds.where(ds != ds.attrs['nodata']), or make them agree."
        )
    value = next((each for each in found if each is not None), None)
    return float("nan") if value is None and dtype.kind == "f" else value


def _nodata_of(attrs: Mapping[Hashable, Any], dtype: np.dtype[Any]) -> float | None:
    for key in NODATA:
        try:
            value = float(np.asarray(attrs[key]).reshape(-1)[0])
        except (KeyError, TypeError, ValueError, IndexError):
            continue
        if np.isnan(value):  # the same for all bands, which NaN is not to itself; no whole number is NaN
            return None
        limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
        return value if limits.min <= value <= limits.max else None
    return None


def _scaling(attrs: Sequence[Mapping[Hashable, Any]], what: str) -> tuple[tuple[float, float], ...]:
    """Scale and offset of each layer."""
    try:
        return tuple((float(each.get("scale_factor", 1)), float(each.get("add_offset", 0))) for each in attrs)
    except (TypeError, ValueError) as error:
        raise RadiometryError(
            f"{what}: its scale_factor or add_offset is not a number ({error}); expected reflectance = DN x "
            "scale_factor + add_offset. Correct the attributes."
        ) from error


def _tags(array: Any) -> dict[str, str]:
    """What attributes and coordinates say of an image, as tags of a file."""
    tags = {
        str(key): str(value)
        for key, value in array.attrs.items()
        if isinstance(value, str | int | float) and key not in NOT_TAGS and TAG.fullmatch(str(key))
    }
    tags = {key: text for key, text in tags.items() if text.isprintable()}
    time = time_of(array)
    if time is not None:
        tags["PRODUCT_START_TIME"] = f"{np.datetime_as_string(time, unit='s')}Z"
    azimuth, elevation = (array.coords.get(name) for name in SUN)
    if azimuth is not None and elevation is not None and azimuth.size == elevation.size == 1:
        tags[AZIMUTH_TAG] = f"{float(azimuth.item()):g}"
        tags[ZENITH_TAG] = f"{90 - float(elevation.item()):g}"
    return tags
