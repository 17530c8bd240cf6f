from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cmcr_cli.ground.context import TYPICAL_STD
from cmcr_cli.ground.radar_basis import RADAR_BASIS
from cmcr_cli.ground.reference_fit import (
    FEWEST,
    FOLDS,
    Readout,
    Samples,
    classes_of,
    explains_nothing,
    fit_readouts,
    mean_error,
    subsets,
)
from cmcr_cli.ground.spectral_basis import FEATURES, LOOKS, MARGIN, identity, looks
from tests.support.dates import PRESENT, Floats, fields

VARIANCE = np.square(TYPICAL_STD).astype(np.float32)


def _land(seed: int) -> Floats:
    """Small fields: as many spectra as a sample of a scene has."""
    return fields(seed, 64, 1, 0)


def _samples(image: Floats, *references: Floats, count: int = 1600) -> Samples:
    """Pixels of images (13, h, w) in a fixed order, all of them clear."""
    here = slice(count)
    whole = np.ones(image.shape[1:], bool)
    seen = np.stack([looks(each, whole).reshape(LOOKS, -1).T for each in references], axis=1)
    inner = image[:, MARGIN:-MARGIN, MARGIN:-MARGIN].reshape(len(image), -1).T
    radar = np.random.default_rng(0).uniform(-1, 1, (len(inner), 1 + RADAR_BASIS)).astype(np.float32)
    return Samples(
        image=inner[here],
        radar=radar[here],
        references=seen.astype(np.float16)[here],
        clear=np.ones((len(inner), len(references)), bool)[here],
        fold=np.arange(len(inner))[here] // 64 % FOLDS,
    )


def _fit(samples: Samples, present: NDArray[np.bool_] = PRESENT) -> dict[tuple[int, ...], Readout]:
    return fit_readouts(samples, classes_of(samples), present, VARIANCE)


@pytest.fixture(scope="module")
def ground() -> Floats:
    return _land(1)


def test_subsets_are_all_but_the_empty_one() -> None:
    assert subsets(2) == [(0,), (1,), (0, 1)] and len(subsets(4)) == 15 and subsets(0) == []


def test_a_linear_change_is_learnt_and_weather_is_not(ground: Floats) -> None:
    changed = 0.7 * ground + np.linspace(0.02, 0.1, 13, dtype=np.float32)[:, None, None]
    near, useless = _fit(_samples(ground, changed)), _fit(_samples(ground, _land(2)))
    # B01, B09 and B10 are not looked at, so only ten of 13 made-up bands can be known.
    assert near[0,].error < 0.2 and useless[0,].error > 0.5
    seen = PRESENT.copy()
    seen[[0, 9, 10]] = False
    assert _fit(_samples(ground, changed), seen)[0,].error < 0.01


def test_each_subset_counts_what_helps(ground: Floats) -> None:
    found = _fit(_samples(ground, _land(2), 0.8 * ground))
    assert set(found) == {(0,), (1,), (0, 1)}
    for subset, readout in found.items():
        assert readout.weights.shape == (13, 2 + RADAR_BASIS + len(subset) * FEATURES)
        assert readout.shares.sum() == pytest.approx(1, abs=1e-5) and 0 < readout.optimism <= 1
    assert found[0, 1].shares[1] > 0.8
    assert found[0, 1].error < 1.1 * found[1,].error < 0.5 * found[0,].error


def test_order_of_the_references_only_orders_the_subsets(ground: Floats) -> None:
    one, other = _samples(ground, _land(2), 0.8 * ground), _samples(ground, 0.8 * ground, _land(2))
    assert _fit(one)[0, 1].error == pytest.approx(_fit(other)[0, 1].error, rel=1e-3)
    assert _fit(one)[0,].error == pytest.approx(_fit(other)[1,].error, rel=1e-6)


def test_only_references_of_the_place_explain_anything(ground: Floats) -> None:
    rng = np.random.default_rng(3)
    noise = rng.uniform(0, 0.4, ground.shape).astype(np.float32)
    samples = _samples(ground, noise, 0.6 * ground + 0.1, _land(5))
    assert explains_nothing(samples, PRESENT, VARIANCE) == [0, 2]


def test_what_little_is_known_of_is_not_called_useless(ground: Floats) -> None:
    samples = _samples(ground, _land(5))
    samples.clear[FEWEST - 1 :] = False
    assert explains_nothing(samples, PRESENT, VARIANCE) == []


def test_what_is_not_clear_is_not_learnt_from(ground: Floats) -> None:
    samples = _samples(ground, 0.8 * ground, 0.9 * ground)
    samples.clear[::3, 0] = samples.clear[1::4, 1] = False
    absurd = np.where(samples.clear[..., None], samples.references, np.float16(3))
    one, other = _fit(samples), _fit(replace(samples, references=absurd))
    for subset in subsets(2):
        np.testing.assert_array_equal(one[subset].weights, other[subset].weights)
        assert one[subset].error == other[subset].error


def test_few_missed_clouds_and_ploughed_fields_do_not_spoil_a_fit(ground: Floats) -> None:
    samples, seen = _samples(ground, 0.8 * ground), PRESENT.copy()
    seen[[0, 9, 10]] = False
    spoilt = samples.references.copy()
    spoilt[::25] = 3
    found = _fit(replace(samples, references=spoilt), seen)[0,]
    assert found.error < 0.02


def test_too_few_samples_make_no_readout_of_their_own(ground: Floats) -> None:
    samples = _samples(ground, 0.8 * ground, 0.9 * ground)
    samples.clear[FEWEST - 1 :, 1] = False
    assert set(_fit(samples)) == {(0,)}
    samples.clear[FEWEST - 1, 1] = True
    assert set(_fit(samples)) == {(0,), (1,), (0, 1)}


@pytest.mark.parametrize("count", [0, FEWEST - 1])
def test_without_samples_today_is_as_the_references_were(ground: Floats, count: int) -> None:
    samples = _samples(ground, 0.8 * ground, 0.9 * ground, count=count)
    found = _fit(samples)
    assert set(found) == {(0,), (1,), (0, 1)}
    own = identity()
    np.testing.assert_allclose(found[0,].weights[:, 2 + RADAR_BASIS :], own[:, 1:], rtol=1e-6)
    np.testing.assert_allclose(found[0, 1].weights[:, -FEATURES:], own[:, 1:] / 2, rtol=1e-6)
    error, optimism = mean_error(found, samples)
    assert 0 < error < 1 and optimism == 1


def test_absent_bands_of_the_scene_count_nothing(ground: Floats) -> None:
    """They are 0, whatever the references show."""
    present = PRESENT.copy()
    present[[0, 4, 9, 10]] = False
    absent = np.where(present[:, None, None], ground, np.float32(0))
    readout = _fit(_samples(absent, 0.8 * ground), present)[0,]
    assert readout.error < 0.02
    other = _fit(_samples(np.where(present[:, None, None], ground, np.float32(0.5)), 0.8 * ground), present)
    np.testing.assert_array_equal(other[0,].weights[present], readout.weights[present])
    assert other[0,].error == readout.error


def test_the_mean_error_is_that_of_the_largest_subset_that_is_clear(ground: Floats) -> None:
    samples = _samples(ground, _land(2), 0.8 * ground)
    samples.clear[:800, 1] = False
    found: Any = _fit(samples)
    expected = (found[0,].error + found[0, 1].error) / 2
    assert mean_error(found, samples)[0] == pytest.approx(expected)
    samples.clear[:] = False
    assert mean_error(found, samples) == (found[0,].error, 1.0)
