from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cmcr_cli.ground.cirrus import B10, GROUND, SPECTRUM, THIN, TYPICAL_RATIO, WHITE, without_cirrus
from cmcr_cli.ground.ridge import learnt_prior
from cmcr_cli.model.condition import UNDER_CIRRUS
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.radiometry import scaled_radar
from cmcr_cli.training.data.images import ClearImage, Pair
from cmcr_cli.training.data.library import Library
from cmcr_cli.training.recipe import Mix
from cmcr_cli.training.samples.patch_samples import (
    CLEAR_WEIGHT,
    HIDDEN_WEIGHT,
    HIDING,
    Clouded,
    Sample,
    assemble,
    draw,
    make_sample,
    sample_of,
)
from tests.support.samples import CHANNELS, PLAIN, USUAL, VECTORS
from tests.support.tensors import assert_close


def many(library: Library, mix: Mix, count: int = 8) -> list[Sample]:
    rng = np.random.default_rng(0)
    return [make_sample(library, mix, rng) for _ in range(count)]


@pytest.mark.parametrize(
    "mix",
    [
        USUAL,
        replace(USUAL, procedural=1, other_date=0),
        replace(USUAL, other_date=1),
        replace(USUAL, simulated=1),
        replace(USUAL, veiled=1, recoloured=1, other_date=0),
        replace(USUAL, hidden=1, heavy=0),
        replace(USUAL, hidden=0, heavy=1),
    ],
    ids=["usual", "procedural", "other date", "simulated", "haze", "hidden", "heavy"],
)
def test_samples_are_finite_and_of_the_right_shape(library: Library, mix: Mix) -> None:
    for sample in many(library, mix, 3):
        height, width = sample.cover.shape[1:]
        assert height % 16 == width % 16 == 0
        for name, channels in CHANNELS.items():
            value = getattr(sample, name)
            assert value.shape == (channels, height, width), name
            assert value.dtype == torch.float16, name
            assert torch.isfinite(value).all(), name
        for name, shape in VECTORS.items():
            assert getattr(sample, name).shape == shape
            assert torch.isfinite(getattr(sample, name)).all()
            assert getattr(sample, name).dtype == torch.float32
        assert sample.std.min() > 0
        for name in ("confidence", "cover", "radar_valid", "opacity", "shadow"):
            assert getattr(sample, name).min() >= 0 and getattr(sample, name).max() <= 1, name
        assert sample.radar.abs().max() <= 1
        assert sample.weight.min() >= 0 and sample.weight.max() <= HIDDEN_WEIGHT
        assert set(sample.cover.unique().tolist()) <= {0, UNDER_CIRRUS, 1}


def is_target(ground: NDArray[np.float32], sample: Sample, bands: int = 13) -> bool:
    """Whether a sample teaches that this ground (13, H, W) is under its cover."""
    target, covered = sample.target.float().numpy(), sample.cover[0].numpy() > 0
    if ground.shape != target.shape:
        return False
    return np.allclose(ground[:bands, covered], target[:bands, covered], atol=1e-3)


def test_the_target_is_the_ground_under_the_cloud(library: Library) -> None:
    grounds = [image.optical for place in library.places for image in place]
    changed = 0
    for sample in many(library, PLAIN):
        matches = [ground for ground in grounds if is_target(ground, sample)]
        assert matches, "the target is none of the library's clear images"
        clear = (sample.opacity == 0) & (sample.shadow == 0)
        shown = torch.from_numpy(without_cirrus(matches[0])).half()
        same = (sample.optical == shown).all(dim=0, keepdim=True)
        assert same[clear].all()
        changed += int((~same & (sample.opacity > 0.5)).sum())
    assert changed > 100


