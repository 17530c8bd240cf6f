"""Where an array of xarray is on the map, by the conventions of those who make such arrays."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import rioxarray  # noqa: F401 - its accessor reads dimensions and CRS by CF and GDAL's conventions
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from pyproj.exceptions import CRSError as ProjError
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rioxarray.exceptions import RioXarrayError

from cmcr_cli.errors import InputError

DIMENSIONS = (("lat", "lon"), ("northing", "easting"), ("Y", "X"))
"""Names of rows and columns besides y, x, latitude and longitude, which rioxarray knows."""

CODES = ("epsg", "proj:epsg", "proj:code")
"""Coordinates with the code of the CRS, which stackstac makes of STAC items."""

REGULAR = 0.1
"""Part of a pixel by which a coordinate may be off a regular grid: some are stored as float32."""

SAME = 0.01
"""Part of a pixel by which coordinates may differ from a transform that they belong to."""


@dataclass(frozen=True, slots=True)
class Place:
    """Place of an array on the map.

    Attributes:
        y: Dimension of its rows.
        x: Dimension of its columns.
        crs: CRS.
        transform: Of the array with north at its top and west on its left.
        order: How its rows and columns are taken for that.
    """

    y: Hashable
    x: Hashable
    crs: CRS
    transform: Affine
    order: tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Where rows or columns begin, and the size of one; negative where they run down the axis of the map."""

    start: float
    step: float

    def forward(self, size: int, sign: int) -> tuple[_Axis, slice]:
        """The axis in the direction of `sign`, and how rows or columns are taken for that."""
        if self.step * sign > 0:
            return self, slice(None)
        return _Axis(self.start + size * self.step, -self.step), slice(None, None, -1)


def spatial_dims(array: Any, what: str) -> tuple[Hashable, Hashable]:
    """Find the dimensions of rows and columns.

    Args:
        array: Dataset or DataArray.
        what: Name of the argument, for messages.

    Returns:
        Names of the dimension of rows and of that of columns.

    Raises:
        InputError: There are none.
    """
    for y, x in DIMENSIONS:
        if y in array.dims and x in array.dims:
            return y, x
    try:
        return array.rio.y_dim, array.rio.x_dim
    except RioXarrayError as error:
        raise InputError(
            f"{what}: has the dimensions {dimensions(array)}; expected y and x, or latitude and longitude. "
            'Rename them, as in ds.rename(rows="y", columns="x").'
        ) from error


def dimensions(array: Any) -> str:
    """Describe all dimensions, for messages.

    Args:
        array: Dataset or DataArray.

    Returns:
        Names and sizes, such as `y (512), x (512)`; "none" where there are none.
    """
    return ", ".join(f"{name} ({size})" for name, size in array.sizes.items()) or "none"


def with_mapping(array: Any) -> Any:
    """Turn variables that state a CRS into coordinates, where those of netCDF files of openEO and xcube are.

    Args:
        array: Dataset or DataArray.

    Returns:
        The same, where nothing is to be done.
    """
    if not isinstance(array, xr.Dataset):
        return array
    named = {
        each.attrs.get("grid_mapping", each.encoding.get("grid_mapping")) for each in array.data_vars.values()
    }
    return array.set_coords([name for name in named & array.data_vars.keys() if array[name].ndim == 0])


def place_of(array: Any, what: str, transform: Affine | None = None, crs: CRS | None = None) -> Place:
    """Find out where an array is on the map.

    Args:
        array: Dataset or DataArray.
        what: Name of the argument, for messages.
        transform: Transform of an array without coordinates.
        crs: CRS of an array that states none.

    Returns:
        Its grid, and how its dimensions run along it.

    Raises:
        InputError: It has no pixels, no CRS, no coordinates, or they are not those of a raster.
    """
    y, x = spatial_dims(array, what)
    if 0 in (array.sizes[y], array.sizes[x]):
        raise InputError(
            f"{what}: has no pixels ({dimensions(array)}); expected an image. Check how it was selected, "
            "such as the order of a slice of y, which mostly runs down."
        )
    stated = _stated_transform(array) or transform
    if stated is not None and (stated.b or stated.d) and x not in array.coords:
        raise InputError(
            f"{what}: its grid is rotated; expected rows along the map's x axis. Bring it to a north-up grid "
            "with ds.rio.reproject."
        )
    columns, rows = (None, None) if stated is None else (_Axis(stated.c, stated.a), _Axis(stated.f, stated.e))
    left, x_order = _axis(array, x, columns, 1, what).forward(array.sizes[x], 1)
    top, y_order = _axis(array, y, rows, -1, what).forward(array.sizes[y], -1)
    placed = Affine(left.step, 0, left.start, 0, top.step, top.start)
    return Place(y, x, _crs(array, what, crs), placed, (y_order, x_order))


