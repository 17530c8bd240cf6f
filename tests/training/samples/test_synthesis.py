from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.ground.cirrus import B10, GROUND, without_cirrus
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.radiometry import RADAR_FLOOR_DB
from cmcr_cli.simulate import simulate_window
from cmcr_cli.training.data.images import Array, Pair, opacity
from cmcr_cli.training.samples.synthesis import (
    average_blocks,
    cover_mask,
    dihedral,
    draw_haze,
    flooded,
    jittered_radar,
    mistaken,
    pseudo_radar,
    recoloured,
    transplant,
    under_deck,
    under_sky,
)

SEEDS = pytest.mark.parametrize("seed", range(6))


def ground(seed: int, size: int = 96) -> Array:
    return simulate_window(seed, 0, 0, size, size).truth


@pytest.fixture(scope="module")
def pair() -> Pair:
    """Thick cloud in one corner over ground of another place, thin cloud beside it."""
    clear = ground(11)
    alpha = np.zeros(clear.shape[1:], np.float32)
    alpha[:40, :60], alpha[50:70, :40] = 1, 0.4
    alpha = ndimage.gaussian_filter(alpha, 2)
    cloudy = clear + alpha * (0.8 - clear)
    return Pair(cloudy, clear, opacity(cloudy, clear), None)


def test_dihedral_gives_the_eight_symmetries() -> None:
    array = np.arange(16).reshape(4, 4)
    turned = [dihedral(array, turn) for turn in range(8)]
    assert len({values.tobytes() for values in turned}) == 8
    assert all(np.array_equal(np.sort(values, axis=None), np.arange(16)) for values in turned)
    stacked = dihedral(np.stack([array, array + 16]), 5)
    np.testing.assert_array_equal(stacked[1] - 16, turned[5])


@SEEDS
def test_a_transplanted_cloud_lies_over_our_own_ground(pair: Pair, seed: int) -> None:
    clear = ground(seed)
    kept = clear.copy()
    cloudy, alpha, shadow = transplant(clear, pair, np.random.default_rng(seed))
    assert np.array_equal(clear, kept)
    assert cloudy.shape == clear.shape
    assert cloudy.dtype == alpha.dtype == shadow.dtype == np.float32
    assert alpha.min() >= 0 and alpha.max() <= 1
    assert shadow.min() >= 0 and shadow.max() <= 0.9
    free = (alpha == 0) & (shadow == 0)
    np.testing.assert_array_equal(cloudy[:, free], clear[:, free])
    dark = (alpha == 0) & (shadow > 0.1)
    assert (cloudy[:9, dark] < clear[:9, dark]).all()
    # what thick cloud shows is the pair's cloud, and nothing of our ground
    thick = alpha > 0.99
    np.testing.assert_allclose(cloudy[:, thick], 0.8, atol=0.02)
    thin = (alpha > 0.3) & (alpha < 0.5) & (shadow < 0.01)
    if thin.sum() > 50:
        expected = clear + alpha * (0.8 - clear)
        np.testing.assert_allclose(cloudy[:, thin], expected[:, thin], atol=0.05)


def test_some_shadows_fall_into_the_image(pair: Pair) -> None:
    """Those that fall on their own cloud, or outside, are not seen."""
    dark = []
    for seed in range(12):
        _, alpha, shadow = transplant(ground(1), pair, np.random.default_rng(seed))
        dark.append(float(shadow[alpha == 0].max()))
    assert sum(depth > 0.2 for depth in dark) >= 4


@pytest.mark.parametrize("size", [64, 96, 150])
def test_clouds_are_fitted_to_the_ground(pair: Pair, size: int) -> None:
    for layer in transplant(ground(1, size), pair, np.random.default_rng(0)):
        assert layer.shape[-2:] == (size, size)


def test_pseudo_radar_shares_boundaries_but_no_fixed_relation() -> None:
    clear, present = ground(2), np.array([name != "B10" for name in BANDS])
    relations = []
    for seed in range(8):
        radar = pseudo_radar(clear, present, np.random.default_rng(seed))
        assert radar.shape == (2, 96, 96)
        assert radar.dtype == np.float32
        assert np.isfinite(radar).all()
        assert (radar >= RADAR_FLOOR_DB[:, None, None] - 5).all() and radar.max() <= 5
        smooth = ndimage.gaussian_filter(radar[0], 2)
        relations.append(np.corrcoef(smooth.ravel(), ndimage.gaussian_filter(clear[7], 2).ravel())[0, 1])
    assert np.abs(relations).max() > 0.3
    assert min(relations) < 0 < max(relations)


