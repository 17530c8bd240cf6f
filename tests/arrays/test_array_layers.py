from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from cmcr_cli.arrays.array_layers import each_time, image_of
from cmcr_cli.errors import InputError, RadiometryError

SIZE = {"y": 4, "x": 3}
SPACE = {"y": [95, 85, 75, 65], "x": [5, 15, 25], "epsg": 32631}
DATES = np.array(["2024-06-01T10:20:31", "2024-06-06"], "datetime64[ns]")


def flat(dtype: Any = "uint16", **attrs: Any) -> xr.DataArray:
    return xr.DataArray(np.ones((4, 3), dtype), dims=("y", "x"), coords=SPACE, attrs=attrs)


def cube(names: Any = ("B02", "B03"), dtype: Any = "uint16", **attrs: Any) -> xr.DataArray:
    coords = SPACE if names is None else SPACE | {"band": list(names)}
    count = 2 if names is None else len(names)
    return xr.DataArray(np.ones((count, 4, 3), dtype), dims=("band", "y", "x"), coords=coords, attrs=attrs)


def dataset(**variables: Any) -> xr.Dataset:
    return xr.Dataset(variables)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (cube(), ("B02", "B03")),
        (cube((1, 2), long_name=("blue", "green")), ("blue", "green")),
        (cube((1, 2), long_name="reflectance"), (None, None)),
        (cube(None), (None, None)),
        (cube(("red", "SCL", "AOT", "dataMask")), ("red", "SCL", "dataMask")),
        (cube().transpose("y", "x", "band"), ("B02", "B03")),
        (cube().rename(band="wavelength"), ("B02", "B03")),
        (cube().expand_dims("time").expand_dims("sensor"), ("B02", "B03")),
        (cube(("AOT", "WVP")), ("AOT", "WVP")),
        (
            dataset(red=flat(), nir=flat(), scl=flat("uint8"), WVP=flat(), spatial_ref=0),
            ("red", "nir", "scl"),
        ),
        (dataset(band_1=flat(long_name="B01"), band_2=flat(long_name="B02")), ("B01", "B02")),
        (dataset(red=flat("int16"), SCL=flat("float32")), ("red",)),
        (dataset(band_data=cube()), ("B02", "B03")),
        (flat().rename("red"), ("red",)),
    ],
)
def test_layers_and_their_names(given: Any, names: tuple[str | None, ...]) -> None:
    found = image_of(given, "ds", "image")
    assert found.layers.names == names and found.shape == (len(names), 4, 3)
    assert [each.dims for each in found.layers.pieces] in ([("y", "x")] * len(names), [("band", "y", "x")],
                                                            [("wavelength", "y", "x")])  # fmt: skip


def test_a_layer_that_an_option_names_stays() -> None:
    assert image_of(cube(("red", "AOT")), "ds", "image", named=True).bands == (0, 1)


@pytest.mark.parametrize(
    ("given", "nodata"),
    [
        (cube(nodata=0), 0),
        (cube(_FillValue=np.uint16(65535)), 65535),
        (cube(missing_value=-1), None),
        (cube(nodata=np.nan), None),
        (cube(nodata="none"), None),
        (cube(dtype="float32"), np.nan),
        (cube(dtype="float32", nodata=-9999), -9999),
        (cube(dtype=">i2", nodata=-9999), -9999),
        (dataset(red=flat(nodata=0), SCL=flat("uint8", nodata=255)), 0),
        (dataset(red=flat(), nir=flat()).assign_attrs(_FillValue=7), 7),
    ],
)
def test_nodata(given: Any, nodata: float | None) -> None:
    found = image_of(given, "ds", "image")
    np.testing.assert_equal(found.nodata, nodata)
    assert found.dtype.isnative


def test_nodata_of_whole_numbers_may_be_in_the_encoding_and_that_of_decoded_ones_is_not() -> None:
    for dtype, expected in (("int16", -9999), ("float32", np.nan)):
        given = cube(dtype=dtype)
        given.encoding = {"_FillValue": -9999, "scale_factor": 0.0001}
        found = image_of(given, "ds", "image")
        np.testing.assert_equal(found.nodata, expected)
        assert found.scaling == ((1, 0), (1, 0))


