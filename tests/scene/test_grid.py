from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from cmcr_cli.errors import GridMismatchError, InputError
from cmcr_cli.scene.grid import Grid, same_crs

UTM31 = CRS.from_epsg(32631)
SCENE = Grid(UTM31, Affine(10, 0, 600000, 0, -10, 5900040), 1098, 1098)


class Rotated:
    name, crs, width, height = "rotated.tif", UTM31, 10, 10
    transform = Affine(10, 1, 600000, 1, -10, 5900040)


def shifted(grid: Grid, columns: float, rows: float) -> Grid:
    a, _, c, _, e, f = grid.transform[:6]
    return Grid(grid.crs, Affine(a, 0, c + a * columns, 0, e, f + e * rows), grid.width, grid.height)


def test_rotated_grid_is_refused() -> None:
    with pytest.raises(InputError, match=r"rotated\.tif.*gdalwarp"):
        Grid.from_dataset(Rotated())


@given(
    x=st.integers(0, 160_000),
    y=st.integers(0, 1_900_000),
    column=st.integers(0, 5000),
    row=st.integers(0, 5000),
)
def test_a_crop_keeps_the_pixel_numbers_of_the_whole(x: int, y: int, column: int, row: int) -> None:
    # Corners at multiples of 5 m put half the grids on half pixels, where rounding could go either way.
    whole = Grid(UTM31, Affine(10, 0, x * 5, 0, -10, y * 5), 10980, 10980)
    top, left = whole.origin
    assert shifted(whole, column, row).origin == (top + row, left + column)


@given(column=st.integers(0, 5000), row=st.integers(0, 5000))
def test_pixel_numbers_of_grids_off_the_metre(column: int, row: int) -> None:
    whole = Grid(UTM31, Affine(10, 0, 704342.595787463, 0, -10, 5631401.982979552), 256, 256)
    top, left = whole.origin
    assert shifted(whole, column, row).origin == (top + row, left + column)


@given(
    top=st.integers(-20, 120),
    left=st.integers(-20, 120),
    rows=st.integers(1, 120),
    columns=st.integers(1, 120),
    down=st.sampled_from([-10, 10]),
)
def test_a_crop_finds_its_place_in_the_whole(top: int, left: int, rows: int, columns: int, down: int) -> None:
    whole = Grid(UTM31, Affine(10, 0, 600000, 0, down, 5900040), 90, 70)
    crop = whole.crop(top, left, rows, columns)
    inside = 0 <= top <= 70 - rows and 0 <= left <= 90 - columns
    assert crop.place_in(whole) == ((top, left) if inside else None)
    assert whole.position(*crop.corners[:2]) == pytest.approx((left, top))


def test_origin_of_a_south_up_grid_counts_along_its_rows() -> None:
    south_up = Grid(UTM31, Affine(10, 0, 600000, 0, 10, 5000000), 100, 100)
    assert south_up.origin == (500000, 60000)
    assert SCENE.origin == (-590004, 60000)


def test_footprint_has_the_bounds_and_area_of_the_grid() -> None:
    footprint = SCENE.footprint()
    assert footprint.bounds == (600000, 5900040 - 10980, 610980, 5900040)
    assert footprint.area == pytest.approx(10980**2)


def test_footprint_in_another_crs_agrees_with_gdal() -> None:
    expected = transform_bounds(UTM31, CRS.from_epsg(4326), *SCENE.footprint().bounds)
    assert SCENE.footprint(CRS.from_epsg(4326)).bounds == pytest.approx(expected, abs=1e-5)


@given(columns=st.integers(-1500, 1500), rows=st.integers(-1500, 1500))
def test_overlap_of_shifted_grids_is_the_shared_area(columns: int, rows: int) -> None:
    shared = max(0, 1098 - abs(columns)) * max(0, 1098 - abs(rows)) / 1098**2
    assert SCENE.overlap(shifted(SCENE, columns, rows)) == pytest.approx(shared, abs=1e-9)


