from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.ground.cirrus import (
    B10,
    FITTED,
    GROUND,
    SPECTRUM,
    TYPICAL_RATIO,
    WHITE,
    Floats,
    fitted_ratio,
    visible_cirrus_of,
    without_cirrus,
)
from cmcr_cli.scene.bands import BANDS

OTHERS = [band for band in range(len(BANDS)) if band != B10]


def ground(*shape: int) -> Floats:
    image = np.random.default_rng(0).uniform(0.005, 0.6, (len(BANDS), *shape)).astype(np.float32)
    image[B10] = GROUND
    return image


def under(image: Floats, visible: NDArray[np.floating]) -> Floats:
    """The image under cirrus that adds `visible` to the visible bands, by the module's own spectrum."""
    added = SPECTRUM.reshape(-1, *[1] * visible.ndim) * visible
    seen = image * (1 - added / WHITE) + added
    seen[B10] = image[B10] + visible / TYPICAL_RATIO
    return seen.astype(np.float32)


def test_cirrus_is_subtracted() -> None:
    clear = ground(40, 50)
    seen = under(clear, np.linspace(0, 0.35, 50, dtype=np.float32) * np.ones((40, 1), np.float32))
    assert np.abs(seen - clear)[OTHERS].mean() > 0.05
    found = without_cirrus(seen)
    assert found.dtype == np.float32 and found.shape == seen.shape
    np.testing.assert_allclose(found[OTHERS], clear[OTHERS], rtol=0, atol=2e-5)
    np.testing.assert_array_equal(found[B10], seen[B10])


def test_a_single_pixel_is_an_image_too() -> None:
    clear = ground()
    found = without_cirrus(under(clear, np.array(0.1)))
    np.testing.assert_allclose(found[OTHERS], clear[OTHERS], rtol=0, atol=1e-6)


def test_no_more_is_subtracted_than_thin_cirrus_adds() -> None:
    """Thick cloud high up has a bright B10, and nothing beneath it to bring out."""
    image = np.full((len(BANDS), 4), 0.6, np.float32)
    image[B10] = GROUND + np.array([0.1, 0.4 / TYPICAL_RATIO, 0.5, 1])
    visible = without_cirrus(image)[1]
    assert 0.4 < visible[1] < visible[0] < 0.6
    np.testing.assert_allclose(visible[2:], visible[1], rtol=1e-4)


def test_clear_ground_is_left_alone() -> None:
    clear = ground(64, 64)
    clear[B10] = np.random.default_rng(1).uniform(0.0005, 0.0018, (64, 64))
    np.testing.assert_allclose(without_cirrus(clear), clear, rtol=0, atol=1e-3)
    clear[B10] = 0.001
    assert without_cirrus(clear) is clear


def test_without_the_band_the_image_comes_back() -> None:
    image = under(ground(8, 8), np.full((8, 8), 0.2))
    image[B10] = 0
    assert without_cirrus(image) is image


@pytest.mark.parametrize("level", [0.01, 0.3, 1.0, 1.6])
def test_what_is_left_is_a_reflectance(level: float) -> None:
    image = np.random.default_rng(2).uniform(0, 1.6, (len(BANDS), 64, 64)).astype(np.float32)
    image[:, :8] = 0
    image[B10] = np.linspace(0, level, 64)
    kept = image.copy()
    found = without_cirrus(image)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    np.testing.assert_array_equal(image, kept)


def fields(seed: int, size: int = 256) -> Floats:
    """Ground in patches of 240 m that is dark in blue, under nothing."""
    coarse = np.random.default_rng(seed).uniform(0.06, 0.12, (len(BANDS), size // 24 + 1, size // 24 + 1))
    image = coarse.repeat(24, axis=1).repeat(24, axis=2)[:, :size, :size].astype(np.float32)
    image[B10] = GROUND
    return image


def cirrus(seed: int, size: int = 256) -> Floats:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 20, mode="wrap")
    return np.asarray(0.03 * (1 + 0.5 * noise / noise.std()).clip(0), np.float32)


@pytest.mark.parametrize("ratio", [1.0, 1.4, 1.9])
def test_the_ratio_is_read_from_the_scene(ratio: float) -> None:
    images = []
    for seed in range(6):
        image = under(fields(seed), cirrus(seed))
        image[B10] = GROUND + (image[B10] - GROUND) * TYPICAL_RATIO / ratio
        images.append(image)
    found = fitted_ratio(image[FITTED] for image in images)
    assert found.dtype == np.float32
    assert float(found) == pytest.approx(ratio, rel=0.1)
    if ratio != 1.4:
        fitted, usual = (without_cirrus(images[0], visible) - fields(0) for visible in (found, TYPICAL_RATIO))
        assert np.abs(fitted[OTHERS]).mean() < 0.5 * np.abs(usual[OTHERS]).mean()
    one = float(fitted_ratio([images[0][FITTED]]))
    assert min(ratio, 1.4) - 0.1 < one < max(ratio, 1.4) + 0.1, "one tile moves it part of the way"


@pytest.mark.parametrize(
    "image",
    [
        fields(1),
        np.zeros((len(BANDS), 256, 256), np.float32),
        fields(1)[:, :9, :9],
        np.full((len(BANDS), 256, 256), 0.8, np.float32),
    ],
    ids=["no cirrus", "nodata", "too small", "thick cloud"],
)
def test_where_the_scene_does_not_tell_the_usual_ratio_holds(image: Floats) -> None:
    assert float(fitted_ratio([image[FITTED]])) == pytest.approx(float(TYPICAL_RATIO))
    assert float(fitted_ratio([])) == pytest.approx(float(TYPICAL_RATIO))


def test_low_cloud_that_b10_hardly_shows_does_not_count() -> None:
    image = fields(2)
    cloud = 4 * cirrus(3)
    image[:9] += cloud
    image[B10] += cloud / 20
    assert float(fitted_ratio([image[FITTED]])) == pytest.approx(float(TYPICAL_RATIO), abs=0.05)


def test_visible_cirrus_is_what_is_subtracted() -> None:
    clear = ground(40, 50)
    visible = np.linspace(0, 0.35, 50, dtype=np.float32) * np.ones((40, 1), np.float32)
    np.testing.assert_allclose(visible_cirrus_of(under(clear, visible)), visible, rtol=0, atol=1e-6)
    clear[B10] = 0
    assert not visible_cirrus_of(clear).any()