def test_pseudo_radar_looks_at_present_bands_only() -> None:
    clear, present = ground(2), np.array([name != "B10" for name in BANDS])
    other = clear.copy()
    other[BANDS.index("B10")] = np.random.default_rng(0).random((96, 96))
    first, second = (pseudo_radar(image, present, np.random.default_rng(1)) for image in (clear, other))
    np.testing.assert_array_equal(first, second)


def test_pseudo_radar_of_ground_without_features() -> None:
    radar = pseudo_radar(np.full((13, 64, 64), 0.2, np.float32), np.ones(13, bool), np.random.default_rng(0))
    assert np.isfinite(radar).all()


def test_jittered_radar_moves_a_little() -> None:
    radar = np.full((2, 64, 64), -12, np.float32)
    radar[:, 30, 30] = np.nan
    offsets, shifts = [], []
    for seed in range(60):
        jittered = jittered_radar(radar, np.random.default_rng(seed))
        assert jittered.dtype == np.float32
        row, col = np.argwhere(np.isnan(jittered[0]))[0]
        shifts.append(max(abs(row - 30), abs(col - 30)))
        offsets.append(float(np.nanmean(jittered)) + 12)
    assert max(shifts) == 2 and np.median(shifts) == 0
    assert 0.4 < np.std(offsets) < 1.0


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))
def test_block_mean(factor: int, rows: int, cols: int) -> None:
    array = np.random.default_rng(0).random((3, rows * factor, cols * factor)).astype(np.float32)
    found = average_blocks(array, factor)
    assert found.shape == (3, rows, cols)
    corner = array[:, :factor, :factor].reshape(3, -1).mean(axis=1)
    np.testing.assert_allclose(found[:, 0, 0], corner, rtol=1e-5)
    assert found.mean() == pytest.approx(array.mean(), rel=1e-5)


@SEEDS
def test_cover_masks_are_whole_blocks_around_what_is_covered(seed: int) -> None:
    opacity_plane: NDArray[np.float32] = np.zeros((64, 64), np.float32)
    shadow = np.zeros_like(opacity_plane)
    opacity_plane[20:31, 10:21], shadow[40:50, 30:40] = 0.9, 0.5
    opacity_plane[60, 60] = 0.03
    mask = cover_mask(opacity_plane, shadow, np.random.default_rng(seed))
    assert mask.shape == (64, 64)
    assert mask.dtype == bool
    blocks = mask.reshape(32, 2, 32, 2)
    assert (blocks.any(axis=(1, 3)) == blocks.all(axis=(1, 3))).all()
    truth = (opacity_plane > 0.5) | (shadow > 0)
    assert mask[truth].all()
    assert not mask[~ndimage.binary_dilation(truth, np.ones((3, 3)), iterations=12)].any()


def test_flooding_lays_calm_dark_water_and_leaves_the_rest() -> None:
    rng = np.random.default_rng(4)
    clear = rng.uniform(0.1, 0.4, (13, 96, 80)).astype(np.float32)
    radar = np.full((2, 96, 80), -8, np.float32)
    optical, backscatter = flooded(clear, radar, rng)
    wet = backscatter[0] != -8
    assert 0.02 < wet.mean() < 0.98
    assert optical.dtype == backscatter.dtype == np.float32 and (optical >= 0).all()
    dry = (optical == clear).all(axis=0)
    assert dry.any() and not (dry & wet).any()
    assert backscatter[0][wet].mean() < -11 and optical[7][wet].mean() < clear[7].mean()


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_haze_layers_are_thin_and_come_in_two_kinds(size: tuple[int, int]) -> None:
    clear = np.full((13, *size), 0.1, np.float32)
    clear[B10] = GROUND
    kinds, all_over, thickest = [], [], []
    for seed in range(40):
        haze = draw_haze(clear.shape[1:], np.random.default_rng(seed))
        image, share, high = haze.over(clear), haze.share, haze.high
        assert image.shape == clear.shape and share.shape == size
        assert image.dtype == share.dtype == np.float32
        assert share.min() >= 0 and share.max() <= 0.9
        np.testing.assert_array_equal(image[:, share == 0], clear[:, share == 0])
        seen = share > 0.02
        if not seen.any():
            continue
        visible = (image - clear)[:4, seen]
        assert (visible > 0).all()
        cirrus = (image - clear)[B10, seen].mean()
        kinds.append(high)
        if kinds[-1]:
            assert 0.7 < visible.mean() / cirrus < 3
        else:
            np.testing.assert_array_equal(image[B10], clear[B10])
            assert visible[1].mean() > 1.2 * visible[3].mean(), "haze is bluer than cirrus"
        all_over.append(bool(seen.all()))
        thickest.append(float(share.max()))
    assert 0.5 < np.mean(kinds) < 0.9
    assert 0.1 < np.mean(all_over) < 0.9
    assert max(thickest) > 0.3 and min(thickest) < 0.1


