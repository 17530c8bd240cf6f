from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields as fields_of

import numpy as np
import pytest

from cmcr_cli.ground.context import fit_context
from cmcr_cli.ground.radar_basis import MARGIN as RADAR_MARGIN
from cmcr_cli.ground.reference_fit import FEWEST, Samples
from cmcr_cli.ground.reference_learning import (
    MOST_SAMPLES,
    WINDOW,
    ResidualCollector,
    SampleCollector,
    Seen,
    fit_references,
    limits_of,
    padded,
    seen,
    unfilled,
)
from cmcr_cli.ground.references import View
from cmcr_cli.ground.spectral_basis import LOOKS
from tests.support.dates import PRESENT, SIZE, Today, cut, error, fields, predict, today, view


def _windows(scene: Today, views: list[View], width: int = WINDOW, step: int = 1) -> list[Seen]:
    """The scene in windows, as the passes read it."""
    found = []
    around = ((RADAR_MARGIN, RADAR_MARGIN),) * 2
    assert scene.radar is not None and scene.radar_valid is not None
    radar = np.pad(scene.radar, ((0, 0), *around), mode="reflect")
    valid = np.pad(scene.radar_valid, around, mode="reflect")
    size = scene.clear.shape
    for top in range(0, size[0], WINDOW):
        for left in range(0, size[1], width):
            high, wide = min(WINDOW, size[0] - top), min(width, size[1] - left)
            here = slice(top, top + high), slice(left, left + wide)
            more = slice(top, top + high + 2 * RADAR_MARGIN), slice(left, left + wide + 2 * RADAR_MARGIN)
            own = cut(views, top, left, high, wide)
            some = (..., slice(None, None, step), slice(None, None, step))
            image, clear = scene.image[:, *here][some], scene.clear[here][some]
            found.append(seen(top, left, image, clear, radar[:, *more], valid[more], own, step))
    return found


def _collected(windows: Iterable[Seen], references: int = 1, size: int = SIZE) -> Samples:
    collector = SampleCollector(size, size, references)
    for window in windows:
        collector.add(window)
    return collector.samples()


