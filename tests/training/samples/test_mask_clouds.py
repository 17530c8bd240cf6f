from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cmcr_cli.scene.bands import BANDS
from cmcr_cli.training.data.images import Pair, opacity
from cmcr_cli.training.samples.mask_clouds import CloudLayer, Clouds, fitted, in_shadow, turned
from cmcr_cli.training.samples.mask_ground import B10, Array, Noise
from cmcr_cli.training.samples.synthesis import dihedral

SIDE = 96
BLUE = BANDS.index("B02")


@pytest.fixture(autouse=True)
def two_skies(monkeypatch: pytest.MonkeyPatch) -> None:
    """To draw a sky takes long."""
    monkeypatch.setattr("cmcr_cli.training.samples.mask_clouds.SKIES", 2)


@pytest.fixture(scope="module")
def pair() -> Pair:
    """A round opaque cloud over even ground."""
    y, x = np.ogrid[-100:100, -100:100]
    cloud = (np.hypot(y + 40, x - 20) < 30).astype(np.float32)
    clear = np.full((13, 200, 200), 0.1, np.float32)
    cloudy = clear + cloud * np.float32(0.6)
    return Pair(cloudy, clear, opacity(cloudy, clear), None)


@pytest.fixture(scope="module")
def clouds(pair: Pair) -> Clouds:
    return Clouds([pair], Noise())


def layers(clouds: Clouds) -> list[CloudLayer]:
    made = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        made += [clouds.real(SIDE, rng), clouds.procedural(SIDE, rng), clouds.deck(SIDE, rng)]
        made.append(clouds.haze(SIDE, rng)[0])
    return made


def test_layers_are_light_that_hides_the_ground(clouds: Clouds) -> None:
    for layer in layers(clouds):
        assert layer.light.shape == (13, SIDE, SIDE) and layer.opacity.shape == (SIDE, SIDE)
        assert layer.light.min() > -0.05 and layer.light.max() < 1.6
        assert layer.opacity.min() >= 0 and layer.opacity.max() <= 1.001
        assert layer.gain.min() >= 0 and layer.gain.max() <= 1.01
        if layer.opacity.std() > 0.05:
            assert np.corrcoef(layer.opacity.ravel(), layer.light[BLUE].ravel())[0, 1] > 0.5


def test_a_real_cloud_over_its_own_ground_is_what_was_seen(clouds: Clouds, pair: Pair) -> None:
    layer = clouds.real(100, np.random.default_rng(5))
    seen = 0.1 * layer.gain + layer.light
    core = layer.opacity > 0.95
    assert core.any()
    np.testing.assert_allclose(seen[:, core], 0.7, atol=0.05)
    far = (layer.opacity == 0) & (layer.light[BLUE] < 1e-6)
    np.testing.assert_allclose(seen[:, far], 0.1, atol=0.01)


def matching(cloud: Array, shadow: Array, row: float, column: float) -> float:
    """How well a cloud that moves by (row, column) cells covers the shadow."""
    moved = np.roll(cloud, (round(row), round(column)), axis=(0, 1))
    return float((moved * shadow).sum())


@pytest.mark.parametrize("kind", ["real", "procedural"])
def test_shadows_lie_away_from_the_sun(clouds: Clouds, kind: str) -> None:
    matched = 0
    for seed in range(12):
        layer = getattr(clouds, kind)(SIDE, np.random.default_rng(seed))
        known, row, column, slope = layer.sun
        assert known == 1 and np.hypot(row, column) == pytest.approx(1, abs=1e-3)
        if layer.shadow.max() < 0.2 or layer.opacity.max() < 0.5:
            continue
        reach = range(2, 40, 2)
        away = max(matching(layer.opacity, layer.shadow, -row * n, -column * n) for n in reach)
        towards = max(matching(layer.opacity, layer.shadow, row * n, column * n) for n in reach)
        matched += 1 if away > towards else -1
        assert slope > 0
    assert matched >= 3


def test_a_direction_turns_with_the_image() -> None:
    for turn in range(8):
        image = np.zeros((21, 21))
        image[10, 10], image[10 + 6, 10 - 3] = 1, 2
        after = dihedral(image, turn)
        centre, point = (np.argwhere(after == value)[0] for value in (1, 2))
        assert tuple(point - centre) == turned(6, -3, turn)


def test_ice_decks_show_in_b10(clouds: Clouds) -> None:
    decks = [clouds.deck(SIDE, np.random.default_rng(seed)) for seed in range(40)]
    shown = [float(deck.light[B10].max()) for deck in decks if deck.opacity.max() > 0.9]
    assert sum(value > 0.01 for value in shown) > 5 and sum(value < 0.002 for value in shown) > 5


def test_shadow_takes_more_of_the_infrared_than_of_the_blue() -> None:
    x = np.full((13, 20, 20), 0.3, np.float32)
    shadow = np.zeros((20, 20), np.float32)
    shadow[:, 10:] = 1
    for level2 in (False, True):
        dark = in_shadow(x, shadow, np.random.default_rng(0), level2=level2)
        np.testing.assert_allclose(dark[:, :, :10], x[:, :, :10], rtol=1e-6)
        left = dark[:, 0, 15] / 0.3
        assert left[BANDS.index("B08")] < left[BLUE] < 0.9
        assert left[BANDS.index("B08")] < 0.45


def test_fitted_cuts_or_mirrors() -> None:
    rng = np.random.default_rng(0)
    image: NDArray[np.float32] = np.arange(60, dtype=np.float32).reshape(1, 6, 10)
    assert fitted(image, 4, rng).shape == (1, 4, 4)
    grown = fitted(image, 12, rng)
    assert grown.shape == (1, 12, 12) and set(np.unique(grown)) == set(range(60))


def test_without_pairs_clouds_are_procedural() -> None:
    layer = Clouds([], Noise()).real(SIDE, np.random.default_rng(0))
    assert layer.gain.shape == (13, SIDE, SIDE)
