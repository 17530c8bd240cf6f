from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from rasterio import Affine
from rasterio.crs import CRS

from cmcr_cli.errors import GridMismatchError, InputError
from cmcr_cli.scene.area import Area, area_of_bbox, area_of_file
from cmcr_cli.scene.grid import Grid

UTM31 = CRS.from_epsg(32631)
GRID = Grid(UTM31, Affine(10, 0, 600_000, 0, -10, 5_900_040), 600, 800)
SOUTH_UP = Grid(UTM31, Affine(10, 0, 600_000, 0, 10, 5_892_040), 600, 800)

TRIANGLE = shapely.Polygon([(601_000, 5_899_000), (603_000, 5_899_000), (601_000, 5_897_000)])


def write(path: Path, shape: Any, crs: str | None = None, kind: str = "FeatureCollection") -> Path:
    """GeoJSON of a shape in UTM 31, in degrees unless `crs` names another system."""
    move = pyproj.Transformer.from_crs("EPSG:32631", crs or "EPSG:4326", always_xy=True).transform
    fine = shapely.segmentize(shape, 100)
    geometry = shapely.geometry.mapping(shapely.transform(fine, lambda p: np.column_stack(move(*p.T))))
    feature = {"type": "Feature", "properties": {}, "geometry": geometry}
    content: dict[str, Any] = {
        "Feature": feature,
        "FeatureCollection": {"type": kind, "features": [feature]},
    }.get(kind, geometry)
    if crs:
        content["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(content))
    return path


def pixels(area: Area, grid: Grid, strip: int) -> Any:
    """Which pixels of the whole scene are in the area, put together from strips."""
    found = np.zeros((grid.height, grid.width), bool)
    for top in range(0, grid.height, strip):
        first, rows, columns, inside = area.part(top, min(strip, grid.height - top))
        assert inside.shape[0] == 0 or first == top + rows.start - area.top
        found[top : top + strip][rows, columns] = inside
    return found


@pytest.mark.parametrize(
    ("crs", "kind"),
    [
        (None, "FeatureCollection"),
        ("urn:ogc:def:crs:EPSG::32631", "Feature"),
        ("EPSG:3857", "Geometry"),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", "FeatureCollection"),
    ],
)
def test_polygon_in_any_crs(tmp_path: Path, crs: str | None, kind: str) -> None:
    area = area_of_file(write(tmp_path / "a.geojson", TRIANGLE, crs, kind), GRID)
    assert abs(area.left - 100) <= 1 and abs(area.top - 104) <= 1
    assert abs(area.grid.width - 200) <= 2 and abs(area.grid.height - 200) <= 2
    found = pixels(area, GRID, 33)
    assert np.array_equal(found, pixels(area, GRID, 800))
    y, x = np.mgrid[: GRID.height, : GRID.width]
    centres = 600_005 + 10 * x, 5_900_035 - 10 * y
    assert found[shapely.contains_xy(TRIANGLE.buffer(-8), *centres)].all()
    assert not found[~shapely.contains_xy(TRIANGLE.buffer(18), *centres)].any()


def test_scene_whose_rows_run_north(tmp_path: Path) -> None:
    path = write(tmp_path / "a.geojson", TRIANGLE, "EPSG:32631")
    found = pixels(area_of_file(path, SOUTH_UP), SOUTH_UP, 33)
    assert np.array_equal(found[::-1], pixels(area_of_file(path, GRID), GRID, 33))


def test_polygons_are_united_and_cut_at_the_scenes_edge(tmp_path: Path) -> None:
    parts = shapely.MultiPolygon(
        [
            shapely.box(599_000, 5_899_000, 600_105, 5_901_000),
            shapely.box(605_900, 5_892_000, 607_000, 5_892_105),
        ]
    )
    area = area_of_file(write(tmp_path / "a.geojson", parts, "EPSG:32631"), GRID)
    assert (area.top, area.left, area.grid.width, area.grid.height) == (0, 0, 600, 800)
    found = pixels(area, GRID, 64)
    assert found[:104, :11].all() and found[-7:, -10:].all() and found.sum() == 104 * 11 + 7 * 10


def test_squares_that_the_polygon_leaves_out(tmp_path: Path) -> None:
    area = area_of_file(write(tmp_path / "a.geojson", TRIANGLE, "EPSG:32631"), GRID)
    assert area.touches(104, 100, 50) and area.touches(0, 0, 256)
    assert not area.touches(260, 250, 40)  # inside the window, beyond the long side
    assert not area.touches(0, 0, 100) and not area.touches(400, 100, 256)


def test_box_is_a_window_without_holes() -> None:
    move = pyproj.Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True).transform
    west, south = move(601_000, 5_897_000)
    east, north = move(603_000, 5_899_000)
    area = area_of_bbox((west, south, east, north), GRID)
    found = pixels(area, GRID, 100)
    assert found.sum() == area.grid.width * area.grid.height
    assert found[104:304, 100:300].all() and 200 <= area.grid.width < 215