def test_haze_hides_the_ground_by_its_share() -> None:
    clear = ground(3)
    for seed in range(6):
        one, other = (draw_haze(clear.shape[1:], np.random.default_rng(seed)) for _ in range(2))
        image, share, brighter, again = one.over(clear), one.share, other.over(clear + 0.1), other.share
        np.testing.assert_array_equal(share, again)
        np.testing.assert_allclose((brighter - image)[1], 0.1 * (1 - share), rtol=0, atol=1e-5)


def test_what_b10_shows_of_cirrus_can_be_subtracted() -> None:
    clear = ground(3)
    clear[B10] = GROUND
    before, after = [], []
    for seed in range(30):
        image = draw_haze(clear.shape[1:], np.random.default_rng(seed)).over(clear)
        if (image[B10] > GROUND + 0.003).any():
            before.append(np.abs(image - clear)[:9].mean())
            after.append(np.abs(without_cirrus(image) - clear)[:9].mean())
    assert len(before) > 10
    assert np.mean(after) < 0.4 * np.mean(before)


def test_recoloured_ground_keeps_its_pattern() -> None:
    clear = ground(5)
    clear[B10] = 0
    kept, ratios = clear.copy(), []
    for seed in range(30):
        image = recoloured(clear, np.random.default_rng(seed))
        assert image.shape == clear.shape and image.dtype == np.float32
        assert image.min() >= 0
        assert not image[B10].any()
        for before, after in zip(clear, image, strict=True):
            assert (np.diff(after.ravel()[before.argsort(axis=None)]) >= 0).all()
        ratios.append(image.mean(axis=(1, 2))[[2, 3, 7]] / clear.mean(axis=(1, 2))[[2, 3, 7]])
    np.testing.assert_array_equal(clear, kept)
    levels = np.log(ratios)
    assert 0.05 < levels[:, 0].std() < 0.2
    assert 0.03 < (levels[:, 1] - levels[:, 2]).std() < 0.15, "bands change on their own too"
    assert abs(levels.mean()) < 0.06


@pytest.mark.parametrize("gaps", [0.0, 0.1])
def test_a_deck_leaves_the_share_of_gaps_it_is_given(gaps: float) -> None:
    ground = np.full((13, 96, 64), 0.1, np.float32)
    for seed in range(8):
        cloudy, opacity, shadow = under_deck(ground, np.random.default_rng(seed), gaps)
        assert cloudy.dtype == opacity.dtype == np.float32
        assert abs(float((opacity == 0).mean()) - gaps) < 0.02
        assert opacity.max() <= 1 and not shadow.any()
        np.testing.assert_allclose(cloudy[:, opacity == 0], 0.1, rtol=1e-6)
        assert cloudy[1][opacity > 0.9].min(initial=1) > 0.14


def test_a_sky_of_the_bank_lies_over_ground_of_any_size() -> None:
    for shape in ((64, 48), (256, 256), (500, 464)):
        ground = np.full((13, *shape), 0.1, np.float32)
        cloudy, opacity, shadow = under_sky(ground, np.random.default_rng(4))
        assert cloudy.shape == ground.shape and opacity.shape == shadow.shape == shape
        clear = (opacity == 0) & (shadow == 0)
        np.testing.assert_allclose(cloudy[1:4, clear], 0.1, rtol=0.02)


def test_errors_of_a_detector_leave_thick_cloud_covered() -> None:
    opacity = np.zeros((128, 128), np.float32)
    opacity[:40], opacity[60:100] = 1, 0.2
    for seed in range(20):
        found = mistaken(opacity > 0.05, opacity, np.zeros_like(opacity), np.random.default_rng(seed))
        assert found[:40].all()
