from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.ground.context import (
    ENOUGH,
    FEW,
    MARGIN,
    REGION,
    STD_FLOOR,
    WHOLE,
    ContextBuilder,
    SceneContext,
    block_bytes,
    fit_context,
)
from cmcr_cli.ground.pyramid import block_mean
from cmcr_cli.ground.ridge import learnt_prior
from cmcr_cli.scene.bands import BANDS

ALL = np.ones(len(BANDS), bool)


def around(values: NDArray, rows: int = MARGIN, columns: int = MARGIN) -> NDArray:
    pad = (*[(0, 0)] * (values.ndim - 2), (rows, rows), (columns, columns))
    return np.pad(values, pad, mode="reflect")


def window(
    context: SceneContext, radar: NDArray, valid: NDArray, top: int, left: int, height: int, width: int
) -> tuple[NDArray, NDArray]:
    """Evaluate any window of an image in memory, also one that hangs over its edge."""
    hang = 128
    here = (..., slice(top + hang - MARGIN, top + hang + height + MARGIN))
    here = (*here, slice(left + hang - MARGIN, left + hang + width + MARGIN))
    wide, seen = around(radar, hang, hang), around(valid, hang, hang)
    return context.evaluate(top, left, height, width, wide[here], seen[here])


def landscape(height: int = 256, width: int = 256) -> tuple[NDArray, NDArray]:
    """Smooth radar in dB, and a spectrum that is linear in it, different in each band."""
    draw = np.random.default_rng(5)
    noise = draw.standard_normal((2, height, width))
    smooth = ndimage.gaussian_filter(noise, (0, 12, 12))
    smooth /= smooth.std(axis=(1, 2), keepdims=True)
    radar = np.array([-11, -18])[:, None, None] + 3 * smooth
    slopes = draw.uniform(-0.02, 0.02, (len(BANDS), 2))
    optical = 0.2 + np.tensordot(slopes, smooth, 1)
    return optical.astype(np.float32), radar.astype(np.float32)


def with_hole(height: int = 256, width: int = 256) -> NDArray:
    clear = np.ones((height, width), bool)
    clear[70:190, 60:200] = False
    return clear