def test_overlap_is_of_ones_own_footprint() -> None:
    larger = Grid(UTM31, Affine(20, 0, 590000, 0, -20, 5910000), 3000, 3000)
    assert SCENE.overlap(larger) == 1
    assert larger.overlap(SCENE) == pytest.approx(10980**2 / 60000**2)


def test_overlap_across_crs() -> None:
    west, _, east, north = SCENE.footprint(CRS.from_epsg(4326)).bounds
    half = Grid(CRS.from_epsg(4326), Affine((east - west) / 200, 0, west, 0, -0.001, north), 100, 200)
    assert SCENE.overlap(half) == pytest.approx(0.5, abs=0.01)
    world = Grid(CRS.from_epsg(4326), Affine(0.01, 0, -180, 0, -0.01, 90), 36000, 18000)
    assert SCENE.overlap(world) == pytest.approx(1)
    antipode = Grid(CRS.from_epsg(32701), SCENE.transform, 1098, 1098)
    assert SCENE.overlap(antipode) == 0


def test_overlap_beyond_the_antimeridian() -> None:
    fiji = Grid(CRS.from_epsg(32701), Affine(10, 0, 199980, 0, -10, 8100040), 10980, 10980)
    west = Grid(CRS.from_epsg(4326), Affine(0.001, 0, 177, 0, -0.001, -16), 6000, 3000)
    assert fiji.overlap(west) == pytest.approx(1)


def test_overlap_without_a_transformation_is_an_error() -> None:
    local = Grid(CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]'), SCENE.transform, 10, 10)
    with pytest.raises(GridMismatchError, match="no transformation"):
        SCENE.overlap(local)


def test_matches_forgives_rounding_and_names_only() -> None:
    wkt = CRS.from_wkt(UTM31.to_wkt().replace("WGS 84 / UTM zone 31N", "WGS_1984_UTM_Zone_31N"))
    assert same_crs(wkt, UTM31)
    assert SCENE.matches(Grid(wkt, SCENE.transform, 1098, 1098))
    assert SCENE.matches(shifted(SCENE, 1e-4, 1e-4))
    assert not SCENE.matches(shifted(SCENE, 0, 0.5))
    assert not SCENE.matches(Grid(CRS.from_epsg(32632), SCENE.transform, 1098, 1098))
    assert not SCENE.matches(Grid(UTM31, SCENE.transform, 1098, 1097))
    assert not SCENE.matches(Grid(UTM31, Affine(10.01, 0, 600000, 0, -10, 5900040), 1098, 1098))


def test_window_never_leaves_the_grid() -> None:
    window = SCENE.window(10, 20)
    assert (window.col_off, window.row_off, window.width, window.height) == (0, 10, 1098, 20)
    for top, rows in [(-1, 5), (1090, 9), (0, 0)]:
        with pytest.raises(ValueError, match="1098 rows"):
            SCENE.window(top, rows)


def test_pixel_size_and_description() -> None:
    assert SCENE.pixel_size == (10, 10)
    assert SCENE.describe() == "1098 x 1098 px of 10 m, EPSG:32631"
    geographic = Grid(CRS.from_epsg(4326), Affine(0.002, 0, 5, 0, -0.001, 50), 10, 20)
    assert geographic.describe() == "10 x 20 px of 0.002 x 0.001 degrees, EPSG:4326"
    assert np.allclose(geographic.pixel_size, (0.002, 0.001))


@pytest.mark.parametrize(
    ("crs", "size", "x", "y", "width", "height"),
    [
        (32631, 10, 600000, 5900040, 10.0, 10.0),  # as the CRS has it, so that results stay the same
        (4326, 1e-4, 5.0, 60.0, 5.58, 11.14),
        (3857, 10, 600000, 8400000, 5.0, 5.0),  # Web Mercator is enlarged by 2 at 60 degrees north
        (2263, 32.808333, 980000, 200000, 10.0, 10.0),  # feet
    ],
)
def test_pixels_in_metres(crs: int, size: float, x: float, y: float, width: float, height: float) -> None:
    grid = Grid(CRS.from_epsg(crs), Affine(size, 0, x, 0, -size, y), 100, 100)
    assert grid.metres == pytest.approx((width, height), rel=0.01)
