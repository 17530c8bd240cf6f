from __future__ import annotations

import numpy as np
import pytest

from cmcr_cli.errors import RadiometryError
from cmcr_cli.scene.bands import band_at, band_name, canonical, check_names, present


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
        ("red", "B04"),
        ("B8A_20m", "B8A"),
        ("B2-490nm", "B02"),
        ("red_edge_2", "B06"),
        ("Sentinel-2 narrow NIR", "B8A"),
        ("0.842 um", "B08"),
        ("482 nm", None),  # Landsat's blue
        ("B5 (nir)", None),  # Landsat's
        ("B8, 665 nm", None),
        ("rededge", None),
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


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("B02", "B03", "B04", "nir"), "nir"),
        (("B02", "B03", "B04", "B08", "B08"), "duplicate"),
        (("B02", "B03", "B04"), "at least"),
    ],
)
def test_check_names_says_what_is_wrong(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(RadiometryError, match=message):
        check_names(names, "s2.tif")


def test_canonical_spreads_and_marks_absent_bands() -> None:
    names = ("B04", "B8A")
    values = np.stack([np.full((2, 3), 0.4), np.full((2, 3), 0.8)]).astype(np.float32)
    out = canonical(values, names)
    assert out.shape == (13, 2, 3)
    assert (out[3] == np.float32(0.4)).all() and (out[8] == np.float32(0.8)).all()
    assert np.count_nonzero(out) == values.size
    assert np.flatnonzero(present(names)).tolist() == [3, 8]


def test_bands_by_wavelength() -> None:
    assert [band_at(nm) for nm in (443, 492.4, 864, 945.1, 1375, 2202.4)] == [
        "B01",
        "B02",
        "B8A",
        "B09",
        "B10",
        "B12",
    ]
    assert band_at(655) is None
