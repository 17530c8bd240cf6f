from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cmcr_cli.evaluation import restoration
from cmcr_cli.evaluation.restoration import (
    Comparison,
    covered_pixels,
    other_date,
    under_haze,
    whole_image,
)
from cmcr_cli.model.costs import gflop_per_patch
from cmcr_cli.model.weights import Weights
from cmcr_cli.training.data.images import Pair
from cmcr_cli.training.metrics import psnr, scores
from cmcr_cli.training.samples.held_out import Check

COLOUR = np.full(13, 0.2, np.float32)
BASELINES = ["cloudy input", "mean colour of train", "mean of the clear pixels", "context alone"]


@pytest.fixture
def setting(weights: Weights) -> Comparison:
    return Comparison.of(weights, COLOUR, steps=(1, 2), samples=2)


def test_whole_image_has_all_baselines_in_one_table(check: Check, setting: Comparison) -> None:
    scored = whole_image(check, setting)
    drawn = ["1 step", "2 steps", "mean of 2 samples, 4 steps"]
    assert list(scored.rows) == [*BASELINES, *drawn, "composite, 1 step"]
    assert (scored.image, scored.cover) == ("simulated", 0.5)
    truth = check.scene.ground.optical
    flat = np.broadcast_to(COLOUR[:, None, None], truth.shape)
    own = check.scene.cloudy[:, :, 64:].mean(axis=(1, 2))[:, None, None]
    for name, image in {
        "cloudy input": check.scene.cloudy,
        "mean colour of train": flat,
        "mean of the clear pixels": np.broadcast_to(own, truth.shape),
    }.items():
        assert scored.rows[name] == pytest.approx(scores(image, truth), rel=1e-4), name
    assert all(scored.rows[name]["seconds"] > 0 for name in drawn)
    assert "seconds" not in scored.rows["context alone"]


def test_composite_keeps_what_is_clear(check: Check, setting: Comparison) -> None:
    image = np.zeros_like(check.scene.cloudy)
    made = restoration._composite(image, check)
    np.testing.assert_array_equal(made[:, :, 80:], check.scene.cloudy[:, :, 80:])
    assert not np.allclose(made[:, :, :64], check.scene.cloudy[:, :, :64], atol=0.05)
    perfect = restoration._composite(check.scene.ground.optical, check)
    np.testing.assert_allclose(perfect, check.scene.ground.optical, atol=1e-5)


def test_covered_pixels_and_kinds_of_cover(check: Check, setting: Comparison) -> None:
    scored = covered_pixels(check, setting)
    assert {"1 step, no radar", "1 step, no context"} < scored.rows.keys()
    cloudy, truth = np.clip(check.scene.cloudy, 0, 1), check.scene.ground.optical
    row = scored.rows["cloudy input"]
    assert row["psnr"] == pytest.approx(psnr(cloudy, truth, check.covered), rel=1e-5)
    for region, rows in (("thin", slice(0, 48)), ("shadow", slice(48, 64)), ("thick", slice(64, 128))):
        where = np.zeros((128, 128), bool)
        where[rows, :64] = True
        assert row[f"psnr {region}"] == pytest.approx(psnr(cloudy, truth, where), rel=1e-5)
    assert {"detail_db", "detail_match"} < row.keys()


def test_regions_too_small_are_left_out(check: Check, setting: Comparison) -> None:
    check.scene.shadow[:] = 0
    check.scene.shadow[60:64, :60] = 0.5
    row = covered_pixels(check, setting).rows["context alone"]
    assert "psnr shadow" not in row and "psnr thick" in row


def test_radar_and_context_are_really_taken_away(check: Check, setting: Comparison) -> None:
    rows = covered_pixels(check, setting).rows
    deaf = replace(check.scene.ground, radar=None)
    same = covered_pixels(replace(check, scene=replace(check.scene, ground=deaf)), setting).rows
    assert rows["1 step, no radar"]["psnr"] == pytest.approx(same["1 step"]["psnr"])
    assert rows["1 step, no radar"]["psnr"] != pytest.approx(rows["1 step"]["psnr"], abs=1e-4)
    assert rows["1 step, no context"]["psnr"] != pytest.approx(rows["1 step"]["psnr"], abs=1e-2)


def test_cost_of_the_rows(setting: Comparison, weights: Weights) -> None:
    one, four = (gflop_per_patch(weights.denoiser, steps) for steps in (1, 4))
    assert setting.gflop["1 step"] == one
    assert setting.gflop["mean of 2 samples, 4 steps"] == pytest.approx(2 * four)


@pytest.fixture
def pair(check: Check) -> Pair:
    scene = check.scene
    return Pair(scene.cloudy, scene.ground.optical, scene.opacity, scene.ground.radar)


def test_other_date_takes_the_pair_as_it_is(pair: Pair, weights: Weights) -> None:
    (found,) = other_date([("place", pair)], weights)
    assert found.scene.cloudy is pair.cloudy and found.scene.ground.optical is pair.clear
    assert not found.scene.same_date
    assert found.covered.shape == (128, 128)


def test_haze_layers_are_the_same_in_every_run(pair: Pair, weights: Weights) -> None:
    first, second = (list(under_haze([("place", pair)], weights)) for _ in range(2))
    assert [check.name for check in first] == ["place haze 0", "place haze 1"]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.scene.cloudy, other.scene.cloudy)
        assert one.scene.ground.optical is pair.clear and (one.scene.cloudy != pair.clear).any()
