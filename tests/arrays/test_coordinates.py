from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rioxarray  # noqa: F401 - the accessor
import xarray as xr
from affine import Affine
from rasterio.crs import CRS

from cmcr_cli.arrays.coordinates import place_of, with_mapping
from cmcr_cli.errors import InputError

UTM31 = CRS.from_epsg(32631)


def array(x: Any = (5, 15, 25), y: Any = (95, 85, 75, 65), **coords: Any) -> xr.DataArray:
    """Pixels of 10 m whose corner is at 0, 100, unless told otherwise."""
    axes = {name: None if each is None else np.array(each) for name, each in (("y", y), ("x", x))}
    given = axes | {"epsg": 32631} | coords
    shape = len(y) if y is not None else 4, len(x) if x is not None else 3
    return xr.DataArray(
        np.zeros(shape),
        dims=("y", "x"),
        coords={name: each for name, each in given.items() if each is not None},
    )


def wkt(**attrs: Any) -> Any:
    return (), 0, {"crs_wkt": UTM31.to_wkt(), **attrs}


OLD = wkt(GeoTransform="0 10 0 100 0 -10")


CORNER = Affine(10, 0, 0, 0, -10, 100)


@pytest.mark.parametrize(
    ("given", "transform", "order"),
    [
        (array(), CORNER, (1, 1)),
        (array(y=(65, 75, 85, 95)), CORNER, (-1, 1)),
        (array(x=(25, 15, 5)), CORNER, (1, -1)),
        (array(epsg=None, spatial_ref=wkt()), CORNER, (1, 1)),
        (array(epsg=None, **{"proj:code": "EPSG:32631"}), CORNER, (1, 1)),
        # Coordinates of corners, as in stackstac, with and without its attribute.
        (array(x=(0, 10, 20), y=(100, 90, 80, 70)), CORNER, (1, 1)),
        (array(x=(0, 10, 20), y=(70, 80, 90, 100)), CORNER, (-1, 1)),
        (array(x=(3, 13, 23)).assign_attrs(transform=Affine(10, 0, 3, 0, -10, 105)),
         Affine(10, 0, 3, 0, -10, 95), (1, 1)),
        # Those of rioxarray are of centres, whatever an old transform says.
        (array(x=(0, 10, 20), epsg=None, spatial_ref=OLD),
         Affine(10, 0, -5, 0, -10, 100), (1, 1)),
        (array(x=(10, 30, 50), y=(90, 70, 50, 30), epsg=None, spatial_ref=OLD),
         Affine(20, 0, 0, 0, -20, 100), (1, 1)),
        # A transform makes numbers exact that were rounded.
        (array(x=np.float32([499985.03, 499995.03, 500005.03]), epsg=None,
               spatial_ref=wkt(GeoTransform="499980 10 0 100 0 -10")),
         Affine(10, 0, 499980, 0, -10, 100), (1, 1)),
        (array(x=None, y=None, epsg=None, spatial_ref=OLD), CORNER, (1, 1)),
        (array(x=None, y=None, epsg=None, spatial_ref=wkt(GeoTransform="0 10 0 60 0 10")), CORNER, (-1, 1)),
        (array(x=(15,), epsg=None, spatial_ref=OLD),
         Affine(10, 0, 10, 0, -10, 100), (1, 1)),
        (array().rename(y="latitude", x="longitude"), CORNER, (1, 1)),
        (array().rename(y="lat", x="lon"), CORNER, (1, 1)),
    ],
)  # fmt: skip
def test_places_by_the_conventions_of_their_makers(
    given: xr.DataArray, transform: Affine, order: tuple[int, int]
) -> None:
    found = place_of(given, "ds")
    assert found.transform.almost_equals(transform, 1e-9), found.transform
    assert tuple(each.step or 1 for each in found.order) == order and found.crs == UTM31


def test_what_is_given_counts_where_the_array_says_nothing() -> None:
    plain = array(x=None, y=None, epsg=None)
    found = place_of(plain, "ds", CORNER, UTM31)
    assert found.transform == CORNER and found.crs == UTM31
    assert place_of(array(), "ds", Affine(7, 0, 0, 0, -7, 0), CRS.from_epsg(4326)).transform == CORNER


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (array(epsg=None), "no coordinate reference system; expected .*write_crs"),
        (array(epsg=None, spatial_ref=((), 0, {"crs_wkt": "nonsense"})), "is not understood .*write_crs"),
        (array(epsg=77), "is not understood .*write_crs"),
        (array(x=(5, 15, 35)), r"along x are not regular \(5, 15, 35\); expected .*reproject"),
        (array(x=(5, 5, 5)), "along x are not regular"),
        (array(x=(5, np.nan, 25)), "or not all finite; expected one number"),
        (array(x=("a", "b", "c")), "along x are <U1 "),
        (array(x=None), r"no coordinates for its dimension x; expected .*transform="),
        (array(x=(5,)), "one pixel along x.*Select more pixels"),
        (array(y=()), r"no pixels \(y \(0\), x \(3\)\); expected an image"),
        (array().rename(y="rows", x="columns"), r"dimensions rows \(4\), columns \(3\); expected y and x"),
        (
            array(x=None, y=None, spatial_ref=wkt(GeoTransform="0 10 1 100 0 -10")),
            "rotated; expected .*reproject",
        ),
        (array(x=None, y=None, spatial_ref=wkt(GeoTransform="0 10 zero")), "no coordinates"),
    ],
)
def test_places_that_are_none_are_refused(given: xr.DataArray, words: str) -> None:
    with pytest.raises(InputError, match=f"^ds: .*{words}"):
        place_of(given, "ds")


def test_the_crs_may_be_a_variable() -> None:
    """As in netCDF files of openEO and xcube, which xarray opens so."""
    given = array(epsg=None)
    found = with_mapping(xr.Dataset({"B02": given.assign_attrs(grid_mapping="crs"), "crs": wkt()}))
    assert "crs" in found.coords and place_of(found, "ds").crs == UTM31
    assert with_mapping(given) is given
