"""Whole runs on arrays, which give what files give."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from numpy.typing import NDArray

import cmcr_cli
from cmcr_cli import Model, RemoveOptions, estimate_dataset, load_model, remove, remove_dataset
from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.scene.bands import BANDS
from tests.support.arrays import COMMON, TIME, like_odc_stac, like_rioxarray, like_stackstac
from tests.support.removals import Files

HEIGHT, WIDTH = 44, 40


@dataclass(frozen=True)
class Known:
    """A scene, and what `remove` makes of it."""

    files: Files
    model: Model
    image: NDArray[Any]
    provenance: NDArray[Any]

    def options(self) -> dict[str, Any]:
        return {"model": self.model, "mask": str(self.files.mask)}


@pytest.fixture(scope="module")
def known(make_scene: Any, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Known:
    files, model = make_scene(HEIGHT, WIDTH, nodata=0), load_model(weights, "cpu")
    covered = np.zeros((HEIGHT, WIDTH), np.uint8)
    covered[14:20, 12:20] = 1
    with rasterio.open(files.mask, "r+") as mask:
        mask.write(covered, 1)
    out = tmp_path_factory.mktemp("known")
    options = RemoveOptions(
        s2=files.s2, s1=files.s1, mask=files.mask, output=out / "clear.tif", provenance=out / "which.tif"
    )
    remove(options, model=model)
    with rasterio.open(options.output) as image, rasterio.open(out / "which.tif") as which:
        return Known(files, model, image.read(), which.read(1))


def test_variables_of_a_lazy_cube(known: Known) -> None:
    """Odd chunks, upwards, one time: pixels and coordinates are those of the cube."""
    cube = like_odc_stac(known.files.s2, chunks={"x": 33, "y": 29}, upwards=True)
    radar = like_odc_stac(known.files.s1, time=False).rename(VV="vv", VH="vh")
    found = remove_dataset(cube, radar, **known.options())
    assert np.array_equal(found.image.values, known.image[:, ::-1])
    assert np.array_equal(found.provenance.values, known.provenance[::-1])
    assert found.image.dims == ("band", "y", "x") and found.image.dtype == np.uint16
    assert found.band.values.tolist() == list(COMMON) and found.time.values == TIME
    assert found.indexes["x"].equals(cube.indexes["x"]) and found.indexes["y"].equals(cube.indexes["y"])
    assert found.rio.crs == cube.rio.crs
    assert found.image.attrs == {"nodata": 0} and found.attrs["CMCR_S2"] == "ds"
    observed = found.provenance.values == 1
    red = cube.red.isel(time=0).values
    assert observed.any() and np.array_equal(found.image.sel(band="red").values[observed], red[observed])


def test_an_array_as_rioxarray_opens_it_and_a_file_for_the_result(known: Known, tmp_path: Path) -> None:
    array = like_rioxarray(known.files.s2)
    array.attrs["PLACE"] = "here"
    output = tmp_path / "clear.tif"
    found = remove_dataset(array, str(known.files.s1), output=output, **known.options())
    assert list(found.data_vars) == ["image"] and list(tmp_path.iterdir()) == [output]
    assert not isinstance(found.image.variable._data, np.ndarray)  # it is read when it is used
    assert np.array_equal(found.image.isel(x=slice(9, 20)).values, known.image[:, :, 9:20])
    assert found.band.values.tolist() == array.band.values.tolist() and found.image.attrs == array.attrs
    with rasterio.open(output) as file:
        assert file.tags()["PLACE"] == "here" and np.array_equal(file.read(), known.image)


def test_fractions_with_nan_and_corners_for_coordinates(known: Known) -> None:
    cube = like_stackstac(known.files.s2)
    found = remove_dataset(cube, known.files.s1, **known.options())
    observed = known.provenance < 2
    assert np.array_equal(found.image.values[:, observed], cube.values[0][:, observed], equal_nan=True)
    new = np.rint(found.image.values[:, ~observed]).clip(1)  # which whole numbers cannot be below
    assert np.array_equal(new, known.image[:, ~observed])
    assert found.image.dtype == np.float64 and found.common_name.values.tolist() == list(COMMON)
    assert found.indexes["x"].equals(cube.indexes["x"]) and found.rio.crs.to_epsg() == int(cube.epsg)


def test_numpy_a_part_and_samples(known: Known) -> None:
    """An open dataset for the radar, a mask as an array, and every variable that there is."""
    with rasterio.open(known.files.s2) as s2, rasterio.open(known.files.s1) as s1:
        pixels, transform = s2.read(masked=True), s2.transform
        (west, east), (north, south) = rasterio.transform.xy(transform, [4, 38], [12, 36])
        bounds = rasterio.warp.transform_bounds(s2.crs, 4326, west, south, east, north)
        with rasterio.open(known.files.mask) as mask:
            found = remove_dataset(
                pixels, s1, transform=transform, crs=s2.crs, mask=mask.read(1) != 0, model=known.model,
                references=[known.files.s2], bbox=bounds, steps=2, samples=2,
            )  # fmt: skip
    assert set(found.data_vars) == {"image", "provenance", "uncertainty", "source_date"}
    assert found.uncertainty.dims == ("band", "y", "x") and found.band.values.tolist() == list(BANDS)
    rows, columns = rasterio.transform.rowcol(transform, found.x.values[0], found.y.values)
    _, columns = rasterio.transform.rowcol(transform, found.x.values, found.y.values[0])
    part = pixels.data[:, rows][:, :, columns]
    observed = found.provenance.values == 1
    assert observed.any() and part.shape[1:] != (HEIGHT, WIDTH)
    assert np.array_equal(found.image.values[:, observed], part[:, observed])


def test_other_times_of_a_cube_are_references(known: Known, make_scene: Any) -> None:
    """The whole cube may be given: the time of the scene is left out."""
    other = make_scene(HEIGHT, WIDTH)
    first = like_odc_stac(known.files.s2)
    before = first.copy(data={name: like_odc_stac(other.s2)[name].values // 2 for name in first.data_vars})
    cube = xr.concat([before.assign_coords(time=[TIME - np.timedelta64(5, "D")]), first], "time")
    found = remove_dataset(
        cube.isel(time=1), None, cube, output=None, context=True, **known.options(), earlier_only=True
    )
    assert "2024-05-27 references[0].isel(time=0)" in found.source_date.attrs.get("reference_1", "none")
    with pytest.raises(InputError, match=r"2 times along time; expected one.*isel\(time=-1\)"):
        remove_dataset(cube, **known.options())


def test_what_would_be_done_is_estimated(known: Known) -> None:
    found = estimate_dataset(like_rioxarray(known.files.s2), **known.options())
    assert (found.width, found.height) == (WIDTH, HEIGHT) and found.patches_restored


@pytest.mark.parametrize("function", [cmcr_cli.remove, cmcr_cli.estimate, cmcr_cli.write_mask])
@pytest.mark.parametrize("value", [np.zeros((13, 9, 9)), "s2.tif", xr.Dataset()], ids=type)
def test_other_functions_name_the_one_for_arrays(function: Callable[..., Any], value: Any) -> None:
    with pytest.raises(OptionError, match=r"found .*; expected RemoveOptions.*cmcr_cli\.remove_dataset"):
        function(value)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rioxarray", None)
    with pytest.raises(InputError, match=r"not installed .*pip install rioxarray"):
        remove_dataset("s2.tif")
