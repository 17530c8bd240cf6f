from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cmcr_cli.evaluation.reference_methods import METHODS, by_class, copied, matched, mean_colour, median
from cmcr_cli.evaluation.series import Case, SeriesReference
from cmcr_cli.simulate import simulate_window
from cmcr_cli.training.data.images import Array
from cmcr_cli.training.metrics import psnr

SIDE = 64
PRESENT = np.arange(13) != 10


def reference(image: Array, days: int = 10) -> SeriesReference:
    clear = np.ones((SIDE, SIDE), bool)
    return SeriesReference(np.asarray(image * PRESENT[:, None, None], np.float32), PRESENT, clear, days)


@pytest.fixture(scope="module")
def truth() -> Array:
    return simulate_window(22, 0, 0, SIDE, SIDE, 0).truth * PRESENT[:, None, None]


@pytest.fixture
def case(truth: Array) -> Case:
    """The left half is under cloud."""
    covered = np.zeros((SIDE, SIDE), bool)
    covered[:, : SIDE // 2] = True
    seen = np.where(covered, 0.7, truth).astype(np.float32)
    valid = np.ones_like(covered)
    return Case(
        "field", "2020-06-01", "<= 20 days", "half the window", "one clear", truth, seen,
        covered.astype(np.float32), PRESENT, None, valid, covered, (reference(truth),),
    )  # fmt: skip


def score(image: Array, case: Case) -> float:
    return psnr(image, case.target, case.covered)


@pytest.mark.parametrize("method", METHODS.values())
def test_no_method_looks_under_the_cloud(method: Callable[[Case], Array], case: Case) -> None:
    case = replace(case, references=(reference(case.target**2),))
    first = method(case)
    assert first.dtype == np.float32 and first.shape == case.target.shape
    assert not first[~PRESENT].any()
    seen = np.where(case.covered, 0.2, case.seen).astype(np.float32)
    other = replace(case, seen=seen, target=np.where(case.covered, 0.5, case.target))
    np.testing.assert_array_equal(method(other), first)


def test_mean_colour_is_that_of_clear_ground(case: Case) -> None:
    np.testing.assert_allclose(mean_colour(case)[:, 5, 5], case.target[:, :, 32:].mean((1, 2)), rtol=1e-5)
    nowhere = replace(case, covered=np.ones_like(case.covered))
    assert not mean_colour(nowhere).any()


def test_copied_takes_the_nearest_that_is_clear(case: Case) -> None:
    near, far = reference(case.target * 2), reference(case.target * 3)
    near.clear[:20] = False
    far.clear[:10] = False
    out = copied(replace(case, references=(near, far)))
    np.testing.assert_array_equal(out[:, 20:], near.reflectance[:, 20:])
    np.testing.assert_array_equal(out[:, 10:20], far.reflectance[:, 10:20])
    np.testing.assert_array_equal(out[:, :10], mean_colour(case)[:, :10])


def test_matched_undoes_another_light(case: Case) -> None:
    case = replace(case, references=(reference(1.4 * case.target + 0.05),))
    assert score(matched(case), case) > 32 > score(copied(case), case) + 5


def test_matched_copies_where_too_little_is_common(case: Case) -> None:
    one = reference(1.4 * case.target + 0.05)
    one.clear[:, 33:] = False
    one.clear[5:, 32] = False
    case = replace(case, references=(one,))
    np.testing.assert_array_equal(matched(case), copied(case))


def test_median_is_over_the_clear_ones(case: Case) -> None:
    several = [reference(case.target * factor) for factor in (1, 3, 2)]
    several[1].clear[:10] = False
    for each in several:
        each.clear[0] = False
    out = median(replace(case, references=tuple(several)))
    np.testing.assert_allclose(out[:, 10:], several[2].reflectance[:, 10:], rtol=1e-6)
    np.testing.assert_allclose(out[:, 1:10], 1.5 * case.target[:, 1:10], rtol=1e-5)
    np.testing.assert_array_equal(out[:, 0], mean_colour(case)[:, 0])


def test_regression_by_class_learns_what_each_kind_of_ground_became(case: Case) -> None:
    """Green fields became darker and bare ones brighter, so no single regression is right."""
    bare = case.target[3] > np.median(case.target[3])
    before = np.where(bare, 1.5 * case.target, 0.8 * case.target).astype(np.float32)
    case = replace(case, references=(reference(before),))
    assert score(by_class(case), case) > 37
    assert score(by_class(case), case) > score(matched(case), case) + 5


def test_regression_by_class_fills_holes_of_references(case: Case) -> None:
    near, far = reference(1.2 * case.target), reference(0.7 * case.target + 0.02, 30)
    near.clear[10:40, 10:25] = False
    both = replace(case, references=(near, far))
    assert score(by_class(both), case) > 38
    np.nan_to_num(near.reflectance[:, ~near.clear], copy=False)
    near.reflectance[:, ~near.clear] = 0.9
    assert score(by_class(both), case) > 38, "cloud in a hole is not used"


def test_regression_by_class_goes_on_without_clear_ground(case: Case) -> None:
    nowhere = replace(case, covered=np.ones_like(case.covered))
    assert np.isfinite(by_class(nowhere)).all()
    one = reference(case.target)
    one.clear[:] = False
    assert np.isfinite(by_class(replace(case, references=(one,)))).all()
