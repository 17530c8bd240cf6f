"""Signs of a wrong scale or offset, which no tag contradicts."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from cmcr_cli.errors import RadiometryError
from cmcr_cli.scene.bands import BANDS, L2A_BANDS
from cmcr_cli.scene.layers.brightness import check_offset, check_range
from cmcr_cli.scene.radiometry import Radiometry
from cmcr_cli.simulate.write import simulate_window

SIDE = 192


@pytest.fixture(scope="module")
def level1() -> NDArray[np.uint16]:
    """DN of a simulated scene with clouds, Level-1C (13, n)."""
    image = simulate_window(3, 0, 0, SIDE, SIDE, 0.3).cloudy
    return np.rint(image.reshape(13, -1) * 10_000).clip(1).astype(np.uint16)


@pytest.fixture(scope="module")
def level2(level1: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """The same without the light of the air, Level-2A (12, n)."""
    air = np.array([1050, 710, 400, 230, 200, 160, 130, 120, 80, 30, 10, 10, 10])[:, None]
    ground = np.maximum(level1.astype(int) - air, 1)
    ground[9] = ground[8]  # nor the water vapour in it
    return np.delete(ground, 10, axis=0).astype(np.uint16)


def told(dn: NDArray[np.uint16], names: tuple[str, ...]) -> str:
    return " ".join(map(str, check_range(dn, Radiometry(), names, "s2.tif", "State it")))


def times(dn: NDArray[np.uint16], factor: float, *, cut: bool = False) -> NDArray[np.uint16]:
    return np.asarray(np.floor(dn * factor) if cut else np.rint(dn * factor), np.uint16)


def test_nothing_is_odd_about_a_scene(level1: NDArray[np.uint16], level2: NDArray[np.uint16]) -> None:
    assert told(level1, BANDS) == told(level2, L2A_BANDS) == ""


@pytest.mark.parametrize("factor", [0.5, 0.4096, 0.4])
def test_level_1_that_is_too_dark(level1: NDArray[np.uint16], factor: float) -> None:
    """The air alone is brighter, however the DN were rounded."""
    for cut in (False, True):
        text = told(times(level1, factor, cut=cut), BANDS)
        assert re.search(r"B01 is 0\.0[4-6]\d where it is darkest.*x 10000\. State it", text)


@pytest.mark.parametrize("factor", [0.5, 0.8])
def test_dn_that_were_multiplied_leave_a_comb(level1: NDArray[np.uint16], factor: float) -> None:
    """Even where haze hides the darkness."""
    hazy = level1 + np.uint16(1500)
    assert told(hazy, BANDS) == ""
    assert "some DN are regularly more frequent" in told(times(hazy, factor), BANDS)


def test_plants_that_are_too_dark(level2: NDArray[np.uint16]) -> None:
    """And not where there are hardly any, as in a town or on water."""
    names = ("B02", "B03", "B04", "B08")
    green = np.minimum(level2[[L2A_BANDS.index(name) for name in names]], 900)
    green[3] = np.linspace(1800, 4000, green.shape[1])
    green[2] = green[3] // 4
    assert told(green, names) == ""
    assert re.search(r"B08 hardly exceeds 0\.199, though plants are on 100%", told(times(green, 0.5), names))
    green[2] = green[3] // 2
    assert told(times(green, 0.5), names) == ""


def test_offsets_left_in_and_taken_off_twice(level1: NDArray[np.uint16], level2: NDArray[np.uint16]) -> None:
    for dn, names in ((level1, BANDS), (level2, L2A_BANDS)):
        shown = dn.astype(np.float32) / 10_000
        assert check_offset(shown, names, 0.0) is None and check_offset(shown, names, -0.1) is None
        likely, _ = check_offset(shown + np.float32(0.1), names, 0.1) or (None, None)
        assert likely == 0, "an offset of the wrong sign"
        likely, sign = check_offset(shown + np.float32(0.1), names, 0.0) or (None, None)
        assert likely == -0.1 and "hardly a pixel is below 0.1" in str(sign)
    likely, sign = check_offset(level2.astype(np.float32) / 10_000 - np.float32(0.1), L2A_BANDS, -0.1) or (
        1,
        1,
    )
    assert likely == 0 and "of the pixels are below 0 in the visible bands" in str(sign)


def test_an_offset_shows_though_the_darkest_band_is_below_it(level2: NDArray[np.uint16]) -> None:
    """As in real Level-2A, where B01 is negative above dark ground."""
    shown = level2.astype(np.float32) / 10_000 + np.float32(0.1)
    shown[:1, ::20] -= np.float32(0.05)
    found = check_offset(shown, L2A_BANDS, 0.0)
    assert shown.min() < 0.09 and found is not None and found[0] == -0.1


def test_a_cure_for_each_caller(level1: NDArray[np.uint16]) -> None:
    bright = np.minimum(level1.astype(int) * 7, 65_535).astype(np.uint16)
    with pytest.raises(RadiometryError, match=r"s2\.tif: .* 2\.4 at most\. Do that\."):
        check_range(bright, Radiometry(), BANDS, "s2.tif", "Do that")


def test_an_offset_taken_off_twice_over_bright_ground(level1: NDArray[np.uint16]) -> None:
    """B10 is below 0, else B01 is darker than the air; B09 beside B8A tells that there is air where B10 was
    left out."""
    bright = (level1.astype(np.float32) / 10_000).clip(0.09)
    bright[BANDS.index("B10")] = 0.002
    for names, sign in ((BANDS, "B10 is -0.098"), (L2A_BANDS, "B01 is -0.0")):
        shown = np.stack([bright[BANDS.index(name)] for name in names]) - np.float32(0.1)
        likely, told = check_offset(shown, names, -0.1) or (1, "")
        assert likely == 0 and sign in str(told)
        assert check_offset(shown + np.float32(0.1), names, -0.1) is None


def test_any_band_far_below_0(level2: NDArray[np.uint16]) -> None:
    shown = level2.astype(np.float32) / 10_000 + np.float32(0.05)
    shown[L2A_BANDS.index("B12"), ::50] = -0.05
    likely, told = check_offset(shown, L2A_BANDS, -0.1) or (1, "")
    assert likely == 0 and "2% of the pixels are below -0.04 in a band" in str(told)