@pytest.mark.parametrize(
    ("given", "scaling"),
    [
        (cube(scale_factor=0.0001, add_offset=-0.1), ((0.0001, -0.1),) * 2),
        (cube(scales=(1, 2), offsets=(0, 3)), ((1, 0), (2, 3))),
        (dataset(red=flat(scale_factor=0.0001), nir=flat()), ((0.0001, 0), (1, 0))),
        (dataset(red=flat(), nir=flat()).assign_attrs(scale_factor=0.5), ((0.5, 0),) * 2),
    ],
)
def test_scale_and_offset(given: Any, scaling: tuple[tuple[float, float], ...]) -> None:
    assert image_of(given, "ds", "image").scaling == scaling


def test_tags_time_and_sun() -> None:
    given = cube(PROCESSING_BASELINE="05.10", crs="epsg:32631", spec=object(), odd="a\nb")
    given = given.assign_coords({"view:sun_azimuth": 150.0, "view:sun_elevation": 40.0})
    assert image_of(given.expand_dims(time=DATES[:1]), "ds", "image").tags == {
        "PROCESSING_BASELINE": "05.10",
        "PRODUCT_START_TIME": "2024-06-01T10:20:31Z",
        "MEAN_SOLAR_AZIMUTH_ANGLE": "150",
        "MEAN_SOLAR_ZENITH_ANGLE": "50",
    }


def test_times_are_parted_by_their_coordinate() -> None:
    given = xr.concat([cube(), 2 * cube()], "acquired").assign_coords(acquired=DATES)
    assert [(int(each.max()), name) for each, name in each_time(given, "it")] == [
        (1, "it.isel(acquired=0)"), (2, "it.isel(acquired=1)"),
    ]  # fmt: skip
    assert [name for _, name in each_time(cube(), "it")] == ["it"]


def test_radar_and_masks() -> None:
    radar = dataset(vv=flat("float32"), vh=flat("float64"), angle=flat("float32"))
    found = image_of(radar, "s1", "radar")
    assert found.layers.names == ("vv", "vh") and found.dtype == np.float64
    assert image_of(cube(None, "float32"), "s1", "radar").layers.names == (None, None)
    for dtype, written in (("bool", "uint8"), ("int64", "int32"), ("uint8", "uint8")):
        assert image_of(flat(dtype), "mask", "mask").dtype == written
    assert image_of(dataset(red=flat(), SCL=flat("uint8")), "mask", "mask").layers.names == ("SCL",)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (cube(dtype="complex64"), RadiometryError, 'holds complex64 pixels; expected .*astype'),
        (cube(dtype="object"), RadiometryError, "holds object pixels"),
        (cube(dtype="int64"), RadiometryError, "holds int64 pixels"),
        (dataset(red=flat(), nir=flat("float32")), RadiometryError, "holds float32 and uint16 pixels"),
        (dataset(red=flat(nodata=0), nir=flat(nodata=7)), RadiometryError, "different nodata values"),
        (cube(scale_factor="many"), RadiometryError, "is not a number"),
        (xr.concat([cube(), cube()], "time"), InputError, r"2 times along time; .*isel\(time=-1\)"),
        (xr.concat([cube(), cube()], "day").assign_coords(day=DATES), InputError, "2 times along day"),
        (xr.concat([cube(), cube()], "run"), InputError, r"dimensions run \(2\), band \(2\).*ds\.isel"),
        (dataset(red=flat(), nir=flat().expand_dims(run=2)), InputError, "variable nir has the dimensions"),
        (dataset(count=("band", [1])), InputError, r"has the dimensions band \(1\); expected y and x"),
        (dataset(red=flat())[[]], InputError, "has the dimensions none; expected y and x"),
        (cube(()), InputError, "has no layers"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused(given: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"^ds: .*{words}"):
        image_of(given, "ds", "image")
