from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

from cmcr_cli.errors import GridMismatchError, InputError, RadiometryError
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.radar import open_radar

if TYPE_CHECKING:
    from tests.support.rasters import Write

UTM31 = CRS.from_epsg(32631)
GRID = Grid(UTM31, Affine(10, 0, 600000, 0, -10, 5900040), 60, 80)


def backscatter() -> NDArray[np.float32]:
    db = np.random.default_rng(1).normal(-10, 2, (2, 80, 60)).astype(np.float32)
    db[1] -= 7
    return db


def pattern(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float32]:
    """A smooth dB pattern in UTM 31 coordinates: what stands on a pixel tells where the pixel is."""
    wave = 3 * np.sin((x - 600000) / 60) * np.cos((y - 5900040) / 80)
    return np.stack([-10 + wave, -17 - wave]).astype(np.float32)


def on(grid: Grid) -> NDArray[np.float32]:
    columns, rows = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    x, y = grid.transform.a * columns + grid.transform.c, grid.transform.e * rows + grid.transform.f
    shape = x.shape
    x, y = (np.reshape(v, shape) for v in transform(grid.crs, UTM31, x.ravel(), y.ravel()))
    return pattern(x, y)


def around(epsg: int, pixel: float, margin: float) -> Grid:
    """A grid of `pixel` in another CRS that covers GRID and `margin` more on all sides."""
    crs = CRS.from_epsg(epsg)
    west, south, east, north = GRID.footprint(crs).bounds
    width, height = (int((span + 2 * margin) / pixel) + 1 for span in (east - west, north - south))
    return Grid(crs, Affine(pixel, 0, west - margin, 0, -pixel, north + margin), width, height)


def test_db_on_the_same_grid_comes_unchanged(write: Write) -> None:
    db = backscatter()
    with open_radar(write("s1.tif", db), GRID) as radar:
        values, valid = radar.read(20, 30)
        assert (radar.units, radar.source.warped) == ("db", False)
        assert "dB" in str(radar.warnings[0])
    assert values.dtype == np.float32 and valid.all()
    assert np.array_equal(values, db[:, 20:50])


def test_db_is_not_clipped(write: Write) -> None:
    db = backscatter()
    db[:, 0] = np.linspace(-60, -50, 60)
    db[:, 1] = 12
    with open_radar(write("s1.tif", db), GRID) as radar:
        assert np.array_equal(radar.read(0, 80)[0], db)


def test_linear_power_is_recognised_and_converted(write: Write) -> None:
    db = backscatter()
    with open_radar(write("s1.tif", 10 ** (db / 10)), GRID) as radar:
        values, _ = radar.read(0, 80)
        assert radar.units == "linear" and "linear power" in str(radar.warnings[0])
    assert np.allclose(values, db, atol=1e-4)


def test_stated_units_are_believed(write: Write) -> None:
    values = np.full((2, 80, 60), 20, dtype=np.float32)
    with open_radar(write("s1.tif", values), GRID, units="linear") as radar:
        assert radar.read(0, 1)[0] == pytest.approx(13.0103)
    with open_radar(write("s1.tif", values), GRID, units="db") as radar:
        assert (radar.read(0, 1)[0] == 20).all()


def test_stated_units_that_the_values_speak_against(write: Write) -> None:
    db = backscatter()
    with open_radar(write("s1.tif", db), GRID, units="db") as radar:
        assert radar.warnings == ()
    power = write("power.tif", 10 ** (db / 10))
    with open_radar(power, GRID, units="linear") as radar:
        assert radar.warnings == ()
    with open_radar(power, GRID, units="db") as radar:
        assert "though the median" in str(radar.warnings[0])
    path = write("s1.tif", db)
    with pytest.raises(RadiometryError, match="never negative"), open_radar(path, GRID, units="linear"):
        pass


@pytest.mark.parametrize("dtype", ["int16", "uint16"])
def test_units_out_of_range_are_not_guessed(write: Write, dtype: str) -> None:
    scaled = np.abs(backscatter() * 100) if dtype == "uint16" else backscatter() * 100
    path = write("s1.tif", scaled.astype(dtype))
    with pytest.raises(RadiometryError, match=r"median.*--s1-units"), open_radar(path, GRID):
        pass


