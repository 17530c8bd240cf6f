from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS

from cmcr_cli.errors import RadiometryError
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.radar import open_radar

if TYPE_CHECKING:
    from tests.support.rasters import Write

SIDE = 40
GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 600000, 0, -10, 5900040), SIDE, SIDE)
ANGLE = np.full((1, SIDE, SIDE), 38, np.float32)


def pair() -> NDArray[np.float32]:
    db = np.random.default_rng(2).normal(-11, 2, (2, SIDE, SIDE)).astype(np.float32)
    db[1] -= 7
    return db


def test_bands_without_names_are_told_apart_by_brightness(write: Write) -> None:
    with open_radar(write("s1.tif", pair()[::-1].copy()), GRID) as radar:
        assert np.array_equal(radar.read(0, SIDE)[0], pair())
        assert "it is taken as VV" in str(radar.warnings[-1])


def test_names_win_over_brightness(write: Write) -> None:
    swapped = pair()[::-1].copy()
    files = str(write("a.tif", swapped[0])), str(write("b.tif", swapped[1]))
    for path in (write("s1.tif", swapped, descriptions=("VV", "VH")), files):
        with open_radar(path, GRID) as radar:
            assert np.array_equal(radar.read(0, SIDE)[0], swapped)
            assert "may be swapped" in str(radar.warnings[-1])


@pytest.mark.parametrize(
    "names",
    [
        ("VV incidence angle", "VV", "VH"),
        ("VH_layover_shadow_mask", "Sigma0_VV_db", "Sigma0_VH_db"),
        ("VV/VH", "vv", "vh"),
        ("dataMask", "VV", "VH"),
        ("dataMask", None, None),
    ],
)
def test_layers_that_are_no_backscatter(write: Write, names: tuple[str | None, ...]) -> None:
    with open_radar(write("s1.tif", np.concatenate([ANGLE, pair()]), descriptions=names), GRID) as radar:
        assert np.array_equal(radar.read(0, SIDE)[0], pair())


def test_bands_of_several_dates_are_reported(write: Write) -> None:
    names = ("VV_20200101", "VH_20200101", "VV_20200113", "VH_20200113")
    with open_radar(write("s1.tif", np.concatenate([pair(), pair() + 3]), descriptions=names), GRID) as radar:
        assert np.array_equal(radar.read(0, SIDE)[0], pair())
        assert "bands 1, 3 are all VV; band 1 is used" in " ".join(map(str, radar.warnings))


@pytest.mark.parametrize(
    ("name", "names", "message"),
    [
        ("s1.tif", ("HH", "HV"), "polarisations HH and HV"),
        ("S1A_EW_GRDM_1SDH_20200101T060000.tif", None, "polarisations HH and HV"),
        ("s1.tif", ("VV", "angle"), "2 bands .VV, angle."),
    ],
)
def test_other_polarisations(write: Write, name: str, names: tuple[str, ...] | None, message: str) -> None:
    options = {} if names is None else {"descriptions": names}
    with pytest.raises(RadiometryError, match=message), open_radar(write(name, pair(), **options), GRID):
        pass


def test_one_band_twice(write: Write) -> None:
    with (
        pytest.raises(RadiometryError, match="the same values"),
        open_radar(write("s1.tif", np.stack([pair()[0]] * 2)), GRID),
    ):
        pass
