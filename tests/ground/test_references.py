from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from cmcr_cli.ground.context import SceneContext, fit_context
from cmcr_cli.ground.references import NODES, Expected, References, View, arrays_of, references_from
from tests.support.dates import HOLE, PRESENT, SIZE, Floats, Today, error, fields, predict, today, view

Fitted = tuple[SceneContext, References]


@pytest.fixture(scope="module")
def ground() -> Floats:
    """Only bands that references show; what is in the others cannot be told."""
    image = fields(1)
    image[[0, 9, 10]] = image[[1, 8, 11]]
    return image


@pytest.fixture(scope="module")
def scene(ground: Floats) -> Today:
    return today(ground)


@pytest.fixture(scope="module")
def views(ground: Floats) -> list[View]:
    """One linear change that is partly clouded, and one with noise."""
    noise = np.random.default_rng(3).normal(0, 0.03, ground.shape).astype(np.float32)
    clear = np.ones(ground.shape[1:], bool)
    clear[50:60, 40:70] = False
    return [view(0.7 * ground + np.float32(0.05), clear), view(0.9 * ground + noise)]


@pytest.fixture(scope="module")
def fitted(scene: Today, views: list[View]) -> Fitted:
    return scene.fit(*views)


def _without(scene: Today) -> Expected:
    """What the context alone leads to expect."""
    context = fit_context(scene.image, scene.clear, scene.radar, scene.radar_valid, PRESENT)
    nothing = [view(scene.image, np.zeros(scene.clear.shape, bool))]
    none = scene.fit(*nothing)[1]
    return predict((context, none), scene, nothing)


@pytest.mark.parametrize("radar", [True, False])
def test_gain_and_offset_are_learnt(ground: Floats, radar: bool) -> None:
    scene = today(ground, radar=radar)
    other = [view(0.6 * ground + np.linspace(0, 0.1, 13, dtype=np.float32)[:, None, None])]
    found = predict(scene.fit(*other), scene, other)
    assert error(found, ground) < 0.2 < 0.6 < error(_without(scene), ground)
    assert (found.source[HOLE, HOLE] == 1).all()


def test_a_pixel_does_not_depend_on_the_window(fitted: Fitted, scene: Today, views: list[View]) -> None:
    whole = predict(fitted, scene, views)
    for box in ((0, 0, 64, 64), (42, 30, 38, 52), (96, 2, 32, 126)):
        top, left, height, width = box
        part, here = (
            predict(fitted, scene, views, box),
            (..., slice(top, top + height), slice(left, left + width)),
        )
        np.testing.assert_allclose(part.spectrum, whole.spectrum[here], atol=1e-5)
        np.testing.assert_allclose(part.confidence, whole.confidence[here], atol=1e-5)
        assert (part.source != whole.source[here]).mean() < 1e-3


def test_the_order_of_the_references_hardly_matters(fitted: Fitted, scene: Today, views: list[View]) -> None:
    one = predict(fitted, scene, views)
    other = predict(scene.fit(*views[::-1]), scene, views[::-1])
    np.testing.assert_allclose(one.spectrum, other.spectrum, atol=2e-3)
    swapped = np.array([0, 2, 1], np.uint8)[other.source]
    assert (one.source == swapped).mean() > 0.99


def test_where_no_reference_is_clear_the_context_remains(scene: Today, ground: Floats) -> None:
    clear = np.ones(scene.clear.shape, bool)
    clear[40:96, 40:96] = False
    other = [view(ground, clear)]
    context, references = scene.fit(*other)
    found = predict((context, references), scene, other)
    alone = _without(scene)
    np.testing.assert_array_equal(found.spectrum[:, HOLE, HOLE], alone.spectrum[:, HOLE, HOLE])
    np.testing.assert_array_equal(found.source[HOLE, HOLE], 0)
    assert found.source[:30].all()


def test_what_covers_a_reference_is_never_used(scene: Today, views: list[View], fitted: Fitted) -> None:
    absurd = [replace(each, image=np.where(each.clear, each.image, np.float32(5))) for each in views]
    other = scene.fit(*absurd)
    for name in ("field", "moments", "centres"):
        np.testing.assert_array_equal(getattr(fitted[1], name), getattr(other[1], name))
    one, two = predict(fitted, scene, views), predict(other, scene, absurd)
    np.testing.assert_array_equal(one.spectrum, two.spectrum)
    np.testing.assert_array_equal(one.confidence, two.confidence)
    np.testing.assert_array_equal(one.source, two.source)