def test_weights_of_the_loss(library: Library) -> None:
    hiding = 0
    for sample in many(library, PLAIN):
        below = torch.where(sample.opacity >= HIDING, HIDDEN_WEIGHT, 1)
        differs = sample.weight != torch.where(sample.cover > 0, below, CLEAR_WEIGHT).half()
        # The opacity kept is rounded to 16 bits, the one that was compared is not.
        assert ((sample.opacity[differs] - HIDING).abs() < 1e-3).all()
        hiding += int((sample.weight == HIDDEN_WEIGHT).sum())
    assert hiding > 100
    for sample in many(library, replace(PLAIN, other_date=1)):
        assert torch.equal(sample.weight, torch.where(sample.cover > 0, 1, CLEAR_WEIGHT).half())


def test_what_is_kept_is_its_own_target(library: Library) -> None:
    """Also that of another day, and under haze or shadows that the mask missed."""
    for mix in (PLAIN, replace(PLAIN, other_date=1), replace(PLAIN, veiled=1, mistaken=1)):
        for sample in many(library, mix):
            kept = (sample.cover == 0).expand_as(sample.target)
            assert torch.equal(sample.target[kept], sample.optical[kept])


def test_haze_that_no_mask_finds_stays(library: Library) -> None:
    mix = replace(PLAIN, veiled=1, no_cirrus=1)
    clear, hazy, found = [], [], []
    for number in range(40):
        scene = draw(library, PLAIN, np.random.default_rng(number))
        for each, chosen in ((clear, PLAIN), (hazy, mix)):
            each.append(sample_of(scene, chosen, np.random.default_rng(number)))
        share = 1 - (1 - hazy[-1].opacity.float()) / (1 - clear[-1].opacity.float()).clamp(min=0.05)
        found.append(share)
    added, strong = [], []
    for one, other, share in zip(clear, hazy, found, strict=True):
        under = (one.cover > 0) & (other.cover > 0) & (one.opacity < 0.5)
        blue = (other.target - one.target)[1:2]
        added.append(blue[under & (share > 0.008) & (share < 0.018)])
        strong.append(blue[under & (share > 0.13)])
    assert (torch.cat(added) > 0.0015).float().mean() > 0.95
    assert torch.cat(strong).abs().max() < 1e-3


def test_another_date_is_the_pair_as_it_is(library: Library) -> None:
    scene = draw(library, replace(PLAIN, other_date=1), np.random.default_rng(0))
    assert not scene.same_date
    assert any(scene.cloudy is pair.cloudy and scene.ground.optical is pair.clear for pair in library.pairs)


def test_cloudless_is_the_ground_itself(library: Library) -> None:
    scene = draw(library, replace(PLAIN, cloudless=1), np.random.default_rng(0))
    assert np.array_equal(scene.cloudy, scene.ground.optical)
    assert not scene.opacity.any() and not scene.shadow.any()


def test_gain_is_that_of_ground_and_cloudy_image_alike(library: Library) -> None:
    plain = draw(library, replace(PLAIN, cloudless=1), np.random.default_rng(3))
    brighter = draw(library, replace(PLAIN, cloudless=1, gain=(1.5, 1.5)), np.random.default_rng(3))
    np.testing.assert_allclose(brighter.ground.optical, 1.5 * plain.ground.optical, rtol=1e-6)
    np.testing.assert_array_equal(brighter.cloudy, brighter.ground.optical)


def test_recoloured_ground_has_the_radar_and_the_order_of_what_it_was(library: Library) -> None:
    with_radar = Library([place for place in library.places if place[0].radar is not None], library.pairs)
    plain, other = (
        draw(with_radar, replace(PLAIN, cloudless=1, recoloured=share), np.random.default_rng(3)).ground
        for share in (0, 1)
    )
    assert plain.radar is not None and other.radar is not None
    np.testing.assert_array_equal(plain.radar, other.radar)
    assert np.abs(other.optical - plain.optical).mean() > 0.003
    order = plain.optical[3].argsort(axis=None)
    assert (np.diff(other.optical[3].ravel()[order]) >= 0).all()


