from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cmcr_cli.scene.bands import BANDS
from cmcr_cli.training.samples.mask_ground import (
    B10,
    Array,
    Noise,
    as_desert,
    haze,
    varied,
    with_relief,
    with_roofs,
    with_snow,
    with_water,
)

SIDE = 64
BLUE, GREEN, INFRARED, SHORTWAVE = (BANDS.index(name) for name in ("B02", "B03", "B08", "B11"))
Change = Callable[[Array, np.random.Generator], Array]

noise = Noise()


@pytest.fixture
def fields() -> Array:
    """Vegetation with some texture."""
    spectrum = [0.11, 0.09, 0.08, 0.06, 0.11, 0.24, 0.3, 0.31, 0.33, 0.1, 0.001, 0.18, 0.09]
    texture = 1 + 0.1 * np.random.default_rng(0).standard_normal((SIDE, SIDE))
    return np.asarray(np.multiply.outer(spectrum, texture), np.float32)


CHANGES: dict[str, Change] = {
    "relief": lambda x, rng: with_relief(x, noise, rng),
    "desert": lambda x, rng: as_desert(x, noise, rng),
    "snow": lambda x, rng: with_snow(x, noise, rng),
    "water": lambda x, rng: with_water(x, noise, rng),
    "roofs": with_roofs,
    "any": lambda x, rng: varied(x, noise, rng),
}


@pytest.mark.parametrize("name", CHANGES)
def test_other_ground_is_ground(name: str, fields: Array) -> None:
    given = fields.copy()
    changed = [CHANGES[name](fields, np.random.default_rng(seed)) for seed in range(12)]
    assert np.array_equal(fields, given)
    assert all(x.shape == fields.shape and x.dtype == np.float32 for x in changed)
    assert all(np.isfinite(x).all() and x.min() > -0.01 and x.max() < 2.5 for x in changed)
    # Ground does not show in B10: the highest snow a little.
    assert max(float(x[B10].max()) for x in changed) < 0.04
    assert any(np.abs(x - fields).max() > 0.05 for x in changed)
    again = CHANGES[name](fields, np.random.default_rng(3))
    assert np.array_equal(again, changed[3])


def test_noise_is_smooth_with_mean_0_and_deviation_1() -> None:
    rough, smooth = (noise.draw(np.random.default_rng(1), 128, scale, scale) for scale in (1.5, 40))
    for field in (rough, smooth):
        assert abs(field.mean()) < 1e-4 and field.std() == pytest.approx(1, abs=1e-3)
    assert np.abs(np.diff(rough)).mean() > 5 * np.abs(np.diff(smooth)).mean()


def test_snow_is_bright_and_dark_in_the_shortwave(fields: Array) -> None:
    for seed in range(20):
        snowy = with_snow(fields, noise, np.random.default_rng(seed))
        there = snowy[BLUE] > 0.5
        if there.sum() > 100:
            index = (snowy[GREEN] - snowy[SHORTWAVE]) / (snowy[GREEN] + snowy[SHORTWAVE])
            assert index[there].mean() > 0.4
            return
    pytest.fail("no snow in twenty images")


def test_water_is_dark_in_the_infrared(fields: Array) -> None:
    flooded = [with_water(fields, noise, np.random.default_rng(seed)) for seed in range(8)]
    assert min(float(np.percentile(x[INFRARED], 2)) for x in flooded) < 0.05


def test_haze_falls_with_the_wavelength() -> None:
    assert haze(2.0)[BLUE] == pytest.approx(1)
    assert (np.diff(haze(2.0)[:, 0, 0]) < 0).all()