@pytest.mark.parametrize(
    ("value", "units"),
    [(-50.5, None), (-50, "db"), (-0.5, "db"), (0.5, "linear"), (9.5, "linear"), (10, None)],
)
def test_where_the_ranges_of_the_units_end(write: Write, value: float, units: str | None) -> None:
    path = write("s1.tif", np.full((2, 80, 60), value, np.float32))
    if units is None:
        with pytest.raises(RadiometryError, match="median"), open_radar(path, GRID):
            pass
    else:
        with open_radar(path, GRID) as radar:
            assert radar.units == units


def test_scale_tag_makes_scaled_db_known(write: Write) -> None:
    db = backscatter()
    path = write("s1.tif", np.rint(db * 100).astype(np.int16), scales=(0.01, 0.01), offsets=(0.0, 0.0))
    with open_radar(path, GRID) as radar:
        assert np.allclose(radar.read(0, 80)[0], db, atol=0.0051)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0, -9999])
def test_what_is_not_valid_is_nan_in_both_bands(write: Write, bad: float) -> None:
    db = backscatter()
    db[0, 10:20] = bad
    with open_radar(write("s1.tif", db, nodata=-9999), GRID) as radar:
        values, valid = radar.read(0, 80)
    assert not valid[10:20].any() and valid[:10].all() and valid[20:].all()
    assert np.isnan(values[:, ~valid]).all() and np.isfinite(values[:, valid]).all()


def test_valid_pixels_missed_by_the_sample_still_count(write: Write) -> None:
    grid = Grid(UTM31, GRID.transform, 130, 2000)
    db = np.full((2, 2000, 130), np.nan, dtype=np.float32)
    db[:, 200] = -10
    with open_radar(write("s1.tif", db), grid) as radar:
        assert radar.units == "db"


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0])
def test_nothing_valid_is_an_error(write: Write, bad: float) -> None:
    path = write("s1.tif", np.full((2, 80, 60), bad, dtype=np.float32))
    with pytest.raises(InputError, match="no pixel over the scene is valid"), open_radar(path, GRID):
        pass


@pytest.mark.parametrize(
    ("epsg", "pixel", "margin", "tolerance"),
    [(4326, 0.00005, 0.002, 0.2), (32630, 10, 100, 0.2), (32631, 10, 100, 1e-4), (32631, 5, 100, 0.2)],
)
def test_radar_on_another_grid_lands_on_the_right_pixels(
    write: Write, epsg: int, pixel: float, margin: float, tolerance: float
) -> None:
    other = around(epsg, pixel, margin)
    if (epsg, pixel) == (32631, 10):  # the same pixels, a larger extent
        other = Grid(UTM31, Affine(10, 0, 599900, 0, -10, 5900140), 90, 110)
    path = write("s1.tif", on(other), crs=other.crs, transform=other.transform)
    with open_radar(path, GRID) as radar:
        top, top_valid = radar.read(0, 30)
        rest, rest_valid = radar.read(30, 50)
        assert radar.source.warped
        assert f"EPSG:{epsg}" in str(radar.warnings[0])
    values = np.concatenate([top, rest], axis=1)
    assert top_valid.all() and rest_valid.all()
    # Half a pixel of shift would move the pattern by up to 0.25 dB, a whole one by 0.5.
    assert np.abs(values - on(GRID)).max() < tolerance
    assert np.abs(values - on(GRID)).mean() < 0.03


def test_radar_on_a_south_up_grid(write: Write) -> None:
    other = Grid(UTM31, Affine(10, 0, 600000, 0, 10, 5900040 - 800), 60, 80)
    with open_radar(write("s1.tif", on(other), transform=other.transform), GRID) as radar:
        assert np.allclose(radar.read(0, 80)[0], on(GRID), atol=1e-4)


def test_scene_on_a_south_up_grid(write: Write) -> None:
    south_up = Grid(UTM31, Affine(10, 0, 600000, 0, 10, 5900040 - 800), 60, 80)
    with open_radar(write("s1.tif", on(GRID)), south_up) as radar:
        assert np.allclose(radar.read(0, 80)[0], on(south_up), atol=1e-4)