def test_box_across_the_antimeridian() -> None:
    grid = Grid(CRS.from_epsg(32601), Affine(10, 0, 357_000, 0, -10, 7_200_000), 400, 400)
    move = pyproj.Transformer.from_crs("EPSG:32601", "EPSG:4326", always_xy=True).transform
    west, south = move(350_000, 7_196_500)
    east, north = move(360_000, 7_199_900)
    assert west > 170 and east < -170
    area = area_of_bbox((west, south, east, north), grid)
    assert area.left == 0 and 290 < area.grid.width < 330


@pytest.mark.parametrize("bbox", [(4, 53, 4, 54), (4, 54, 5, 53), (4, 53, 500, 54), (float("nan"), 1, 2, 3)])
def test_boxes_that_are_none(bbox: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match="west,south,east,north"):
        area_of_bbox(bbox, GRID)


def test_area_elsewhere(tmp_path: Path) -> None:
    far = write(tmp_path / "a.geojson", shapely.box(300_000, 5_897_000, 301_000, 5_899_000))
    with pytest.raises(GridMismatchError, match="outside of the scene") as caught:
        area_of_file(far, GRID)
    assert caught.value.exit_code == 4
    with pytest.raises(GridMismatchError, match="longitude first"):
        area_of_bbox((53, 4, 54, 5), GRID)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "not GeoJSON"),
        ('{"type": "FeatureCollection", "features": []}', "holds nothing"),
        ('{"type": "Point", "coordinates": [4, 53]}', "holds Point; expected polygons"),
        ('{"type": "Polygon"}', "not GeoJSON of polygons"),
        ('{"type": "Feature", "geometry": null}', "not GeoJSON of polygons"),
        (
            '{"type": "Polygon", "coordinates": [], "crs": {"properties": {"name": "moon"}}}',
            "crs is not known",
        ),
    ],
)
def test_files_that_hold_no_area(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        area_of_file(path, GRID)
    with pytest.raises(InputError, match="does not exist"):
        area_of_file(tmp_path / "gone.geojson", GRID)


NAN, INF = float("nan"), float("inf")
WORLD = shapely.box(-180, -90, 180, 90)


@pytest.mark.parametrize(
    "crs", [32631, 32601, 32660, 32701, 3035, 3413, 3031, 4326, 3857], ids=lambda code: f"EPSG:{code}"
)
@pytest.mark.parametrize("bbox", [(-180, -90, 180, 90), (-179.9, -89, 179.9, 89), (-180, -85, 180, 85)])
def test_a_box_that_holds_the_scene_is_all_of_it(crs: int, bbox: Any) -> None:
    """The whole world, or nearly, in any map projection: no part of the scene is outside."""
    corner, size = {3035: ((4_000_000, 3_000_000), 10), 4326: ((10, 50), 1e-4), 3857: ((1e6, 5e6), 10)}.get(
        crs, ((600_000, 5_000_000), 10)
    )
    corner = (-500_000, -900_000) if crs in (3413, 3031) else corner
    grid = Grid(CRS.from_epsg(crs), Affine(size, 0, corner[0], 0, -size, corner[1]), 300, 200)
    area = area_of_bbox(bbox, grid)
    assert (area.top, area.left, area.grid.height, area.grid.width) == (0, 0, 200, 300)


def test_an_outline_of_the_world_is_all_of_the_scene(tmp_path: Path) -> None:
    path = tmp_path / "world.geojson"
    path.write_text(json.dumps(shapely.geometry.mapping(WORLD)))
    area = area_of_file(path, GRID)
    assert (area.top, area.left, area.grid.height, area.grid.width) == (0, 0, 800, 600)
    assert pixels(area, GRID, 256).all()


@pytest.mark.parametrize("grid", [GRID, SOUTH_UP], ids=["north-up", "south-up"])
@pytest.mark.parametrize(
    ("east", "north"), [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1)], ids=str
)
@pytest.mark.parametrize("sliver", [0, 1e-7])
def test_a_neighbouring_tile_that_shares_an_edge_is_outside(
    tmp_path: Path, grid: Grid, east: int, north: int, sliver: float
) -> None:
    """Also by a sliver that is a rounding error, and by a corner."""
    west, south, right, top = grid.footprint().bounds
    x, y = east * ((right - west) - sliver), north * ((top - south) - sliver)
    tile = shapely.transform(shapely.box(west, south, right, top), lambda points: np.add(points, (x, y)))
    with pytest.raises(GridMismatchError, match=r"only touches the edge|outside of the scene"):
        area_of_file(write(tmp_path / "a.geojson", tile, "EPSG:32631"), grid)