def test_haze_that_is_found_lies_over_the_image_and_not_over_the_target(library: Library) -> None:
    thin = 0
    for number in range(12):
        scene = draw(library, replace(PLAIN, cloudless=1), np.random.default_rng(number))
        hazy = replace(PLAIN, cloudless=1, veiled=1, no_cirrus=1)
        sample = sample_of(scene, hazy, np.random.default_rng(number))
        ground = torch.from_numpy(scene.ground.optical)
        under = ((sample.opacity > 0.13) & (sample.cover > 0))[0]
        assert_close(sample.target[:9, under], ground[:9, under].half(), rtol=0, atol=1e-3)
        brighter = (sample.optical - sample.target)[1, under]
        dark = sample.target[1, under] < 0.3
        assert (brighter[dark] > 0.02).all()
        thin += int(under.sum())
    assert thin > 1000


@pytest.mark.parametrize("there", [True, False], ids=["with B10", "without B10"])
def test_cirrus_is_taken_off_the_image_where_b10_shows_it(library: Library, there: bool) -> None:
    scene = draw(library, replace(PLAIN, cloudless=1), np.random.default_rng(1))
    ground = scene.ground.optical.copy()
    ground[B10] = GROUND
    added = 0.1 * SPECTRUM[:, None, None]
    cloudy = ground * (1 - added / WHITE) + added
    cloudy[B10] += np.float32(0.1) / TYPICAL_RATIO
    present = np.ones(13, bool)
    present[B10] = there
    scene = replace(scene, cloudy=cloudy.astype(np.float32), ground=replace(scene.ground, optical=ground))
    sample = assemble(scene, np.zeros_like(scene.opacity), present, None, context=True)
    covered = assemble(scene, np.ones_like(scene.opacity), present, None, context=True)
    expected = torch.from_numpy(ground if there else cloudy).half()
    assert_close(sample.optical[:10], expected[:10], rtol=2e-3, atol=1e-4)
    assert_close(covered.target[:10], torch.from_numpy(ground).half()[:10], rtol=0, atol=0)


def test_ground_is_learnt_from_below_cirrus_but_not_from_below_haze(library: Library) -> None:
    kinds = set()
    for sample in many(library, replace(PLAIN, cloudless=1, veiled=1), 16):
        values = set(sample.cover.unique().tolist())
        thick = sample.opacity * float(WHITE) > 1.1 * THIN
        assert (sample.cover[thick] != UNDER_CIRRUS).all(), (
            "the ratio of cirrus is not certain enough for that"
        )
        kinds |= values
        if values == {UNDER_CIRRUS}:
            assert sample.confidence.min() > 0.9, "below the cirrus there is ground to learn from"
    assert kinds == {0, UNDER_CIRRUS, 1}
    for sample in many(library, replace(PLAIN, cloudless=1, veiled=1, no_cirrus=1), 6):
        assert UNDER_CIRRUS not in sample.cover.unique().tolist(), "nothing shows that it is cirrus"


def test_without_radar(library: Library) -> None:
    for sample in many(library, replace(PLAIN, no_radar=1), 4):
        assert not sample.radar_valid.any()
    for sample in many(library, PLAIN, 4):
        assert sample.radar_valid.float().mean() > 0.9


def test_without_context(library: Library) -> None:
    """Only the radar tells what to expect."""
    for sample in many(library, replace(PLAIN, no_context=1), 4):
        assert not sample.confidence.any() and not sample.unmixing.any()
        assert float(sample.context.float().std(dim=(1, 2)).max()) > 0.001
    for sample in many(library, replace(PLAIN, no_context=1, no_radar=1), 4):
        prior = torch.from_numpy(learnt_prior().levels[0])
        expected = (prior * sample.present)[:, None, None].expand_as(sample.context)
        assert_close(sample.context.float(), expected, rtol=1e-3, atol=1e-4)
    for sample in many(library, PLAIN, 4):
        assert sample.confidence.any() or sample.cover.all()