def test_what_covers_the_scene_is_never_used(scene: Today, views: list[View], fitted: Fitted) -> None:
    absurd = replace(scene, image=np.where(scene.clear, scene.image, np.float32(-3)))
    other = predict(absurd.fit(*views), absurd, views)
    np.testing.assert_array_equal(other.spectrum, predict(fitted, scene, views).spectrum)


def test_a_useless_reference_leaves_the_context(scene: Today, ground: Floats) -> None:
    useless = [view(fields(77))]
    context, references = scene.fit(*useless)
    found = predict((context, references), scene, useless)
    assert error(found, ground) < 1.05 * error(_without(scene), ground)
    near = scene.fit(view(0.8 * ground))[1]
    shares = [each._share(each.readouts[0,], NODES)[0].mean() for each in (references, near)]
    assert shares[0] < 0.6 and shares[1] > 0.95


def test_doubt_tells_a_good_reference_from_a_useless_one(
    scene: Today, views: list[View], fitted: Fitted
) -> None:
    useless = [view(fields(77))]
    alone, found = predict(scene.fit(*useless), scene, useless), predict(fitted, scene, views)
    for each in (found, alone):
        assert each.confidence.min() >= 0 and each.confidence.max() <= 1
    middle = slice(68, 80)
    assert found.doubt[middle, middle].max() < 0.3 < 0.8 < alone.doubt[middle, middle].min()
    assert (_without(scene).doubt == 1).all()


def test_no_spectrum_is_negative(scene: Today, views: list[View], fitted: Fitted) -> None:
    context, references = fitted
    dark = replace(references, field=np.full_like(references.field, -9))
    assert predict((context, dark), scene, views).spectrum.min() == 0


def test_a_reference_ends_without_a_jump(scene: Today, ground: Floats) -> None:
    """Smooth ground, and a reference that stops in the middle of the hole."""
    smooth = np.broadcast_to(
        np.linspace(0.1, 0.3, SIZE, dtype=np.float32), (13, SIZE, SIZE)
    ) + np.random.default_rng(1).normal(0, 0.002, (13, SIZE, SIZE)).astype(np.float32)
    flat, clear = today(np.asarray(smooth, np.float32)), np.ones((SIZE, SIZE), bool)
    clear[:, 66:] = False
    other = [view(np.asarray(smooth, np.float32), clear)]
    found = predict(flat.fit(*other), flat, other).spectrum[1, HOLE, HOLE]
    assert np.abs(np.diff(found.mean(0))).max() < 0.02


def test_all_values_survive_a_file(fitted: Fitted, scene: Today, views: list[View]) -> None:
    context, references = fitted
    file = io.BytesIO()
    np.savez(file, **arrays_of(references))
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        again = references_from(arrays)
    assert again is not None and set(again.readouts) == set(references.readouts)
    one, other = (predict((context, each), scene, views) for each in (references, again))
    np.testing.assert_array_equal(one.spectrum, other.spectrum)
    np.testing.assert_array_equal(one.confidence, other.confidence)
    np.testing.assert_array_equal(one.source, other.source)
    assert (again.cell, again.typical) == (references.cell, references.typical)
    assert references_from({}) is None


def test_subsets_that_were_not_fitted_are_read_by_their_best_part(
    fitted: Fitted, scene: Today, views: list[View]
) -> None:
    context, references = fitted
    best = min((0,), (1,), key=lambda one: references.readouts[one].error)
    fewer = {subset: readout for subset, readout in references.readouts.items() if len(subset) == 1}
    found = predict((context, replace(references, readouts=fewer)), scene, views)
    both = np.s_[68:84, 68:84]
    assert (found.source[both] == best[0] + 1).all()
    none = {(0,): references.readouts[0,]}
    lacking = predict((context, replace(references, readouts=none)), scene, views)
    assert not lacking.source[53:57, 45:65].any()  # where only the second is clear


@pytest.mark.parametrize("weaker", [2.0, 9.0])
def test_a_readout_that_errs_more_counts_less(fitted: Fitted, weaker: float) -> None:
    moments = np.array([[1.0], [0.2], [0.1]], np.float32) * np.ones_like(NODES)
    references, readout = replace(fitted[1], moments=moments), fitted[1].readouts[0,]
    level = replace(readout, error=references.typical), replace(readout, error=weaker * references.typical)
    one, other = (references._share(each, NODES) for each in level)
    assert (other[0] < one[0]).all() and (other[1] > one[1]).all()
    assert (other[1] <= 1).all()  # never worse than the context
