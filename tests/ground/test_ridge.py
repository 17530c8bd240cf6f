from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cmcr_cli.ground.context import fit_context
from cmcr_cli.ground.radar_basis import MARGIN, RADAR_BASIS, radar_basis
from cmcr_cli.ground.ridge import BRIGHT, CONSTANT, DARKENED, SPECTRUM, learnt_prior, ridge, vapour_sums
from cmcr_cli.scene.bands import BANDS

BASIS = 3


def _samples(count: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Channels (count, channels) of samples that follow a readout (13, 1 + BASIS), and that readout."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 0.1, (13, 1 + BASIS))
    rows = np.ones((count, CONSTANT + 1 + BASIS))
    rows[:, CONSTANT + 1 :] = rng.uniform(-1, 1, (count, BASIS))
    rows[:, SPECTRUM] = rows[:, CONSTANT:] @ truth.T
    return rows, truth


def test_much_of_a_linear_law_is_found() -> None:
    rows, truth = _samples(20_000)
    prior = np.zeros((13, 1 + BASIS))
    found = ridge(rows.T @ rows, np.zeros(13), prior, 1e-6, 1)
    np.testing.assert_allclose(found, truth, atol=1e-4)


def test_levels_are_those_above_the_mean() -> None:
    rows, truth = _samples(20_000)
    mean = np.linspace(0, 0.3, 13)
    found = ridge(rows.T @ rows, mean, np.zeros((13, 1 + BASIS)), 1e-6, 1e-3)
    np.testing.assert_allclose(found[:, 0], truth[:, 0] - mean, atol=1e-4)


def test_nothing_known_gives_the_prior() -> None:
    prior = np.random.default_rng(1).normal(size=(13, 1 + BASIS))
    gram = np.zeros((CONSTANT + 1 + BASIS,) * 2)
    np.testing.assert_array_equal(ridge(gram, np.zeros(13), prior, 0.01, 100), prior)


@pytest.mark.parametrize("few", [1.0, 1e3, 1e6])
def test_the_prior_counts_as_much_as_few_samples(few: float) -> None:
    rows, truth = _samples(1000)
    rows[:, CONSTANT + 1 :] -= rows[:, CONSTANT + 1 :].mean(0)
    rows[:, SPECTRUM] = rows[:, CONSTANT:] @ truth.T
    found = ridge(rows.T @ rows, np.zeros(13), np.zeros((13, 1 + BASIS)), 1e-9, few)
    np.testing.assert_allclose(found[:, 0], truth[:, 0] / (1 + few / 1000), rtol=1e-6)
    assert (np.linalg.norm(found[:, 1:]) < np.linalg.norm(truth[:, 1:])).all()


def test_several_at_once_are_each_as_alone() -> None:
    prior = np.full((13, 1 + BASIS), 0.01)
    grams = np.stack([rows.T @ rows for rows in (_samples(50, seed)[0] for seed in range(4))])
    found = ridge(grams, np.zeros(13), prior, 0.01, 10)
    for gram, each in zip(grams, found, strict=True):
        np.testing.assert_allclose(each, ridge(gram, np.zeros(13), prior, 0.01, 10), rtol=1e-9, atol=1e-12)


def test_a_channel_that_never_varies_has_no_slope() -> None:
    rows, _ = _samples(500)
    rows[:, -1] = 0.0
    found = ridge(rows.T @ rows, np.zeros(13), np.zeros((13, 1 + BASIS)), 0.01, 10)
    assert np.isfinite(found).all() and not found[:, -1].any()


NO_VAPOUR = np.zeros(2)
WITH_B10, WITHOUT = np.ones(13, bool), np.array([name != "B10" for name in BANDS])


def test_the_radar_of_water_predicts_dark_ground_and_that_of_forest_a_bright_infrared() -> None:
    prior = learnt_prior()
    level = prior.mean(WITH_B10, NO_VAPOUR)

    def spectrum(vv: float, vh: float) -> NDArray[np.float64]:
        speckle = np.random.default_rng(0).gamma(4.4, 1 / 4.4, (2, 2 + 2 * MARGIN, 2 + 2 * MARGIN))
        db = (np.array([[[vv]], [[vh]]]) + 10 * np.log10(speckle)).astype(np.float32)
        basis = radar_basis(db, np.ones(db.shape[1:], bool))[:, 1, 1]
        return np.asarray(level + prior.readout @ basis)

    infrared, blue = BANDS.index("B08"), BANDS.index("B02")
    water, forest = spectrum(-21, -29), spectrum(-9, -15)
    assert water[infrared] < 0.06 < 0.13 < forest[infrared]
    assert abs(water[blue] - forest[blue]) < 0.05


def test_the_prior_of_another_mean_predicts_the_same() -> None:
    prior, basis = learnt_prior(), np.random.default_rng(1).uniform(-1, 1, 1 + RADAR_BASIS)
    basis[0] = 1
    level, other = prior.mean(WITH_B10, NO_VAPOUR), np.linspace(0.1, 0.3, 13)
    found = other + prior.above(other, level, WITH_B10) @ basis
    np.testing.assert_allclose(found, level + prior.readout @ basis, atol=1e-6)
    assert not prior.above(other, level, WITHOUT)[~WITHOUT].any()


@pytest.mark.parametrize(("ratio", "corrected"), [(0.5, 0), (sum(DARKENED) / 2, 0.5), (1.5, 1)])
def test_bright_cloud_tells_the_level_where_b10_is_missing(ratio: float, corrected: float) -> None:
    prior = learnt_prior()
    optical = np.full((13, 4, 4), 0.1, np.float32)
    optical[:, 1:3] = 2 * BRIGHT
    optical[BANDS.index("B09"), 1:3] *= ratio
    sums = vapour_sums(optical)
    expected = prior.levels[0] + corrected * (prior.levels[1] - prior.levels[0])
    np.testing.assert_allclose(prior.mean(WITHOUT, sums)[WITHOUT], expected[WITHOUT], atol=1e-4)
    np.testing.assert_allclose(prior.mean(WITH_B10, sums), prior.levels[0], atol=1e-6)


def test_the_prior_of_a_scene_soon_gives_way_to_its_clear_ground() -> None:
    optical, far = np.full((13, 128, 128), 0.3, np.float32), []
    radar, valid = np.full((2, 128, 128), -12, np.float32), np.ones((128, 128), bool)
    for rows in (0, 2, 8, 64):
        clear = np.arange(128)[:, None] < np.full(128, rows)
        context = fit_context(optical, clear, radar, valid, WITH_B10)
        far.append(float(np.abs(context.mean - 0.3).max()))
    assert far[0] > 0.1 > 0.02 > far[1] > far[2] > far[3]


def test_cloud_tells_a_scene_of_its_level() -> None:
    image, clear = np.full((13, 64, 64), 0.8, np.float32), np.zeros((64, 64), bool)
    for ratio, level in ((0.5, 0), (1.2, 1)):
        image[BANDS.index("B09")] = ratio * 0.8
        mean = fit_context(image, clear, None, None, WITHOUT).mean
        np.testing.assert_allclose(mean, learnt_prior().levels[level] * WITHOUT, atol=1e-6)


def test_without_bright_cloud_or_b09_the_level_is_between_both() -> None:
    prior = learnt_prior()
    sums = vapour_sums(np.full((13, 4, 4), BRIGHT - 0.01, np.float32))
    assert not sums.any()
    present = WITHOUT & np.array([name != "B09" for name in BANDS])
    for bands, seen in ((WITHOUT, sums), (present, np.array([1.0, 1.5]))):
        np.testing.assert_allclose(prior.mean(bands, seen), prior.levels.mean(axis=0) * bands, atol=1e-6)
