from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmcr_cli.errors import RadiometryError
from cmcr_cli.scene.bands import (
    BANDS,
    L2A_BANDS,
    Radiometry,
    band_name,
    canonical,
    check_names,
    decibels,
    described_names,
    present,
    scaled_radar,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("B4", "B04"),
        ("b04", "B04"),
        ("B04 (red)", "B04"),
        ("B4, central wavelength 665 nm", "B04"),
        ("band 8A", "B8A"),
        ("Band_8a", "B8A"),
        ("B08A", "B8A"),
        ("B8", "B08"),
        ("S2_B11", "B11"),
        ("B05_20m", "B05"),
        ("T31UFT_20200101_B12", "B12"),
        ("B1", "B01"),
        ("B10", "B10"),
        ("red", None),
        ("B13", None),
        ("B0", None),
        ("SCL", None),
        ("Rib4", None),
        ("B123", None),
        ("", None),
    ],
)
def test_band_name(text: str, name: str | None) -> None:
    assert band_name(text) == name


def test_descriptions_that_only_count_name_nothing() -> None:
    assert described_names(tuple(f"Band {i}" for i in range(1, 14)), "x") is None
    assert described_names(tuple(f"B{i}" for i in range(1, 13)), "x") is None
    assert described_names((None,) * 13, "x") is None
    assert described_names(("B1", "B2", "B3", "B4"), "x") == ("B01", "B02", "B03", "B04")


def test_descriptions_in_another_order() -> None:
    assert described_names(tuple(reversed(BANDS)), "x") == tuple(reversed(BANDS))


def test_bands_half_named_are_refused() -> None:
    with pytest.raises(RadiometryError, match=r"s2\.tif.*12 of 13.*'SCL'.*--bands"):
        described_names((*L2A_BANDS, "SCL"), "s2.tif")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("B02", "B03", "B04", "nir"), "nir"),
        (("B02", "B03", "B04", "B08", "B08"), "twice"),
        (("B02", "B03", "B04"), "at least"),
    ],
)
def test_check_names_says_what_is_wrong(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(RadiometryError, match=message):
        check_names(names, "s2.tif")


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


def test_canonical_spreads_and_marks_absent_bands() -> None:
    names = ("B04", "B8A")
    values = np.stack([np.full((2, 3), 0.4), np.full((2, 3), 0.8)]).astype(np.float32)
    out = canonical(values, names)
    assert out.shape == (13, 2, 3)
    assert (out[3] == np.float32(0.4)).all() and (out[8] == np.float32(0.8)).all()
    assert np.count_nonzero(out) == values.size
    assert np.flatnonzero(present(names)).tolist() == [3, 8]


@given(db=st.lists(st.floats(-60, 20, width=32), min_size=1))
def test_decibels_come_back_from_power(db: list[float]) -> None:
    values = np.array(db, np.float32)
    assert np.allclose(decibels(10 ** (values / 10)), values, atol=1e-4)


def test_decibels_and_scaling_of_radar() -> None:
    db = decibels(np.array([1.0, 0.1, 0.0, -1.0], dtype=np.float32))
    assert db[:2] == pytest.approx([0, -10]) and np.isnan(db[2:]).all()
    scaled = scaled_radar(np.array([[-25, -12.5, 0, 3], [-40, -16.25, 0, np.nan]], dtype=np.float32))
    assert scaled.tolist() == [[-1, 0, 1, 1], [-1, 0, 1, -1]]
