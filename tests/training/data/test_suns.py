from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from cmcr_cli.training.data.suns import latitude_of, sun_over, suns_of_raster, suns_of_series

ALPS = Affine(10, 0, 600_000, 0, -10, 5_200_000)  # 47 degrees north in zone 32


def image(folder: Path, crs: str | None = "EPSG:32632") -> Path:
    folder.mkdir()
    path = folder / "s2_cloudy.tif"
    place: dict[str, Any] = {} if crs is None else {"crs": crs, "transform": ALPS}
    with rasterio.open(path, "w", driver="GTiff", width=8, height=8, count=1, dtype="uint8", **place) as file:
        file.write(np.ones((1, 8, 8), np.uint8))
    return path


@pytest.mark.parametrize(("season", "middle"), [("summer", 7), ("winter", 1), ("spring", 4), ("fall", 10)])
def test_season_and_place_give_three_suns(tmp_path: Path, season: str, middle: int) -> None:
    suns = suns_of_raster(image(tmp_path / f"ROIs1868_{season}_s2_100_p840"))
    assert len(suns) == 3
    known = sun_over(46.95, date(2018, middle, 15))
    assert known is not None
    assert (suns[1].azimuth, suns[1].elevation) == pytest.approx((known.azimuth, known.elevation), abs=0.1)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_images_without_season_or_place_have_none(tmp_path: Path) -> None:
    assert suns_of_raster(image(tmp_path / "oriolac_00316")) == ()
    assert suns_of_raster(image(tmp_path / "ROIs1868_summer_s2_100_p840", crs=None)) == ()


def series(tmp_path: Path, **arrays: Any) -> Any:
    np.savez(tmp_path / "series.npz", **arrays)
    return np.load(tmp_path / "series.npz", allow_pickle=False)


def test_days_of_a_series(tmp_path: Path) -> None:
    place = {"crs": np.array("EPSG:32632"), "transform": np.array(ALPS[:6])}
    days = np.array(["2020-07-15", "20201215", "08May", "?"])
    summer, winter, month, unknown = suns_of_series(series(tmp_path, s2_dates=days, **place), 4, 8, 8)
    assert summer[0].elevation > 55 and winter[0].elevation < 25
    assert month == unknown == ()


@pytest.mark.parametrize("lacking", ["s2_dates", "crs", "transform"])
def test_a_series_without_days_or_place(tmp_path: Path, lacking: str) -> None:
    arrays = {
        "s2_dates": np.array(["2020-07-15"] * 2),
        "crs": np.array("EPSG:32632"),
        "transform": np.array(ALPS[:6]),
    }
    del arrays[lacking]
    assert suns_of_series(series(tmp_path, **arrays), 2, 8, 8) == [(), ()]


def test_places_of_their_own_are_not_guessed(tmp_path: Path) -> None:
    arrays = {
        "s2_dates": np.array(["2020-07-15"] * 2),
        "crs": np.array("EPSG:32632"),
        "transform": np.tile(ALPS[:6], (2, 1)),
    }
    assert suns_of_series(series(tmp_path, **arrays), 2, 8, 8) == [(), ()]


@pytest.mark.parametrize(
    ("latitude", "day", "stated"),
    [
        (52.8, date(2022, 10, 5), (172.8, 32.2)),  # T29UNU
        (27.5, date(2021, 9, 8), (143.0, 63.5)),  # T46RER
        (66.4, date(2023, 6, 25), (174.7, 47.1)),  # T01WCP
    ],
)
def test_the_sun_of_real_products_follows_from_day_and_latitude(
    latitude: float, day: date, stated: tuple[float, float]
) -> None:
    sun = sun_over(latitude, day)
    assert sun is not None
    assert (sun.azimuth, sun.elevation) == pytest.approx(stated, abs=5)


def test_the_sun_over_the_year_and_the_globe() -> None:
    june, december = date(2020, 6, 21), date(2020, 12, 21)
    over = {(lat, day): sun_over(lat, day) for lat in (-90, -45, 0, 45, 90) for day in (june, december)}
    north, south = over[45, june], over[-45, december]
    assert north is not None and south is not None
    assert 90 < north.azimuth < 180 and 0 < south.azimuth < 90  # before noon
    assert over[90, december] is None and over[-90, june] is None  # polar night
    assert all(sun is None or 0 < sun.elevation < 90 for sun in over.values())


def test_latitude_of_points_on_maps() -> None:
    assert latitude_of("EPSG:32631", 500_000, 0) == pytest.approx(0, abs=1e-6)
    assert latitude_of("EPSG:4326", 10, 47.5) == pytest.approx(47.5)
    assert latitude_of("EPSG:32631", 1e30, 1e30) is None
    assert latitude_of('LOCAL_CS["of an engineer",UNIT["metre",1]]', 0, 0) is None