def test_a_window_shows_everything() -> None:
    scene, views = today(fields(1)), [view(fields(1)), view(fields(2))]
    window = _windows(scene, views)[1]
    assert (window.top, window.left, window.image.shape) == (0, WINDOW, (13, WINDOW, WINDOW))
    assert [each.shape for each in window.looks] == [(LOOKS, WINDOW, WINDOW)] * 2
    assert window.radar is not None and window.radar.shape[1:] == (WINDOW // 2, WINDOW // 2)
    assert all(each.all() for each in window.trusted)
    bare = seen(0, 0, window.image, np.ones((WINDOW, WINDOW), bool), None, None, cut(views, 0, 0, 64, 64))
    assert bare.radar is None


@pytest.mark.parametrize("step", [2, 4])
def test_a_window_may_be_looked_at_in_steps(step: int) -> None:
    scene, views = today(fields(1)), [view(fields(1))]
    some = (..., slice(None, None, step), slice(None, None, step))
    whole, part = (_windows(scene, views, step=each)[1] for each in (1, step))
    np.testing.assert_array_equal(part.looks[0], whole.looks[0][some])
    np.testing.assert_array_equal(part.trusted[0], whole.trusted[0][some])
    assert part.radar is not None and whole.radar is not None
    np.testing.assert_array_equal(part.radar, whole.radar[:, :: step // 2, :: step // 2])


def test_large_scenes_are_looked_at_in_steps_with_the_same_result() -> None:
    # A stand-in of 1100 px would take long: the step is set as such a scene would.
    scene, views = today(fields(1)), [view(0.8 * fields(1))]
    context = fit_context(scene.image, scene.clear, scene.radar, scene.radar_valid, PRESENT)
    bare, optimism = unfilled(_collected(_windows(scene, views)), context, PRESENT, 1100, 1100)
    whole, steps = (ResidualCollector(context, bare, size, size) for size in (SIZE, 1100))
    assert (whole.step, steps.step) == (1, 2)
    for window in _windows(scene, views):
        whole.add(window)
    for window in _windows(scene, views, step=2):
        steps.add(window)
    fields_of_both = [
        each.finish(PRESENT, optimism).field[:, : SIZE // 2, : SIZE // 2] for each in (whole, steps)
    ]
    # Every second pixel of a cell of 2 x 2 pixels is one of four.
    assert np.abs(fields_of_both[0] - fields_of_both[1])[:-1].mean() < 0.01


def test_margins_reflect() -> None:
    image = fields(1)
    wide = padded(view(image))
    np.testing.assert_array_equal(wide.image[:, 8:-8, 8:-8], image)
    np.testing.assert_array_equal(wide.image[:, 7], wide.image[:, 9])
    assert wide.clear.shape == wide.image.shape[1:]


@pytest.mark.parametrize("width", [64, 128])
def test_samples_do_not_depend_on_windows_and_their_order(width: int) -> None:
    scene, views = today(fields(1)), [view(0.8 * fields(1))]
    whole = _collected(_windows(scene, views))
    parts = _windows(scene, views, width)
    np.random.default_rng(0).shuffle(parts)  # type: ignore[arg-type]
    other = _collected(parts)
    if width == 64:
        for each in fields_of(Samples):
            np.testing.assert_array_equal(getattr(whole, each.name), getattr(other, each.name))
    # Of wider windows the samples are the same, in another order.
    assert sorted(map(bytes, whole.image)) == sorted(map(bytes, other.image))


def test_samples_are_clear_and_know_where_references_are() -> None:
    scene, clear = today(fields(1)), np.ones((SIZE, SIZE), bool)
    clear[:32] = False
    samples = _collected(_windows(scene, [view(fields(1), clear), view(fields(2))]), 2)
    assert len(samples.image) == SIZE**2 - 40 * 40 and samples.image.max() < 0.5
    assert samples.clear[:, 1].all() and samples.clear[:, 0].mean() == pytest.approx(0.7, abs=0.03)
    assert set(samples.fold) == {0, 1, 2}


@pytest.mark.parametrize("size", [1300, 2048, 6000])
def test_large_scenes_give_a_sample_of_them(size: int) -> None:
    collector = SampleCollector(size, size, 1)
    rows = [top for top in range(0, size, WINDOW) if collector.wants(top)]
    assert 0 < len(rows) <= size // WINDOW // 2 + 1, "not all must be read"
    side = WINDOW // collector.step
    blocks = np.zeros((13, side, side), np.float32)
    other, clear = np.zeros((LOOKS, *blocks.shape[1:]), np.float32), np.ones(blocks.shape[1:], bool)
    for top in rows:
        for left in range(0, size, WINDOW):
            collector.add(Seen(top, left, blocks, clear, None, [other], [clear], collector.step))
    assert 0.5 * MOST_SAMPLES < len(collector.samples().image) < 1.1 * MOST_SAMPLES


def test_residuals_do_not_depend_on_the_order_of_windows() -> None:
    scene, views = today(fields(1)), [view(0.8 * fields(1))]
    context = fit_context(scene.image, scene.clear, scene.radar, scene.radar_valid, PRESENT)
    windows = _windows(scene, views)
    bare, optimism = unfilled(_collected(windows), context, PRESENT, SIZE, SIZE)
    found = []
    for order in (windows, windows[::-1]):
        collector = ResidualCollector(context, bare, SIZE, SIZE)
        for window in order:
            collector.add(window)
        found.append(collector.finish(PRESENT, optimism))
    np.testing.assert_array_equal(found[0].field, found[1].field)
    np.testing.assert_array_equal(found[0].moments, found[1].moments)
    whole = scene.fit(*views)[1]
    np.testing.assert_allclose(found[0].field.astype(float), whole.field.astype(float), atol=3e-3)


def test_hidden_ground_shows_the_worse_predictor() -> None:
    image = fields(1)
    scene = today(image)
    noise = np.random.default_rng(1).normal(0, 1, image.shape).astype(np.float32)
    moments = [
        scene.fit(view(np.clip(image + np.float32(level) * noise, 0.01, 0.9)))[1].moments
        for level in (0.01, 0.1, 0.3)
    ]
    own = [float(each[1].mean()) for each in moments]
    assert own[0] < own[1] < own[2]
    np.testing.assert_allclose(moments[0][0], moments[2][0], rtol=1e-5)  # that of the context is the same
    for each in moments:
        assert (each[2] ** 2 <= 1.01 * each[0] * each[1]).all()  # a covariance
        assert (each[:2] > 0).all()


def test_without_clear_ground_today_is_as_the_reference_was() -> None:
    image = fields(1)
    scene = Today(np.full_like(image, 0.9), np.zeros((SIZE, SIZE), bool), None, None)
    other = [view(image)]
    fitted = scene.fit(*other)
    found = predict(fitted, scene, other)
    assert np.isfinite(found.spectrum).all() and np.isfinite(fitted[1].moments).all()
    looked_at = [band for band in range(13) if band not in (0, 9, 10)]
    correlated = np.corrcoef(found.spectrum[looked_at].ravel(), image[looked_at].ravel())[0, 1]
    assert correlated > 0.5


def test_a_reference_that_is_nowhere_clear_changes_nothing() -> None:
    scene = today(fields(1))
    nothing = [view(np.full((13, SIZE, SIZE), 0.9, np.float32), np.zeros((SIZE, SIZE), bool))]
    found = predict(scene.fit(*nothing), scene, nothing)
    assert not found.source.any() and np.isfinite(found.spectrum).all()


def test_few_clear_pixels_are_enough_to_go_on() -> None:
    image = fields(1)
    clear = np.zeros((SIZE, SIZE), bool)
    clear[:7, :7] = True
    assert clear.sum() < FEWEST
    scene = Today(np.where(clear, image, np.float32(0.9)), clear, None, None)
    other = [view(image)]
    assert np.isfinite(predict(scene.fit(*other), scene, other).spectrum).all()


def test_sizes_need_not_be_multiples_of_cells_and_windows() -> None:
    image = fields(1)[:, :118, :90]
    scene = today(image)
    other = [view(0.8 * image)]
    fitted = scene.fit(*other)
    assert fitted[1].field.shape == (14, 59, 45)
    found = predict(fitted, scene, other, (0, 0, 118, 90))
    assert found.spectrum.shape == image.shape and error(found, image) < 0.7


def test_predictions_stay_within_what_clear_ground_shows() -> None:
    image = np.linspace(0.1, 0.3, 1000, dtype=np.float32)[:, None] * np.ones(13, np.float32)
    low, high = limits_of(image)
    assert low[3] == pytest.approx(0.0, abs=0.002) and high[3] == pytest.approx(0.4, abs=0.002)
    scene, clouds = today(fields(1)), np.array(view(fields(1)).image)
    clouds[:, 60:64, 60:64] = 1.2  # cloud that the mask of the reference has missed
    views = [View(clouds, np.ones((SIZE, SIZE), bool))]
    fitted = fit_references(scene.image, scene.clear, scene.radar, scene.radar_valid, PRESENT, views)
    expected = predict(fitted, scene, views)
    assert expected.spectrum.max() < 0.8
    assert (limits_of(image[:0]) == [[0.0], [2.0]]).all()
