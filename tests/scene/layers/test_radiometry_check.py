"""Whether pixels can be what bands, units and nodata say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from cmcr_cli.errors import InputError, RadiometryError
from cmcr_cli.scene.bands import BANDS, L2A_BANDS
from cmcr_cli.scene.layers.radiometry_check import check_radiometry
from cmcr_cli.scene.optical import open_optical

if TYPE_CHECKING:
    from tests.support.rasters import Write


def dn(bands: int = 13, size: int = 40, low: int = 200, high: int = 4000) -> NDArray[np.uint16]:
    return np.random.default_rng(bands).integers(low, high, (bands, size, size)).astype(np.uint16)


def test_check_radiometry_passes_a_plain_scene(write: Write) -> None:
    with open_optical(write("s2.tif", dn())) as optical:
        assert check_radiometry(optical) == ()


def test_check_radiometry_refuses_absurd_means(write: Write) -> None:
    bright = write("bright.tif", dn(low=30000, high=60000))
    with open_optical(bright) as optical, pytest.raises(RadiometryError, match=r"4\.5.*--offset"):
        check_radiometry(optical)
    dark = write("dark.tif", dn(low=1, high=200))
    with (
        open_optical(dark, offset=-1000) as optical,
        pytest.raises(RadiometryError, match=r"-0\.09.*--offset"),
    ):
        check_radiometry(optical)


def test_check_radiometry_suspects_an_offset_left_in(write: Write) -> None:
    path = write("s2.tif", dn(12, low=1050, high=4000))
    with open_optical(path) as optical:
        assert "--offset -1000" in str(check_radiometry(optical)[0])
    with open_optical(path, offset=-1000) as optical:
        assert check_radiometry(optical) == ()


def test_check_radiometry_finds_the_few_valid_pixels(write: Write) -> None:
    pixels = np.zeros((12, 2000, 130), dtype=np.uint16)
    path = write("s2.tif", pixels, compress="deflate")
    with open_optical(path) as optical, pytest.raises(InputError, match="every pixel is nodata"):
        check_radiometry(optical)
    pixels[:, 200, 7] = 900
    with open_optical(write("s2.tif", pixels, compress="deflate")) as optical:
        assert check_radiometry(optical) == ()


def test_real_scenes(shared_data: Path) -> None:
    with open_optical(shared_data / "scenes" / "thailand_199U_1099R_L2A_12band.tif") as optical:
        assert (optical.level, optical.names) == ("L2A", L2A_BANDS)
        assert optical.valid(optical.read(500, 100)).all()
        assert check_radiometry(optical) == ()
    for folder in ("scenes/mamba_1868_19_p30", "triplets/glfcr_ROIs2017_winter_112_p797"):
        with open_optical(shared_data / folder / "s2_cloudy.tif") as optical:
            assert (optical.level, optical.names) == ("L1C", BANDS)
            assert check_radiometry(optical) == ()
    with (
        pytest.raises(InputError, match="no coordinate reference system"),
        open_optical(shared_data / "triplets" / "oriolac_00581" / "s2_cloudy.tif"),
    ):
        pass


@pytest.mark.parametrize("value", [1, 255, 2000])
def test_one_value_in_all_bands(write: Write, value: int) -> None:
    """Which no ground has: a mark of nodata that nothing states."""
    pixels = dn(12)
    pixels[:, :4] = value
    with open_optical(write("s2.tif", pixels)) as optical:
        assert f"10.0% of the pixels hold {value} in all bands" in " ".join(
            map(str, check_radiometry(optical))
        )


def test_dn_that_were_cut_off(write: Write) -> None:
    with open_optical(write("s2.tif", dn(12).clip(0, 3500))) as optical:
        assert "12 bands end at DN 3500" in " ".join(map(str, check_radiometry(optical)))


def test_a_scale_by_option_is_doubted_but_not_refused(write: Write) -> None:
    path = write("s2.tif", dn(12))
    for scale, text in ((0.0002, "--scale 0.0002 is used, but the DN look like reflectance x 10000"),
                        (0.0007, r"above .* Check --scale 0.0007")):  # fmt: skip
        with open_optical(path, scale=scale) as optical:
            assert re.search(text, " ".join(map(str, check_radiometry(optical))))
    with open_optical(write("wide.tif", dn(12, low=3000, high=60000)), scale=1 / 65535) as optical:
        assert check_radiometry(optical) == ()
