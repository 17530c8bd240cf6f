from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmcr_cli.scene.radiometry import Radiometry, decibels, measured, scaled_radar


@given(dn=st.integers(0, 60000), offset=st.sampled_from([0, -1000]))
def test_dn_survives_reflectance_and_back(dn: int, offset: int) -> None:
    radiometry = Radiometry(offset=offset)
    stored = np.array([dn], dtype=np.uint16)
    assert radiometry.dn(radiometry.reflectance(stored), np.dtype("uint16"), None) == stored


REFLECTANCES = st.floats(-(2.0**99), 2.0**99, width=32)
STORED = st.sampled_from([("uint16", 0, 65_535), ("int16", -32_768, 32_767)])


@given(values=st.lists(REFLECTANCES, min_size=1), stored=STORED, data=st.data())
def test_dn_are_what_the_dtype_holds_and_never_nodata(
    values: list[float], stored: tuple[str, int, int], data: st.DataObject
) -> None:
    """Whatever the network draws and whichever value means nodata; at most a DN beside it is lost."""
    dtype, low, high = stored
    nodata = data.draw(st.one_of(st.none(), st.integers(low, high)))
    radiometry = Radiometry(offset=data.draw(st.sampled_from([0, -1000])))
    dn = radiometry.dn(np.array(values, np.float32), np.dtype(dtype), nodata)
    assert dn.dtype == dtype and not (dn == nodata).any()
    wanted = np.clip(np.array(values, np.float32) * np.float32(10_000) - radiometry.offset, low, high)
    assert (np.abs(dn - wanted) <= 1.5).all()


def test_dn_clips_and_keeps_off_nodata() -> None:
    reflectance = np.array([-0.2, 0.0, 0.5, 9.0], dtype=np.float32)
    assert Radiometry().dn(reflectance, np.dtype("uint16"), 0).tolist() == [1, 1, 5000, 65535]
    assert Radiometry(-1000).dn(reflectance, np.dtype("int16"), 32767).tolist() == [-1000, 1000, 6000, 32766]


@given(db=st.lists(st.floats(-60, 20, width=32), min_size=1))
def test_decibels_come_back_from_power(db: list[float]) -> None:
    values = np.array(db, np.float32)
    assert np.allclose(decibels(10 ** (values / 10)), values, atol=1e-4)


def test_decibels_and_scaling_of_radar() -> None:
    db = decibels(np.array([1.0, 0.1, 0.0, -1.0], dtype=np.float32))
    assert db[:2] == pytest.approx([0, -10]) and np.isnan(db[2:]).all()
    scaled = scaled_radar(np.array([[-25, -12.5, 0, 3], [-40, -16.25, 0, np.nan]], dtype=np.float32))
    assert scaled.tolist() == [[-1, 0, 1, 1], [-1, 0, 1, -1]]


@pytest.mark.parametrize("empty", [0, 7])
def test_a_measurement_is_any_band_but_b10_that_is_not_empty(empty: int) -> None:
    names = ("B04", "B10", "B11")
    dn = np.full((3, 1, 4), empty, np.uint16)
    dn[0, 0, 1] = dn[1, 0, 2] = dn[2, 0, 3] = 9
    expected = [[False, True, False, True]]
    assert measured(dn, names, empty).tolist() == expected
