from __future__ import annotations

import numpy as np
import pytest

from cmcr_cli.ground.unmixing import LEVELS, NOTHING, SHARE, VISIBLE, Floats, Unmixing, weights
from cmcr_cli.scene.bands import BANDS

COUNT = 40_000
RNG = np.random.default_rng(0)
_MIX = RNG.normal(size=(13, 4)) * [0.05, 0.02, 0.01, 0.004]
COVARIANCE: Floats = (_MIX @ _MIX.T + 1e-5 * np.eye(13)).astype(np.float32)
"""Ground that varies in few ways, as spectra do."""


def ground(count: int = COUNT) -> Floats:
    """Departures of ground from what was expected of it, which is half of its variance."""
    root = np.linalg.cholesky(SHARE * COVARIANCE.astype(np.float64))
    return np.asarray(root @ np.random.default_rng(1).normal(size=(13, count)), np.float32)


def estimate(matrices: Floats, residual: Floats) -> Floats:
    shares = weights(residual[VISIBLE].mean(axis=0))
    return np.asarray((shares[:, None] * (matrices @ residual)).sum(axis=0), np.float32)


def learnt(residual: Floats) -> Floats:
    unmixing = Unmixing()
    unmixing.add(residual)
    return unmixing.matrices(COVARIANCE)


def error(found: Floats, truth: Floats) -> float:
    return float(np.square(found - truth).mean() / np.square(truth).mean())


def test_ground_is_told_from_a_cloud_of_one_spectrum() -> None:
    truth = ground()
    spectrum = np.linspace(1, 0.6, 13)[:, None]
    opacity = np.random.default_rng(2).gamma(2, 0.04, COUNT)
    residual = (truth + spectrum * opacity).astype(np.float32)
    assert error(residual, truth) > 3
    assert error(estimate(learnt(residual), residual), truth) < 0.5


def test_without_cloud_most_of_the_departure_is_ground() -> None:
    """Not all: what is brighter than usual is looked at together, and looks like more than ground."""
    truth = ground()
    assert error(estimate(learnt(truth), truth), truth) < 0.1


def test_what_is_gained_is_never_more_than_what_departs() -> None:
    residual = RNG.normal(0, 0.2, (13, COUNT)).astype(np.float32)
    root = np.linalg.inv(np.linalg.cholesky(SHARE * COVARIANCE.astype(np.float64) + 1e-6 * np.eye(13)))
    for matrix in learnt(residual):
        found = root @ matrix @ residual[:, :500]
        assert (np.square(found).sum(axis=0) <= 1.02 * np.square(root @ residual[:, :500]).sum(axis=0)).all()


def test_a_bright_cloud_says_nothing_of_the_ground() -> None:
    residual = (0.5 + RNG.normal(0, 0.2, (13, COUNT))).astype(np.float32)
    found = estimate(learnt(residual), residual)
    assert np.square(found).mean() < 0.02 * np.square(residual).mean()


def test_parts_add_up_to_the_whole() -> None:
    residual = ground()
    parts = Unmixing()
    for part in np.array_split(residual, 7, axis=1):
        parts.add(part)
    np.testing.assert_allclose(parts.matrices(COVARIANCE), learnt(residual), rtol=0, atol=2**-12)


def test_a_level_that_was_never_seen_takes_the_departure_for_ground() -> None:
    matrices = learnt(ground(0))
    np.testing.assert_allclose(matrices, np.broadcast_to(np.eye(13), matrices.shape), rtol=0, atol=1e-3)


def test_absent_bands_stay_absent() -> None:
    present = np.arange(13) != BANDS.index("B10")
    both = np.outer(present, present)
    unmixing = Unmixing()
    unmixing.add(ground() * present[:, None])
    matrices = unmixing.matrices((COVARIANCE * both).astype(np.float32))
    assert not matrices[:, ~present][:, :, present].any() and not matrices[:, present][:, :, ~present].any()


@pytest.mark.parametrize("brightness", [-9.0, -0.04, 0.0, 0.02, 0.1, 0.34, 9.0])
def test_weights_are_shares_of_the_nearest_levels(brightness: float) -> None:
    shares = weights(np.full((2, 3), brightness))
    assert shares.shape == (len(LEVELS), 2, 3)
    np.testing.assert_allclose(shares.sum(axis=0), 1, rtol=1e-6)
    assert (np.count_nonzero(shares, axis=0) <= 2).all()
    mean = np.tensordot(LEVELS, shares, 1)
    np.testing.assert_allclose(mean, np.clip(brightness, LEVELS[0], LEVELS[-1]), rtol=1e-5, atol=1e-7)


def test_nothing_is_learnt_from_nothing() -> None:
    assert NOTHING.shape == (len(LEVELS), 13, 13) and not NOTHING.any()