@pytest.mark.parametrize("border", [np.nan, 0, -9999])
def test_warping_does_not_smear_nodata(write: Write, border: float) -> None:
    other = around(32630, 10, 100)
    power = 10 ** (on(other) / 10)
    power[:, :, : other.width // 2] = border
    nodata = -9999 if border == -9999 else None
    path = write("s1.tif", power, crs=other.crs, transform=other.transform, nodata=nodata)
    with open_radar(path, GRID) as radar:
        values, valid = radar.read(0, 80)
    assert 0.3 < valid.mean() < 0.7
    assert np.abs(values - on(GRID))[:, valid].max() < 0.7


def test_partial_cover_is_told_and_leaves_the_rest_invalid(write: Write) -> None:
    db = backscatter()[:, :40]
    with open_radar(write("s1.tif", db), GRID) as radar:
        values, valid = radar.read(0, 80)
        assert str(radar.warnings[0]).startswith("Sentinel-1 covers 50 %".replace(" %", "%"))
    assert np.allclose(values[:, :40], db, atol=1e-4)
    assert not valid[40:].any() and np.isnan(values[:, 40:]).all()


@pytest.mark.parametrize("metres", [590, 100_000])
def test_other_ground_is_a_grid_mismatch(write: Write, metres: int) -> None:
    path = write("s1.tif", backscatter(), transform=Affine(10, 0, 600000 + metres, 0, -10, 5900040))
    with (
        pytest.raises(GridMismatchError, match=r"covers [01]\.[0-9]%.*EPSG:32631") as caught,
        open_radar(path, GRID),
    ):
        pass
    assert caught.value.exit_code == 4


def test_polarisations_by_description(write: Write) -> None:
    db = backscatter()
    angle = np.full((1, 80, 60), 38, dtype=np.float32)
    stack = np.concatenate([db[1:], angle, db[:1]])
    with open_radar(write("s1.tif", stack, descriptions=("Sigma0_VH", "angle", "vv (dB)")), GRID) as radar:
        assert np.array_equal(radar.read(0, 80)[0], db)
    with open_radar(write("s1.tif", stack, descriptions=("VH", "VV/VH", "VV")), GRID) as radar:
        assert np.array_equal(radar.read(0, 80)[0], db)


@pytest.mark.parametrize(
    ("count", "dtype", "descriptions", "message"),
    [
        (1, "float32", ("VV",), "1 bands.*--s1-vv"),
        (3, "float32", (None, None, None), "3 bands"),
        (2, "float32", ("HH", "HV"), "HH, HV"),
        (2, "complex64", (None, None), "complex"),
        (13, "uint16", (None,) * 13, "looks like Sentinel-2"),
    ],
)
def test_other_contents_are_refused(
    write: Write, count: int, dtype: str, descriptions: tuple[str | None, ...], message: str
) -> None:
    pixels = np.full((count, 80, 60), 5).astype(dtype)
    named = {"descriptions": descriptions} if any(descriptions) else {}
    with pytest.raises(RadiometryError, match=message), open_radar(write("s1.tif", pixels, **named), GRID):
        pass


def test_missing_crs_and_missing_file(write: Write, tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="no coordinate reference system"),
        open_radar(write("s1.tif", backscatter(), crs=None), GRID),
    ):
        pass
    with pytest.raises(InputError, match="Sentinel-1 scene"), open_radar(tmp_path / "absent.tif", GRID):
        pass


@pytest.mark.parametrize("zone", ["EPSG:32631", "EPSG:32632"])
def test_truncated_file_is_an_input_error(write: Write, zone: str) -> None:
    grid = Grid(CRS.from_string(zone), GRID.transform, 60, 80)
    path = write("s1.tif", backscatter(), crs=zone, transform=GRID.transform, interleave="band")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    shifted = Grid(grid.crs, Affine(10, 0, 600003, 0, -10, 5900037), 60, 80)
    for target in (grid, shifted):
        with pytest.raises(InputError, match=r"s1\.tif.*truncated"), open_radar(path, target) as radar:
            radar.read(0, 80)


def test_real_pairs(shared_data: Path) -> None:
    for folder in ("scenes/mamba_1868_19_p30", "triplets/glfcr_ROIs2017_winter_112_p797"):
        with (
            open_optical(shared_data / folder / "s2_cloudy.tif") as optical,
            open_radar(shared_data / folder / "s1.tif", optical.grid) as radar,
        ):
            db, valid = radar.read(0, 256)
        assert (radar.units, radar.source.warped) == ("db", False)
        assert valid.mean() > 0.98
        assert -12 < np.nanmean(db[0]) < -6 and -20 < np.nanmean(db[1]) < -13
