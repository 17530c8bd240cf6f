"""Results of which no run is needed; others are in test_dataset.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr

from cmcr_cli import RemoveOptions
from cmcr_cli.arrays.array_layers import image_of
from cmcr_cli.arrays.prepared import Files
from cmcr_cli.arrays.restored import restored
from tests.support.arrays import like_odc_stac, like_rioxarray


@pytest.fixture(scope="module")
def source(make_scene: Any) -> Path:
    path: Path = make_scene(12, 10).s2
    return path


def result(array: Any, output: Path, **options: Any) -> xr.Dataset:
    """As if the scene were the image that was made of it."""
    scene = None if array is None else image_of(array, "ds", "image", named="bands" in options)
    return restored(Files(RemoveOptions(s2="s2.tif", output=output, **options), scene, ()))


def test_a_part_of_a_scene_that_runs_upwards(source: Path, tmp_path: Path) -> None:
    array = like_odc_stac(source, upwards=True, time=False)
    part = tmp_path / "part.tif"
    with rasterio.open(source) as file:
        window = rasterio.windows.Window(2, 3, 5, 4)
        profile = file.profile | {"width": 5, "height": 4, "transform": file.window_transform(window)}
        with rasterio.open(part, "w", **profile) as cut:
            cut.write(file.read(window=window))
            cut.descriptions = file.descriptions
    found = result(array, part)
    expected = array.isel(y=slice(12 - 3 - 4, 12 - 3), x=slice(2, 7))
    assert np.array_equal(found.image.sel(band="nir").values, expected.nir.values)
    assert found.indexes["y"].equals(expected.indexes["y"]) and found.indexes["x"].equals(
        expected.indexes["x"]
    )


def test_layers_that_are_no_bands_are_not_in_the_result(source: Path) -> None:
    array = like_rioxarray(source)
    names = list(array.attrs["long_name"])
    more = xr.concat([array, array.isel(band=[0]).assign_coords(band=[14])], "band")
    more.attrs = array.attrs | {"long_name": (*names, "AOT")}
    assert result(more, source).band.values.tolist() == list(range(1, 14))
    bands = ("-", *names)
    moved = xr.concat([array.isel(band=[0]).assign_coords(band=[99]), array], "band")
    assert result(moved, source, bands=bands).band.values.tolist() == list(range(1, 14))


def test_attributes_that_variables_share_and_how_they_are_stored(source: Path, tmp_path: Path) -> None:
    array = like_odc_stac(source)
    for each in array.data_vars.values():
        each.attrs |= {"units": "1"}
        each.encoding = {"dtype": "int16", "scale_factor": 0.0001, "chunksizes": (1, 9, 9), "source": "a.nc"}
    array.red.attrs["title"] = "red"
    found = result(array, source)
    assert found.image.attrs == {"nodata": 0, "units": "1"}
    assert found.image.encoding == {"grid_mapping": "spatial_ref", "dtype": "int16", "scale_factor": 0.0001}


def test_without_an_array_coordinates_are_those_of_the_file(source: Path) -> None:
    found = result(None, source)
    assert found.band.values.tolist()[:2] == ["B01", "B02"] and found.rio.crs.to_epsg() == 32631
    array = like_rioxarray(source).drop_vars(["x", "y", "band", "spatial_ref"])
    array.coords["spatial_ref"] = found.spatial_ref
    assert result(array, source).indexes["x"].equals(found.indexes["x"])
