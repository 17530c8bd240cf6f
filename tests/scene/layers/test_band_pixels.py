from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.layers.band_pixels import are_alike, looks_like_codes, misfits
from cmcr_cli.simulate.write import simulate_window


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.float64]:
    """Reflectance (13, n) of a simulated scene."""
    return simulate_window(7, 0, 0, 96, 96, 0.3).cloudy.reshape(13, -1).astype(np.float64)


def test_bands_in_their_order_fit(pixels: NDArray[np.float64]) -> None:
    assert misfits(pixels, BANDS) == []


@pytest.mark.parametrize(("one", "other"), [("B02", "B08"), ("B10", "B03"), ("B01", "B12")])
def test_bands_in_the_place_of_others_do_not(pixels: NDArray[np.float64], one: str, other: str) -> None:
    order = list(range(13))
    first, second = BANDS.index(one), BANDS.index(other)
    order[first], order[second] = second, first
    assert misfits(pixels[order], BANDS)


def test_too_few_pixels_and_noise_tell_nothing(pixels: NDArray[np.float64]) -> None:
    assert misfits(pixels[::-1, :200], BANDS) == []
    noise = np.random.default_rng(0).random((13, 1000))
    assert not are_alike(noise) and misfits(noise, BANDS) == []
    assert are_alike(pixels) and not are_alike(pixels[:1])


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ([0, 1], True), ([0, 255], True), ([0, 65535], True), (range(12), True), ([3.0], True),
        ([7000.0], False), ([0, 1, 300], False), (range(13), False), ([0.5, 1], False), ([-1, 1], False),
        ([np.nan], False), ([], False),
    ],
)  # fmt: skip
def test_flags_and_classes(values: list[float], codes: bool) -> None:
    assert looks_like_codes(np.array(values, np.float64).repeat(50)) is codes