@pytest.mark.parametrize(
    ("geometry", "told"),
    [
        ({"type": "Polygon", "coordinates": []}, "enclose no ground"),
        ({"type": "MultiPolygon", "coordinates": []}, "enclose no ground"),
        ({"type": "Polygon", "coordinates": [[[4, 53], [5, 53], [6, 53], [4, 53]]]}, "enclose no ground"),
        ({"type": "Polygon", "coordinates": [[[4, 53], [4, 53], [4, 53], [4, 53]]]}, "enclose no ground"),
        ({"type": "Polygon", "coordinates": [[[4, NAN], [5, 53], [6, 54], [4, 53]]]}, "outline|no ground"),
        ({"type": "Polygon", "coordinates": [[[4, -INF], [5, 53], [6, 54], [4, 53]]]}, "outline|no ground"),
        ({"type": "Polygon", "coordinates": [[["a", "b"], [5, 53], [6, 54], [4, 53]]]}, "polygons"),
        ({"type": "Polygon", "coordinates": [[[4, 10**400], [5, 53], [6, 54], [4, 53]]]}, "polygons"),
        ({"type": "Polygon", "coordinates": ["", [[4, 53], [5, 53], [6, 54]]]}, "polygons"),
        ({"type": "Polygon", "coordinates": 7}, "polygons"),
        ({"type": "Polygon"}, "polygons"),
        ({"type": "GeometryCollection", "geometries": []}, "polygons"),
        ({"type": "Feature", "geometry": None}, "polygons"),
        ({"type": "FeatureCollection", "features": []}, "polygons"),
        ({"type": "FeatureCollection", "features": [7, None]}, "polygons"),
    ],
)  # fmt: skip
def test_outlines_of_nothing(tmp_path: Path, geometry: dict[str, Any], told: str) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(geometry))
    with pytest.raises(InputError, match=told):
        area_of_file(path, GRID)


LOCAL = 'LOCAL_CS["here",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'


@pytest.mark.parametrize(
    "name", [LOCAL, "EPSG:4978", "EPSG:5714", "EPSG:5800", 7, [1], {"a": 1}, "\0", "\ud800"]
)
def test_outlines_in_a_crs_without_a_way_to_the_scene(tmp_path: Path, name: Any) -> None:
    path = tmp_path / "a.geojson"
    crs = {"type": "name", "properties": {"name": name}}
    content = shapely.geometry.mapping(shapely.box(4.5, 53.1, 4.6, 53.2)) | {"crs": crs}
    path.write_text(json.dumps(content))
    with pytest.raises((InputError, GridMismatchError), match=r"a\.geojson: "):
        area_of_file(path, GRID)


def test_a_scene_in_a_local_crs() -> None:
    grid = Grid(CRS.from_wkt(LOCAL), Affine(10, 0, 0, 0, -10, 0), 30, 20)
    with pytest.raises(GridMismatchError, match="cannot be shown in"):
        area_of_bbox((4, 53, 5, 54), grid)


def test_areas_larger_than_the_scene_are_cut_to_it(tmp_path: Path) -> None:
    grid = GRID
    west, south, right, top = grid.footprint().bounds
    around = shapely.box(west - 1e5, south - 1e5, right + 1e5, top + 1e5)
    for area in (
        area_of_file(write(tmp_path / "a.geojson", around, "EPSG:32631"), grid),
        area_of_bbox((-180, -90, 180, 90), grid),
    ):
        assert (area.grid.width, area.grid.height, area.top, area.left) == (grid.width, grid.height, 0, 0)
