from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import shapely
from rasterio import Affine
from rasterio.crs import CRS

from cmcr_cli.output.provenance import SOURCE_MEANING
from cmcr_cli.output.stac_item import Described, stac_item, time_of
from cmcr_cli.scene.grid import Grid


def _described(grid: Grid, **changes: Any) -> Described:
    given = {
        "names": ("B02", "B03"), "dtype": "uint16", "nodata": None, "scale": 1e-4, "offset": 0.0,
        "time": None, "lineage": "", "software": {}, "sources": ("s2.tif",),
    }  # fmt: skip
    return Described(grid=grid, **{**given, **changes})


def test_time_that_is_not_known_is_a_span() -> None:
    grid = Grid(CRS.from_epsg(32631), Affine(10, 0, 600_000, 0, -10, 5_900_040), 100, 100)
    item = stac_item(Path("a.json"), {"--output": Path("a.tif")}, _described(grid, sources=("in/item.json",)))
    properties = item["properties"]
    assert properties["datetime"] is None
    assert properties["start_datetime"] == "2015-06-23T00:00:00.000000Z" < properties["end_datetime"]
    assert [link["rel"] for link in item["links"]] == ["derived_from"]
    assert item["links"][0]["href"] == "./in/item.json"


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


def test_time_by_tag_or_by_name() -> None:
    assert time_of({"PRODUCT_START_TIME": "2024-06-01T10:20:31.024Z"}, "x_20200101T000000.tif") == datetime(
        2024, 6, 1, 10, 20, 31, 24_000, tzinfo=UTC
    )
    assert time_of({}, "a/S2A_MSIL1C_20220105T110431_N0301.tif") == datetime(
        2022, 1, 5, 11, 4, 31, tzinfo=UTC
    )
    assert time_of({}, "s2.tif") is None and time_of({}, "s2_20229999T999999.tif") is None


def test_files_that_nothing_more_is_known_of_are_assets_too() -> None:
    grid = Grid(CRS.from_epsg(32631), Affine(10, 0, 600_000, 0, -10, 5_900_040), 100, 100)
    files = {"--output": Path("a.tif"), "--change": Path("out/change.tif")}
    assets = stac_item(Path("a.json"), files, _described(grid))["assets"]
    assert list(assets) == ["image", "change"]
    assert assets["change"]["href"] == "./out/change.tif"


def test_item_links_to_all_items_that_it_was_made_from() -> None:
    grid = Grid(CRS.from_epsg(32631), Affine(10, 0, 600_000, 0, -10, 5_900_040), 100, 100)
    sources = "s2.tif", "in/may.json", "in/year.geojson#june", "july.SAFE", "https://host/items/S2A?key=1"
    files = {"--output": Path("a.tif"), "--source-date": Path("which.tif")}
    item = stac_item(Path("a.json"), files, _described(grid, sources=sources))
    assert [(link["rel"], link["href"]) for link in item["links"]] == [
        ("derived_from", "./in/may.json"),
        ("derived_from", "./in/year.geojson#june"),
        ("derived_from", "https://host/items/S2A"),
    ]
    asset = item["assets"]["source-date"]
    assert asset["title"] == SOURCE_MEANING and asset["bands"][0]["nodata"] == 255
