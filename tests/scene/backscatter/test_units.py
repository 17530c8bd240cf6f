"""Values of Sentinel-1 files of many tools: right units, or a refusal or warning that says what is odd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS

from cmcr_cli.errors import InputError, RadiometryError
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.radar import Radar, open_radar

if TYPE_CHECKING:
    from tests.support.rasters import Write

SIDE = 64
GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 600000, 0, -10, 5900040), SIDE, SIDE)
WEDGE = np.zeros((SIDE, SIDE), np.bool_)
WEDGE[:, :16] = True
Floats = NDArray[np.float32]


def decibel() -> Floats:
    db = np.random.default_rng(2).normal(-11, 2, (2, SIDE, SIDE)).astype(np.float32)
    db[1] -= 7
    return db


def power() -> Floats:
    return np.asarray(10 ** (decibel() / 10), np.float32)


def said(radar: Radar) -> str:
    return " | ".join(map(str, radar.warnings))


@pytest.mark.parametrize("bad", [-9999, -32768, -99, -50, np.finfo(np.float32).min])
def test_marks_in_db_that_no_tag_names(write: Write, bad: float) -> None:
    db = decibel()
    db[:, WEDGE] = bad
    with open_radar(write("s1.tif", db), GRID) as radar:
        values, valid = radar.read(0, SIDE)
        assert "25.0% of the pixels of VV hold" in said(radar)
    assert np.array_equal(valid, ~WEDGE) and np.array_equal(values[:, valid], db[:, valid])


@pytest.mark.parametrize("bad", [1e-7, 1e-5, -9999, 0, np.nan])
def test_marks_in_power(write: Write, bad: float) -> None:
    linear = power()
    linear[:, WEDGE] = bad
    with open_radar(write("s1.tif", linear), GRID) as radar:
        values, valid = radar.read(0, SIDE)
        assert radar.units == "linear" and ("25.0%" in said(radar)) == (bad not in (0, np.nan))
    assert np.array_equal(valid, ~WEDGE)
    assert np.allclose(values[:, valid], decibel()[:, valid], atol=1e-4)


@pytest.mark.parametrize(("bad", "nodata"), [(-9999, None), (-50, None), (0, -9999)])
def test_marks_do_not_bleed_into_their_neighbours(write: Write, bad: float, nodata: float | None) -> None:
    values = np.random.default_rng(3).normal(-10, 0.01, (2, SIDE, SIDE)).astype(np.float32)
    values = values if bad else np.asarray(10 ** (values / 10), np.float32)
    values[:, WEDGE] = bad
    moved = Grid(GRID.crs, Affine(10, 0, 600014, 0, -10, 5900026), SIDE - 4, SIDE - 4)
    with open_radar(write("s1.tif", values, nodata=nodata), moved) as radar:
        db, valid = radar.read(0, moved.height)
    assert 0.7 < valid.mean() < 0.85 and np.abs(db[:, valid] + 10).max() < 0.2


def test_nodata_of_two_files_and_a_mask(write: Write) -> None:
    linear = power()
    linear[0, WEDGE], linear[1, WEDGE] = -32768, -9999
    pair = str(write("vv.tif", linear[0], nodata=-32768)), str(write("vh.tif", linear[1], nodata=-9999))
    path = write("s1.tif", decibel())
    with rasterio.open(path, "r+") as file:
        file.write_mask(~WEDGE)
    for given in (pair, path):
        with open_radar(given, GRID) as radar:
            values, valid = radar.read(0, SIDE)
        assert np.array_equal(valid, ~WEDGE)
        assert np.allclose(values[:, valid], decibel()[:, valid], atol=1e-4)


@pytest.mark.parametrize("which", [0, 1])
def test_bands_that_contradict_each_other(write: Write, which: int) -> None:
    db = decibel()
    db[which] = power()[which]
    with pytest.raises(RadiometryError, match="one of dB and one"), open_radar(write("s1.tif", db), GRID):
        pass


def test_one_band_without_a_measurement(write: Write) -> None:
    linear = power()
    linear[1] = 0
    with (
        pytest.raises(InputError, match="no pixel over the scene"),
        open_radar(write("s1.tif", linear), GRID),
    ):
        pass


@pytest.mark.parametrize(("low", "high"), [(1, 9), (20, 900)])
def test_digital_numbers_are_refused(write: Write, low: int, high: int) -> None:
    dn = np.random.default_rng(0).integers(low, high, (2, SIDE, SIDE)).astype(np.uint16)
    with pytest.raises(RadiometryError, match="digital numbers"), open_radar(write("s1.tif", dn), GRID):
        pass


def test_amplitude_by_name_and_by_value(write: Write) -> None:
    amplitude = np.sqrt(power())
    name = "S1A_IW_20180128T161201_DVP_RTC30_G_gauned_FD6A_{}.tif"
    pair = [str(write(name.format(pol), band)) for pol, band in zip(("VV", "VH"), amplitude, strict=True)]
    with open_radar((pair[0], pair[1]), GRID) as radar:
        assert "amplitude, which is squared" in said(radar)
        assert np.allclose(radar.read(0, SIDE)[0], decibel(), atol=1e-3)
    with open_radar(write("s1.tif", amplitude), GRID) as radar:
        assert "if the values are amplitude" in said(radar)


@pytest.mark.parametrize("values", [-power(), decibel() * 0.05])
def test_values_brighter_than_any_ground_are_reported(write: Write, values: Any) -> None:
    with open_radar(write("s1.tif", values), GRID) as radar:
        assert "higher than of any ground" in said(radar)


@pytest.mark.parametrize(
    ("factor", "text"), [(0.2303, "higher than of any ground"), (2, "lower than of any ground or water")]
)
def test_other_logarithms_than_decibel(write: Write, factor: float, text: str) -> None:
    """The natural one, and 20 log10 of power."""
    with open_radar(write("s1.tif", np.asarray(decibel() * factor, np.float32)), GRID) as radar:
        assert text in said(radar) and "10 log10" in said(radar)


@pytest.mark.parametrize("bad", [-30, 1e-30, -12])
def test_one_value_in_both_bands(write: Write, bad: float) -> None:
    """Which no mark is, as it is not low."""
    db = decibel()
    db[:, WEDGE] = bad
    with open_radar(write("s1.tif", db), GRID) as radar:
        assert f"25.0% of the pixels hold {bad:g} in VV and VH" in said(radar)