def test_where_nothing_is_clear_ground_and_radar_are_what_they_are(library: Library) -> None:
    grounds = [image for place in library.places for image in place]
    mix = replace(PLAIN, hidden=1, recoloured=1, pseudo_radar=1, simulated=1, flooded=1)
    untold = 0
    for sample in many(library, mix, 12):
        assert sample.cover.min() == 1 and not sample.confidence.any()
        target = sample.target.float().numpy()
        matches = [
            ground
            for ground in grounds
            if ground.optical.shape == target.shape and np.allclose(ground.optical, target, atol=1e-3)
        ]
        assert matches, "the target is none of the library's clear images"
        assert any((ground.radar is not None) == bool(sample.radar_valid.any()) for ground in matches)
        untold += not sample.unmixing.any()
    assert 0 < untold < 12, "some are told how covered pixels vary, as the first pass tells it"


def test_little_ground_is_clear_in_heavy_samples(library: Library) -> None:
    shares = [float((s.cover == 0).float().mean()) for s in many(library, replace(PLAIN, heavy=1), 12)]
    assert max(shares) < 0.2 and np.mean(shares) > 0.005


def test_a_detector_errs_in_both_directions(library: Library) -> None:
    alarms = misses = 0
    for sample in many(library, replace(PLAIN, mistaken=1), 24):
        free = (sample.opacity == 0) & (sample.shadow == 0)
        seen = (sample.opacity > 0.12) | (sample.shadow > 0.25)
        alarms += int((sample.cover[free] > 0).sum())
        misses += int((sample.cover[seen] == 0).sum())
    assert alarms > 5000 and misses > 300


def test_large_ground_is_cut(library: Library) -> None:
    ground = np.random.default_rng(0).uniform(0.05, 0.3, (13, 600, 300)).astype(np.float32)
    big = Library([[ClearImage(ground, np.ones(13, bool), None)]], library.pairs)
    for sample in many(big, PLAIN, 3):
        assert sample.cover.shape == (1, 256, 256)


@pytest.mark.parametrize(
    ("mix", "absent"),
    [(replace(PLAIN, no_cirrus=1), {"B10"}), (replace(PLAIN, no_sixty_metre=1), {"B01", "B09", "B10"})],
)
def test_bands_left_out_are_zero_everywhere(library: Library, mix: Mix, absent: set[str]) -> None:
    for sample in many(library, mix, 4):
        assert {name for name, there in zip(BANDS, sample.present, strict=True) if not there} == absent
        for name in ("optical", "target", "context"):
            assert not getattr(sample, name)[sample.present == 0].any(), name


def test_the_context_is_learnt_from_clear_pixels_only(library: Library) -> None:
    scene = draw(library, PLAIN, np.random.default_rng(2))
    present = np.ones(13, bool)
    cover = np.zeros_like(scene.opacity)
    cover[10:40, 20:50] = 1
    covered = cover > 0
    brighter = scene.cloudy.copy()
    brighter[:, covered] += 0.3
    first, second = (
        assemble(replace(scene, cloudy=image), cover, present, scene.ground.radar, context=True)
        for image in (scene.cloudy, brighter)
    )
    assert torch.equal(first.context, second.context)
    assert not torch.equal(first.optical, second.optical)
    brighter[:, 0] += 0.3
    third = assemble(replace(scene, cloudy=brighter), cover, present, scene.ground.radar, context=True)
    assert not torch.equal(third.context, first.context)


def test_radar_reaches_the_network_scaled_and_with_its_gaps(library: Library) -> None:
    pair: Pair = library.pairs[0]
    assert pair.radar is not None
    scene = draw(Library(library.places[:1], [pair]), replace(PLAIN, other_date=1), np.random.default_rng(0))
    assert isinstance(scene, Clouded)
    sample = assemble(scene, scene.opacity > 0.1, np.ones(13, bool), pair.radar, context=True)
    assert not sample.radar_valid[0, :4, :4].any()
    assert sample.radar_valid[0, 4:].all()
    np.testing.assert_allclose(sample.radar.float().numpy(), scaled_radar(pair.radar), atol=1e-3)
