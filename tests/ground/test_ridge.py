from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cmcr_cli.ground.ridge import CONSTANT, SPECTRUM, ridge

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
