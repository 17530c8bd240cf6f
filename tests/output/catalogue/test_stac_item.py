from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import shapely
from rasterio import Affine
from rasterio.crs import CRS

from cmcr_cli.errors import InputError
from cmcr_cli.output.catalogue.stac_item import Described, scene_time, stac_item
from cmcr_cli.scene.grid import Grid


def _described(grid: Grid, **changes: Any) -> Described:
    given = {
        "names": ("B02", "B03"), "dtype": "uint16", "nodata": None, "scale": 1e-4, "offset": 0.0,
        "taken": NOW, "lineage": "", "software": {}, "sources": ("s2.tif",),
    }  # fmt: skip
    return Described(grid=grid, **{**given, **changes})


GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 600_000, 0, -10, 5_900_040), 100, 100)
NOW = datetime(2024, 6, 1, 10, 20, 31, 24_000, tzinfo=UTC)


def test_a_time_is_stated_as_it_is_and_a_day_with_its_span() -> None:
    files = {"--output": Path("a.tif")}
    properties = stac_item(Path("a.json"), files, _described(GRID))["properties"]
    assert properties["datetime"] == "2024-06-01T10:20:31.024000Z" and "start_datetime" not in properties
    properties = stac_item(Path("a.json"), files, _described(GRID, taken=date(2024, 6, 1)))["properties"]
    assert [properties[name] for name in ("start_datetime", "datetime", "end_datetime")] == [
        "2024-06-01T00:00:00.000000Z", "2024-06-01T12:00:00.000000Z", "2024-06-01T23:59:59.999000Z",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({}, r"^s2.tif: states no date in metadata, tags or name; expected .*--datetime, as in"),
        ({"TIFFTAG_DATETIME": "2024:06:01 10:30:21"}, r"TIFFTAG_DATETIME is when the file was written"),
        ({"ACQUISITION_DATE": "2001-09-09"}, "states 2001-09-09 as its date, when there was no Sentinel-2"),
    ],
)
def test_no_date_is_invented(tags: dict[str, str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        scene_time(tags, "s2.tif")


def test_a_date_by_tag_or_by_name() -> None:
    assert scene_time({"PRODUCT_START_TIME": NOW.isoformat()}, "s2.tif") == NOW
    assert scene_time({}, "s2_20240601.tif") == date(2024, 6, 1)


def test_bands_have_names_units_and_wavelengths_for_old_readers_and_new() -> None:
    """odc-stac and pystac find aliases in eo:bands, stackstac scales in raster:bands."""
    made = _described(GRID, names=("B04", "B05"), nodata=0, offset=-0.1)
    image = stac_item(Path("a.json"), {"--output": Path("a.tif")}, made)["assets"]["image"]
    red = {"center_wavelength": 0.665, "full_width_half_max": 0.03}
    stored = {"data_type": "uint16", "nodata": 0, "scale": 1e-4, "offset": -0.1}
    assert image["eo:bands"][0] == {"name": "B04", "common_name": "red", **red}
    assert image["raster:bands"] == [stored] * 2
    assert image["bands"][0] == {
        "name": "B04", "eo:common_name": "red", **{f"eo:{key}": value for key, value in red.items()},
        "data_type": "uint16", "nodata": 0, "raster:scale": 1e-4, "raster:offset": -0.1,
    }  # fmt: skip
    assert image["bands"][1]["eo:common_name"] == "rededge071"
    assert image["eo:bands"][1]["common_name"] == "rededge"


def test_footprint_is_cut_at_the_antimeridian() -> None:
    grid = Grid(CRS.from_epsg(32601), Affine(10, 0, 340_000, 0, -10, 7_200_000), 4000, 1000)
    item = stac_item(Path("a.json"), {"--output": Path("a.tif")}, _described(grid))
    geometry = shapely.geometry.shape(item["geometry"])
    west, _, east, _ = item["bbox"]
    assert geometry.geom_type == "MultiPolygon" and geometry.is_valid
    assert west > 179 and -180 < east < -178
    assert geometry.bounds[0] == -180 and geometry.bounds[2] == 180 and geometry.area < 1


@pytest.mark.parametrize(("start", "west", "east"), [(179, 179, 180), (-180, -180, -179), (180, -180, -179)])
def test_a_scene_may_end_at_the_antimeridian(start: float, west: float, east: float) -> None:
    grid = Grid(CRS.from_epsg(4326), Affine(1 / 128, 0, start, 0, -1 / 128, 10), 128, 128)
    item = stac_item(Path("a.json"), {"--output": Path("a.tif")}, _described(grid))
    assert item["bbox"] == [west, 9, east, 10]
    assert shapely.geometry.shape(item["geometry"]).bounds == (west, 9, east, 10)


def test_files_that_nothing_more_is_known_of_are_assets_too() -> None:
    files = {"--output": Path("a.tif"), "--change": Path("out/change.tif")}
    assets = stac_item(Path("a.json"), files, _described(GRID))["assets"]
    assert list(assets) == ["image", "change"]
    assert assets["change"]["href"] == "./out/change.tif"


def test_item_links_to_all_items_that_it_was_made_from() -> None:
    sources = (
        "s2.tif",
        "in/may.json",
        "in/year.geojson#june",
        "july.SAFE",
        "/vsis3/bucket/s1.tif",
        "https://host/items/S2A?key=1",
    )
    files = {"--output": Path("a.tif"), "--source-date": Path("which.tif")}
    item = stac_item(Path("a.json"), files, _described(GRID, sources=sources, references=("2024-05-01 a",)))
    assert [(link["rel"], link["href"]) for link in item["links"]] == [
        ("via", "./s2.tif"),
        ("derived_from", "./in/may.json"),
        ("derived_from", "./in/year.geojson#june"),
        ("via", "./july.SAFE"),
        ("via", "/vsis3/bucket/s1.tif"),
        ("derived_from", "https://host/items/S2A"),
    ]
    asset = item["assets"]["source-date"]
    assert (
        asset["title"] == "0 no reference, 1 2024-05-01 a, 255 nodata" and asset["bands"][0]["nodata"] == 255
    )
    assert [each["value"] for each in asset["classification:classes"]] == [0, 1, 255]
