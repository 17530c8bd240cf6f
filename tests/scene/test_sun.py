from __future__ import annotations

import math
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio import Affine
from rasterio.crs import CRS

from cmcr_cli.errors import OptionError
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.sun import Sun, sun_of, sun_of_tags

if TYPE_CHECKING:
    from tests.support.rasters import Write

# Tiles of 110 km whose pixels are 100 m here, by the place of their centre in the zone.
EDGE = (
    Affine(100, 0, 699_960, 0, -100, 7_800_000),
    1098,
)  # 70 degrees north, 6.6 degrees east of the meridian
MIDDLE = (Affine(100, 0, 445_100, 0, -100, 5_900_040), 1098)
WEST = (Affine(100, 0, 300_000, 0, -100, 7_800_000), 1098)


def grid(place: tuple[Affine, int], crs: str = "EPSG:32631") -> Grid:
    transform, size = place
    return Grid(CRS.from_user_input(crs), transform, size, size)


def on_grid(direction: tuple[float, float]) -> float:
    """Azimuth of a direction in the image, counted from its top."""
    rows, columns = direction
    assert math.hypot(rows, columns) == pytest.approx(1)
    return math.degrees(math.atan2(columns, -rows)) % 360


@pytest.mark.parametrize(
    ("place", "convergence"), [(EDGE, 6.18), (MIDDLE, 0.0), (WEST, -3.53)], ids=["edge", "middle", "west"]
)
def test_true_north_is_not_the_grids(place: tuple[Affine, int], convergence: float) -> None:
    here = grid(place)
    left, top, right, bottom = here.corners
    to_map = pyproj.Proj(here.crs.to_wkt())
    lon, lat = to_map((left + right) / 2, (top + bottom) / 2, inverse=True)
    assert to_map.get_factors(lon, lat).meridian_convergence == pytest.approx(convergence, abs=0.05)
    spherical = math.degrees(math.atan(math.tan(math.radians(lon - 3)) * math.sin(math.radians(lat))))
    assert spherical == pytest.approx(convergence, abs=0.05)
    for azimuth in (30.0, 152.3, 180.0, 359.0):
        found = on_grid(Sun(azimuth, 41.0).direction(here))
        assert found == pytest.approx((azimuth - convergence) % 360, abs=0.05)


@given(azimuth=st.floats(0, 360), column=st.integers(100, 1000), row=st.integers(100, 1000))
def test_a_walk_over_the_image_has_the_azimuth_of_the_sun(azimuth: float, column: int, row: int) -> None:
    """Pixels are walked along the direction; the globe tells in which azimuth that was."""
    here = grid(EDGE).crop(row, column, 3, 3)
    rows, columns = Sun(azimuth, 30.0).direction(here)
    left, top, right, bottom = here.corners
    x, y = (left + right) / 2, (top + bottom) / 2
    start, end = (x, y), (x + 1000 * columns, y - 1000 * rows)
    to_map = pyproj.Proj(here.crs.to_wkt())
    walked, _, metres = pyproj.Geod(ellps="WGS84").inv(
        *to_map(*start, inverse=True), *to_map(*end, inverse=True)
    )
    assert metres == pytest.approx(1000, rel=0.01)
    assert (walked - azimuth + 180) % 360 - 180 == pytest.approx(0, abs=0.05)


def test_southern_half_of_the_globe() -> None:
    """South of the equator the convergence has the other sign; the sun is in the north at noon."""
    south = grid((Affine(10, 0, 700_000, 0, -10, 5_500_000), 100), "EPSG:32731")
    rows, columns = Sun(0.0, 60.0).direction(south)
    assert rows < -0.99 and 0.02 < columns < 0.04  # 40 degrees south, 3 degrees east: 1.9 degrees


def test_rows_may_run_north_and_columns_west() -> None:
    north_up = Sun(130.0, 30.0).direction(grid(EDGE))
    a, _, c, _, e, f = EDGE[0][:6]
    south_up = grid((Affine(a, 0, c, 0, -e, f + 1098 * e), 1098))
    mirrored = grid((Affine(-a, 0, c + 1098 * a, 0, e, f), 1098))
    assert Sun(130.0, 30.0).direction(south_up) == pytest.approx((-north_up[0], north_up[1]))
    assert Sun(130.0, 30.0).direction(mirrored) == pytest.approx((north_up[0], -north_up[1]))