def _axis(array: Any, name: Hashable, stated: _Axis | None, sign: int, what: str) -> _Axis:
    """The axis by its coordinates, made exact by a transform that belongs to them."""
    values = _values(array, name, what)
    if values is None:
        if stated is None:
            raise InputError(
                f"{what}: has no coordinates for its dimension {name}; expected those of its pixels. Assign "
                "them, or give the transform, as in remove_dataset(ds, transform=..., crs=...)."
            )
        return stated
    if len(values) == 1:
        if stated is None:
            raise InputError(
                f"{what}: has one pixel along {name}, so that its coordinates do not tell its size; expected "
                "two or more. Select more pixels, or write its transform with ds.rio.write_transform."
            )
        step = stated.step
    else:
        step = float(values[-1] - values[0]) / (len(values) - 1)
    even = values[0] + step * np.arange(len(values))
    if not math.isfinite(step) or step == 0 or np.abs(values - even).max() > REGULAR * abs(step):
        raise InputError(
            f"{what}: its coordinates along {name} are not regular ({_shown(values)}); expected those of a "
            "raster. Interpolate or reproject it to one, as with ds.rio.reproject."
        )
    belongs = stated is not None and abs(abs(stated.step / step) - 1) * len(values) < SAME
    if stated is not None and belongs:
        step = math.copysign(stated.step, step)
    first = float(values[0])
    if _at_corners(array, first, step, stated if belongs else None):
        first += sign * abs(step) / 2
    start = first - step / 2
    if stated is not None and belongs:
        pixels = (start - stated.start) / step
        if abs(pixels - round(pixels)) < SAME:
            start = stated.start + round(pixels) * step
    return _Axis(start, step)


def _values(array: Any, name: Hashable, what: str) -> NDArray[np.float64] | None:
    """Coordinates along a dimension."""
    if name not in array.coords:
        return None
    values = np.asarray(array.coords[name].values)
    if values.ndim != 1 or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise InputError(
            f"{what}: its coordinates along {name} are {values.dtype} with {values.ndim} dimensions, or not "
            "all finite; expected one number for each pixel. Assign such coordinates."
        )
    return values.astype(np.float64)


def _at_corners(array: Any, first: float, step: float, stated: _Axis | None) -> bool:
    """Whether coordinates are those of upper-left corners, as in stackstac unless told otherwise.

    Its arrays have the transform among their attributes. Where that was lost, their bounds are multiples of
    the pixel size unless told otherwise.
    """
    if array.rio.grid_mapping in array.coords or not any(name in array.coords for name in CODES):
        return False
    pixels = (first - (0.0 if stated is None else stated.start)) / step
    return abs(pixels - round(pixels)) < SAME


def _stated_transform(array: Any) -> Affine | None:
    """The transform by the grid mapping, as GDAL writes it, else by the attributes."""
    try:
        mapping = array.coords.get(array.rio.grid_mapping)
        if mapping is not None and "GeoTransform" in mapping.attrs:
            return Affine.from_gdal(*map(float, str(mapping.attrs["GeoTransform"]).split()))
        if "transform" in array.attrs:
            return Affine(*map(float, tuple(array.attrs["transform"])[:6]))
    except (TypeError, ValueError):
        return None
    return None


def _crs(array: Any, what: str, given: CRS | None) -> CRS:
    """The CRS by the grid mapping, else by a code among the coordinates, else as it was given."""
    try:
        found = array.rio.crs or _by_code(array) or given
    except (CRSError, ProjError, RioXarrayError) as error:
        raise InputError(
            f"{what}: its coordinate reference system is not understood ({error}); expected one, and the "
            'same for all variables. Set it with ds.rio.write_crs("EPSG:32631").'
        ) from error
    if found is None:
        raise InputError(
            f"{what}: has no coordinate reference system; expected it in the coordinate spatial_ref or epsg. "
            'Set it with ds.rio.write_crs("EPSG:32631"), or give it as crs.'
        )
    return found


def _by_code(array: Any) -> CRS | None:
    for name in CODES:
        if name in array.coords and array.coords[name].ndim == 0:
            code = str(array.coords[name].item())
            return CRS.from_user_input(code if ":" in code else f"EPSG:{code}")
    return None


def _shown(values: NDArray[np.float64]) -> str:
    return ", ".join(f"{value:.10g}" for value in values[:4]) + (", ..." if len(values) > 4 else "")