def rms(values: NDArray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def test_a_linear_relation_between_radar_and_colour_is_recovered_under_a_hole() -> None:
    optical, radar = landscape()
    clear, valid = with_hole(), np.ones((256, 256), bool)
    hidden = np.where(clear, optical, np.nan).astype(np.float32)
    context = fit_context(hidden, clear, radar, valid, ALL)
    spectrum, confidence = window(context, radar, valid, 0, 0, 256, 256)
    assert spectrum.shape == (13, 256, 256) and spectrum.dtype == np.float32
    assert confidence.shape == (256, 256) and confidence.dtype == np.float32
    error = rms((spectrum - optical)[:, ~clear])
    assert error < 0.2 * rms((optical - context.mean[:, None, None])[:, ~clear])
    assert np.allclose(context.mean, optical[:, clear].mean(axis=1), atol=1e-3)
    assert np.allclose(context.std, np.maximum(optical[:, clear].std(axis=1), STD_FLOOR), atol=2e-3)


def test_confidence_is_one_on_clear_ground_and_falls_with_the_distance_to_it() -> None:
    optical, radar = landscape(64, 1024)
    valid, clear = np.ones((64, 1024), bool), np.zeros((64, 1024), bool)
    clear[:, :256] = True
    context = fit_context(optical, clear, radar, valid, ALL)
    confidence = window(context, radar, valid, 0, 0, 64, 1024)[1]
    assert confidence.min() >= 0 and confidence.max() <= 1
    assert confidence[:, :240].min() > 0.9
    profile = confidence[32, 256:].reshape(-1, 64).mean(axis=1)
    assert (np.diff(profile) < 0).all()
    assert 0.3 < confidence[32, 256 + 64] < 0.7
    assert profile[-1] < 0.2


def test_a_pixel_does_not_depend_on_the_window_it_is_asked_in() -> None:
    optical, radar = landscape(300, 600)
    clear, valid = with_hole(300, 600), np.ones((300, 600), bool)
    valid[40:80, 100:130] = False
    context = fit_context(optical, clear, radar, valid, ALL)
    whole = window(context, radar, valid, 0, 0, 300, 600)
    for top, left, height, width in (
        (0, 0, 64, 64),
        (58, 130, 150, 300),
        (-34, -20, 128, 96),
        (250, 540, 96, 128),
    ):
        part = window(context, radar, valid, top, left, height, width)
        rows = slice(max(top, 0), min(top + height, 300))
        columns = slice(max(left, 0), min(left + width, 600))
        inside = (
            ...,
            slice(rows.start - top, rows.stop - top),
            slice(columns.start - left, columns.stop - left),
        )
        for found, expected in zip(part, whole, strict=True):
            assert np.abs(found[inside] - expected[..., rows, columns]).max() < 1e-5


@pytest.mark.parametrize("side", [(600, 700), (258, 4500)])
@pytest.mark.parametrize("columns", [REGION, 2 * REGION])
def test_windows_give_what_the_whole_gives(side: tuple[int, int], columns: int) -> None:
    optical, radar = landscape(*side)
    clear, valid = with_hole(*side), np.ones(side, bool)
    whole = fit_context(optical, clear, radar, valid, ALL)
    builder = ContextBuilder(*side)
    wide, seen = around(radar), around(valid)
    for top in range(0, side[0], 94):
        for left in range(0, side[1], columns):
            here = (..., slice(top, top + 94), slice(left, left + columns))
            more = (..., slice(top, top + 94 + 2 * MARGIN), slice(left, left + columns + 2 * MARGIN))
            builder.add(top, left, block_mean(optical[here]), clear[here], wide[more], seen[more])
    windows = builder.finish(ALL)
    assert np.allclose(windows.mean, whole.mean, atol=1e-6)
    first, second = (window(context, radar, valid, 40, 30, 200, 200)[0] for context in (windows, whole))
    assert np.abs(first - second).max() < 2e-4


def in_doubt(where: NDArray, share: float = 1) -> NDArray:
    """Doubtful ground, which is clear in truth."""
    return (where * round(WHOLE * share)).astype(np.uint8)


def arrays(context: SceneContext) -> list[NDArray]:
    return [context.mean, context.covariance, context.readout, context.field]


def test_doubtful_ground_teaches_where_nothing_is_clear() -> None:
    optical, radar = landscape()
    valid, nothing = np.ones((256, 256), bool), np.zeros((256, 256), bool)
    truth = fit_context(optical, with_hole(), radar, valid, ALL)
    blind = fit_context(optical, nothing, radar, valid, ALL)
    found = fit_context(optical, nothing, radar, valid, ALL, in_doubt(with_hole()))
    np.testing.assert_allclose(found.mean, truth.mean, rtol=1e-5)
    shown = (window(context, radar, valid, 0, 0, 256, 256)[0] for context in (truth, found, blind))
    best, errors, worst = (rms(image - optical) for image in shown)
    assert errors < 2 * best and errors < 0.1 * worst  # its cells are coarser than those of clear ground


def test_half_trusted_ground_weighs_half() -> None:
    image = np.full((13, 128, 128), 0.1, np.float32)
    image[:, :, 64:] = 0.3
    doubtful = np.full((128, 128), WHOLE, np.uint8)
    doubtful[:, 64:] //= 2
    mean = fit_context(image, np.zeros((128, 128), bool), None, None, ALL, doubtful).mean
    np.testing.assert_allclose(mean, (2 * 0.1 + 0.3) / 3, atol=1e-3)


def test_doubtful_ground_counts_less_the_more_is_clear() -> None:
    image = np.full((13, 200, 200), 0.1, np.float32)
    image[:, 100:] = 0.2
    means = []
    for share in (0, FEW, (FEW + ENOUGH) / 2, ENOUGH, 0.2):
        clear = np.zeros((200, 200), bool)
        clear[: round(200 * share)] = True
        lower = np.arange(200)[:, None] >= np.full(200, 100)
        context, alone = (
            fit_context(image, clear, None, None, ALL, *more) for more in ((in_doubt(lower),), ())
        )
        means.append(float(context.mean[3]))
        same = all(np.array_equal(*pair) for pair in zip(arrays(context), arrays(alone), strict=True))
        assert same == (share >= ENOUGH)
    assert all(one > other for one, other in itertools.pairwise(means[:-1])), means


def test_blocks_that_are_doubtful_in_part_do_not_teach() -> None:
    image = np.full((13, 64, 64), 0.1, np.float32)
    clear, doubtful = np.zeros((64, 64), bool), np.zeros((64, 64), np.uint8)
    clear[0, :10] = True  # no whole block
    doubtful[4, 4:7] = WHOLE
    alone, context = (fit_context(image, clear, None, None, ALL, *more) for more in ((), (doubtful,)))
    assert all(np.array_equal(*pair) for pair in zip(arrays(context), arrays(alone), strict=True))


@pytest.mark.parametrize("side", [(600, 700), (258, 4500)])
def test_windows_of_doubtful_ground_give_exactly_what_the_whole_gives(side: tuple[int, int]) -> None:
    optical, radar = landscape(*side)
    draw = np.random.default_rng(2)
    blocks = draw.integers(0, WHOLE + 1, (side[0] // 2, side[1] // 2)).astype(np.uint8)
    doubtful = blocks.repeat(2, axis=0).repeat(2, axis=1)
    clear, valid = np.zeros(side, bool), np.ones(side, bool)
    whole = fit_context(optical, clear, radar, valid, ALL, doubtful)
    builder, wide, seen = ContextBuilder(*side), around(radar), around(valid)
    for top in reversed(range(0, side[0], 94)):
        for left in range(0, side[1], REGION):
            here = (..., slice(top, top + 94), slice(left, left + REGION))
            more = (..., slice(top, top + 94 + 2 * MARGIN), slice(left, left + REGION + 2 * MARGIN))
            builder.add(
                top, left, block_mean(optical[here]), clear[here], wide[more], seen[more], doubtful[here]
            )
    windows = builder.finish(ALL, 0.0)
    assert all(np.array_equal(*pair) for pair in zip(arrays(windows), arrays(whole), strict=True))


def test_without_radar_the_hole_is_filled_from_around_it() -> None:
    optical = np.full((13, 256, 256), 0.1, np.float32)
    optical[:, :, 128:] = 0.3
    clear = with_hole()
    context = fit_context(optical, clear, None, None, ALL)
    spectrum, confidence = context.evaluate(0, 0, 256, 256, None, None)
    assert spectrum[:, 130, 70].max() < 0.15 and spectrum[:, 130, 190].min() > 0.25
    assert confidence[130, 130] < confidence[130, 70] < confidence[10, 10]
    assert np.abs(np.diff(spectrum, axis=2)[:, ~clear[:, 1:]]).max() < 0.02


def test_without_clear_ground_the_prior_comes_back_without_confidence() -> None:
    optical, radar = landscape()
    valid = np.ones((256, 256), bool)
    context = fit_context(optical, np.zeros_like(valid), radar, valid, ALL)
    spectrum, confidence = window(context, radar, valid, 0, 0, 64, 64)
    assert not confidence.any() and (context.std >= STD_FLOOR).all()
    assert np.allclose(context.mean, learnt_prior().levels[0], atol=1e-6)
    assert np.allclose(context.readout[0, 0], learnt_prior().readout, atol=1e-5)
    assert spectrum.std(axis=(1, 2)).max() > 0.01


def test_absent_bands_stay_zero() -> None:
    optical, radar = landscape()
    present = np.array([name not in ("B01", "B09", "B10") for name in BANDS])
    optical[~present] = 0
    valid = np.ones((256, 256), bool)
    context = fit_context(optical, with_hole(), radar, valid, present)
    assert not window(context, radar, valid, 0, 0, 256, 256)[0][~present].any()


def test_pixels_of_invalid_radar_neither_disturb_the_others_nor_the_result() -> None:
    optical, radar = landscape()
    clear, valid = with_hole(), np.ones((256, 256), bool)
    valid[:, 150:] = False
    broken = np.where(valid, radar, np.nan).astype(np.float32)
    context = fit_context(optical, clear, broken, valid, ALL)
    spectrum, _ = window(context, broken, valid, 0, 0, 256, 256)
    assert np.isfinite(spectrum).all()
    left, right = ~clear & valid, ~clear & ~valid
    deviation = optical - context.mean[:, None, None]
    assert rms((spectrum - optical)[:, left]) < 0.3 * rms(deviation[:, left])
    assert rms((spectrum - optical)[:, right]) < 1.2 * rms(deviation[:, right])


def test_scattered_points_without_radar_leave_no_holes() -> None:
    optical, radar = landscape()
    clear, valid = with_hole(), np.ones((256, 256), bool)
    points = np.random.default_rng(2).random((256, 256)) < 0.01
    given = np.where(points, np.nan, radar).astype(np.float32)
    whole, _ = window(fit_context(optical, clear, radar, valid, ALL), radar, valid, 0, 0, 256, 256)
    spotted = fit_context(optical, clear, given, ~points, ALL)
    bridged, _ = window(spotted, given, ~points, 0, 0, 256, 256)
    assert rms((bridged - whole)[:, points & ~clear]) < 0.15 * optical[:, ~clear].std()


def test_tiny_and_odd_scenes_work() -> None:
    for height, width in ((1, 1), (2, 3), (33, 515), (513, 7)):
        optical = np.full((13, height, width), 0.2, np.float32)
        radar = np.full((2, height, width), -12, np.float32)
        valid = np.ones((height, width), bool)
        builder = ContextBuilder(height, width)
        wide = np.pad(radar, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)), mode="symmetric")
        builder.add(0, 0, block_mean(optical), valid, wide, np.pad(valid, MARGIN, mode="symmetric"))
        spectrum, confidence = builder.finish(ALL).evaluate(0, 0, 2, 2, None, None)
        assert np.isfinite(spectrum).all() and np.isfinite(confidence).all()


def test_what_a_whole_tile_keeps_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    true_zeros = np.zeros

    def counting(shape: tuple[int, ...], dtype: type = float) -> NDArray:
        kept.append(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        return true_zeros(1, dtype)

    monkeypatch.setattr(np, "zeros", counting)
    ContextBuilder(10_980, 10_980)
    assert kept and sum(kept) < 145e6


def read(path: Path) -> NDArray:
    with rasterio.open(path) as source:
        return source.read().astype(np.float32)


def clouds(folder: Path) -> NDArray:
    """Where the cloudy date is much brighter than the clear one, or has cirrus; a little widened."""
    change = (read(folder / "s2_cloudy.tif") - read(folder / "s2_clear.tif")) / 10_000
    bright = (change[1] > 0.06) | (change[0] > 0.08) | (change[10] > 0.004)
    opened = ndimage.binary_opening(bright, iterations=2)
    return np.asarray(ndimage.binary_dilation(opened, iterations=4))


def psnr(found: NDArray, truth: NDArray, covered: NDArray) -> float:
    error = np.clip(found, 0, 1) - np.clip(truth, 0, 1)
    return float(-10 * np.log10(np.mean(np.square(error[:, covered]))))


def box_mean(values: NDArray, size: int, mode: str = "reflect") -> NDArray:
    return np.asarray(ndimage.uniform_filter(values, (0, size, size), mode=mode))


def textbook(optical: NDArray, clear: NDArray, radar: NDArray) -> NDArray:
    """The plain reference: ridge regression on box means of the radar, and a filled residual.

    The residual is filled by normalised convolution from the widest box to the narrowest. Settings: the best
    of a few that were tried on the triplets of `train`.
    """
    power = 10 ** (radar / 10)
    features = np.concatenate([10 * np.log10(box_mean(power, size) + 1e-4) for size in (3, 7, 15, 31, 63)])
    features -= features[:, clear].mean(axis=1)[:, None, None]
    features /= features[:, clear].std(axis=1)[:, None, None]
    mean = optical[:, clear].mean(axis=1)[:, None, None]
    known, targets = features[:, clear], (optical - mean)[:, clear]
    gram = known @ known.T / known.shape[1] + 0.1 * np.eye(len(known))
    slopes = np.linalg.solve(gram, known @ targets.T / known.shape[1])
    predicted = mean + np.tensordot(slopes.T, features, 1)
    weight = clear[None].astype(np.float32)
    residual, filled = (optical - predicted) * weight, np.zeros(1)
    for size in (255, 127, 63, 31, 15, 7, 3):
        around_it, count = (box_mean(values, size, "constant") for values in (residual, weight))
        filled = (around_it + 0.1 * filled) / (count + 0.1)
    return np.maximum(predicted + filled, 0)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_context_beats_mean_colours_and_a_plain_regression_under_real_clouds(shared_data: Path) -> None:
    """PSNR over the covered pixels only, mean over masks per image, then over the 13 triplets.

    Masks: the covers that `clouds` finds on these same triplets' own cloudy dates and that hide 20 to 90 % of
    the image, two of them turned by a multiple of 90 degrees and laid on each triplet's clear date. The
    settings of the context were chosen with these triplets in view: the figures compare methods, and are no
    estimate for unseen scenes.
    """
    folder = shared_data / "triplets"
    with (folder / "index.csv").open() as lines:
        split = {row["name"]: row["split"] for row in csv.DictReader(lines)}
    clear_dates = {name: read(folder / name / "s2_clear.tif") / 10_000 for name in split}
    training_mean = np.mean(
        [clear_dates[name].mean(axis=(1, 2)) for name in split if split[name] == "train"], 0
    )
    covers = {name: clouds(folder / name) for name in split}
    covers = {name: covered for name, covered in covers.items() if 0.2 < covered.mean() < 0.9}
    scores = []
    for turn, (name, optical) in enumerate(clear_dates.items()):
        radar = read(folder / name / "s1.tif")
        valid = np.isfinite(radar).all(axis=0)
        per_image = []
        others = [other for other in covers if other != name]
        for other in (others[turn % len(others)], others[(turn + 3) % len(others)]):
            covered = np.rot90(covers[other], turn % 4)
            context = fit_context(optical, ~covered, radar, valid, ALL)
            spectrum, _ = window(context, radar, valid, 0, 0, 256, 256)
            constants = (training_mean, optical[:, ~covered].mean(axis=1))
            found = [np.broadcast_to(colour[:, None, None], optical.shape) for colour in constants]
            found += [textbook(optical, ~covered, radar), spectrum]
            per_image.append([psnr(values, optical, covered) for values in found])
        scores.append((split[name], np.mean(per_image, axis=0)))
    of_training, of_clear, of_textbook, of_context = np.mean([score for _, score in scores], axis=0)
    print(f"\n{len(covers)} covers; dB of mean of training, mean of clear pixels, plain regression, context:")
    for part in ("train", "val"):
        print(part, np.mean([score for which, score in scores if which == part], axis=0).round(2))
    print("all", *(f"{value:.2f}" for value in (of_training, of_clear, of_textbook, of_context)))
    assert of_context > of_clear + 2.9
    assert of_context > of_training + 5.8
    assert of_context > of_textbook + 0.05
    assert of_context > 31.0


@pytest.mark.parametrize("size", [64, 256])
def test_blocks_take_as_many_bytes_as_they_are_counted_for(size: int) -> None:
    blocks = ContextBuilder(1, 1).finish(ALL).blocks(0, 0, size, size, None, None)
    assert blocks.nbytes == block_bytes(size)