def test_pixels_of_degrees_are_narrow_on_the_ground() -> None:
    """At 60 degrees a degree of longitude is half as long, so the same metres are twice the columns."""
    here = grid((Affine(0.001, 0, 10, 0, -0.001, 60.05), 100), "EPSG:4326")
    rows, columns = Sun(135.0, 30.0).direction(here)
    assert rows > 0 and columns / rows == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize("left", [179.9497, 179.95, -180.05])
def test_the_antimeridian_is_no_jump(left: float) -> None:
    here = grid((Affine(0.001, 0, left, 0, -0.001, 0.05), 100), "EPSG:4326")
    for azimuth in (90.0, 270.0):
        assert on_grid(Sun(azimuth, 30.0).direction(here)) == pytest.approx(azimuth, abs=0.01)


@pytest.mark.parametrize(
    "crs", [CRS(), None, CRS.from_wkt('LOCAL_CS["of an engineer",UNIT["metre",1]]')], ids=str
)
@pytest.mark.parametrize("azimuth", [0.0, 90.0, 152.3, 270.0])
def test_without_a_place_on_the_globe_the_top_is_north(crs: Any, azimuth: float) -> None:
    transform = Affine(10, 0, 0, 0, -10, 0) if crs else Affine.identity()  # that of files without any
    found = on_grid(Sun(azimuth, 30.0).direction(Grid(crs, transform, 60, 40)))
    assert (found - azimuth + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)


def test_a_place_that_the_projection_does_not_reach() -> None:
    far = grid((Affine(10, 0, 1e30, 0, -10, 1e30), 10))
    assert on_grid(Sun(200.0, 30.0).direction(far)) == pytest.approx(200)


@pytest.mark.parametrize(
    "angles", [(-0.1, 40), (360.1, 40), (100, 0), (100, -3), (100, 90.1), (math.nan, 40), (100, math.nan)]
)
def test_angles_that_cannot_be(angles: tuple[float, float]) -> None:
    with pytest.raises(OptionError, match=r"--sun .*AZIMUTH,ELEVATION.*0 to 360.*152\.3,41\.0"):
        Sun(*angles)
    assert sun_of(angles[0], elevation=angles[1]) is None


@pytest.mark.parametrize("angles", [(0, 0.1), (360, 90), (152.3, 41)])
def test_angles_at_their_ends(angles: tuple[float, float]) -> None:
    assert sun_of(angles[0], zenith=90 - angles[1]) is not None
    assert sun_of(str(angles[0]), elevation=str(angles[1])) == Sun(*angles)
    assert pickle.loads(pickle.dumps(Sun(*angles))) == Sun(*angles)


@pytest.fixture
def stack() -> np.ndarray[Any, np.dtype[np.uint16]]:
    return np.random.default_rng(0).integers(1200, 4000, (13, 40, 40)).astype(np.uint16)


def test_tags_of_a_stack(write: Write, stack: Any, caplog: pytest.LogCaptureFixture) -> None:
    path = write("s2_20220615.tif", stack)  # the day alone does not tell
    caplog.set_level("INFO", "cmcr")
    with open_optical(path) as optical:
        assert optical.sun is None and caplog.messages[-1] == "sun: not known"
    with rasterio.open(path, "r+") as file:
        file.update_tags(MEAN_SOLAR_AZIMUTH_ANGLE="142.99", MEAN_SOLAR_ZENITH_ANGLE="26.5")
    with open_optical(path) as optical:
        assert optical.sun == Sun(142.99, 63.5)
        assert caplog.messages[-1] == "sun: azimuth 143.0, elevation 63.5 (tags)"
    with open_optical(path, sun=Sun(10.0, 20.0)) as optical:
        assert optical.sun == Sun(10.0, 20.0)
        assert caplog.messages[-1] == "sun: azimuth 10.0, elevation 20.0 (option)"


@pytest.mark.parametrize("zenith", [None, "", "nan", "90", "95", "low", "1e999"])
def test_tags_that_tell_nothing(zenith: str | None) -> None:
    tags = {"MEAN_SOLAR_AZIMUTH_ANGLE": "142.99"}
    assert sun_of_tags(tags | ({} if zenith is None else {"MEAN_SOLAR_ZENITH_ANGLE": zenith})) is None
