"""Arrays as the libraries of their makers give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from numpy.typing import NDArray

COMMON = ("coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "nir09",
          "cirrus", "swir16", "swir22")  # fmt: skip
"""Names of assets, in the order of the bands."""

TIME = np.datetime64("2024-06-01T10:20:31")


def like_odc_stac(path: Path, *, time: bool = True, chunks: Any = None, upwards: bool = False) -> xr.Dataset:
    """A variable for each band, with the nodata value as an attribute; the CRS in spatial_ref."""
    image = _opened(path).drop_vars("spatial_ref")
    names = COMMON if image.sizes["band"] == len(COMMON) else image.band.values
    found = image.assign_coords(band=list(names)).to_dataset("band")
    for each in found.data_vars.values():
        each.attrs = {"nodata": 0}
    found.attrs = {}
    with rasterio.open(path) as file:
        found.coords["spatial_ref"] = ((), 0, {"spatial_ref": file.crs.to_wkt()})
    found = found.isel(y=slice(None, None, -1 if upwards else 1))
    found = found.expand_dims(time=[TIME]) if time else found
    return found if chunks is None else found.chunk(chunks)


def like_stackstac(path: Path, *, centres: bool = False, nodata: float | None = 0) -> xr.DataArray:
    """One array of float64 with NaN, coordinates of corners, and the CRS by its code."""
    image = _opened(path).drop_vars("spatial_ref")
    with rasterio.open(path) as file:
        transform, code = file.transform, file.crs.to_epsg()
    pixels = image.values.astype(float)
    if nodata is not None:
        pixels[:, (image.values == nodata).all(axis=0)] = np.nan
    half = 0 if centres else transform.a / 2
    found = image.copy(data=pixels).assign_coords(x=image.x - half, y=image.y + half)
    found = found.assign_coords(band=list(COMMON), common_name=("band", list(COMMON)), epsg=code)
    found = found.expand_dims(time=[TIME]).chunk({"x": 37, "y": 41, "time": 1, "band": 1})
    return found.assign_attrs(transform=transform, crs=f"epsg:{code}")


def like_rioxarray(path: Path) -> xr.DataArray:
    """One array, bands counted, names in long_name."""
    with rasterio.open(path) as file:
        names = file.descriptions
    count = len(names)
    return (
        _opened(path)
        .assign_coords(band=range(1, count + 1))
        .assign_attrs(long_name=names, _FillValue=np.uint16(0), scale_factor=1.0, add_offset=0.0)
    )


def _opened(path: Path) -> xr.DataArray:
    """Pixels of a file with coordinates of their centres."""
    with rasterio.open(path) as file:
        pixels: NDArray[Any] = file.read()
        transform, crs, names = file.transform, file.crs, file.descriptions
    _, height, width = pixels.shape
    coords = {
        "band": list(names),
        "y": transform.f + transform.e * (np.arange(height) + 0.5),
        "x": transform.c + transform.a * (np.arange(width) + 0.5),
        "spatial_ref": ((), 0, {"crs_wkt": crs.to_wkt()}),
    }
    return xr.DataArray(pixels, dims=("band", "y", "x"), coords=coords)
