from __future__ import annotations

from dataclasses import fields, replace
from itertools import islice

import numpy as np
import pytest
import torch

from cmcr_cli.model.condition import PatchInputs
from cmcr_cli.scene.bands import BANDS, scaled_radar
from cmcr_cli.scene.context import TYPICAL_MEAN
from cmcr_cli.training.library import Library, Pair
from cmcr_cli.training.samples import (
    CLEAR_WEIGHT,
    Clouded,
    CropBuffer,
    Mix,
    Sample,
    SampleStream,
    assemble,
    draw,
    make_sample,
    patch_inputs,
)

CHANNELS = {
    "optical": 13, "context": 13, "confidence": 1, "cover": 1, "radar": 2, "radar_valid": 1,
    "target": 13, "weight": 1, "opacity": 1, "shadow": 1,
}  # fmt: skip
PLAIN = Mix(
    simulated=0,
    gain=(1, 1),
    other_date=0,
    procedural=0,
    no_radar=0,
    no_context=0,
    no_cirrus=0,
    no_sixty_metre=0,
)
"""Nothing taken away, and real clouds over photographed ground as it is."""


def many(library: Library, mix: Mix, count: int = 8) -> list[Sample]:
    rng = np.random.default_rng(0)
    return [make_sample(library, mix, rng) for _ in range(count)]


@pytest.mark.parametrize(
    "mix",
    [
        Mix(simulated=0),
        Mix(simulated=0, procedural=1, other_date=0),
        Mix(simulated=0, other_date=1),
        Mix(simulated=1),
    ],
    ids=["usual", "procedural", "other date", "simulated"],
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
        for name in ("spread", "present"):
            assert getattr(sample, name).shape == (13,)
            assert getattr(sample, name).dtype == torch.float32
        assert sample.spread.min() > 0
        for name in ("confidence", "cover", "radar_valid", "weight", "opacity", "shadow"):
            assert getattr(sample, name).min() >= 0 and getattr(sample, name).max() <= 1, name
        assert sample.radar.abs().max() <= 1
        assert set(sample.cover.unique().tolist()) <= {0, 1}


def test_the_target_is_the_ground_under_the_cloud(library: Library) -> None:
    grounds = [image.optical for place in library.places for image in place]
    changed = 0
    for sample in many(library, PLAIN):
        target = sample.target.float().numpy()
        matches = [g for g in grounds if g.shape == target.shape and np.allclose(g, target, atol=1e-3)]
        assert matches, "the target is none of the library's clear images"
        clear = (sample.opacity == 0) & (sample.shadow == 0)
        same = (sample.optical == sample.target).all(dim=0, keepdim=True)
        assert same[clear].all()
        changed += int((~same & (sample.opacity > 0.5)).sum())
    assert changed > 100


def test_weights_of_the_loss(library: Library) -> None:
    for sample in many(library, PLAIN):
        expected = torch.where(sample.cover > 0, 1, CLEAR_WEIGHT).half()
        assert torch.equal(sample.weight, expected)
    for sample in many(library, replace(PLAIN, other_date=1)):
        assert torch.equal(sample.weight, sample.cover), (
            "another day's ground must not be learnt where it is clear"
        )


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


def test_without_radar(library: Library) -> None:
    for sample in many(library, replace(PLAIN, no_radar=1), 4):
        assert not sample.radar_valid.any()
    for sample in many(library, PLAIN, 4):
        assert sample.radar_valid.float().mean() > 0.9


def test_without_context(library: Library) -> None:
    typical = torch.from_numpy(TYPICAL_MEAN)
    for sample in many(library, replace(PLAIN, no_context=1), 4):
        assert not sample.confidence.any()
        expected = (typical * sample.present)[:, None, None].expand_as(sample.context)
        torch.testing.assert_close(sample.context.float(), expected, rtol=1e-3, atol=1e-4)
    for sample in many(library, PLAIN, 4):
        assert sample.confidence.any() or sample.cover.all()


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
    scene = draw(library, PLAIN, np.random.default_rng(1))
    present = np.ones(13, bool)
    covered = np.zeros(scene.opacity.shape, bool)
    covered[10:40, 20:50] = True
    brighter = scene.cloudy.copy()
    brighter[:, covered] += 0.3
    first, second = (
        assemble(replace(scene, cloudy=image), covered, present, scene.ground.radar, context=True)
        for image in (scene.cloudy, brighter)
    )
    assert torch.equal(first.context, second.context)
    assert not torch.equal(first.optical, second.optical)
    brighter[:, 0] += 0.3
    third = assemble(replace(scene, cloudy=brighter), covered, present, scene.ground.radar, context=True)
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


def test_streams_of_one_seed_are_alike(library: Library) -> None:
    def first(seed: int) -> list[Sample]:
        return list(islice(SampleStream(library, Mix(simulated=0), seed), 2))

    one, again, other = first(1), first(1), first(2)
    for name in CHANNELS:
        for a, b in zip(one, again, strict=True):
            assert torch.equal(getattr(a, name), getattr(b, name))
    assert any(
        a.optical.shape != b.optical.shape or not torch.equal(a.optical, b.optical)
        for a, b in zip(one, other, strict=True)
    )


class Counted(SampleStream):
    """Samples whose every plane tells its pixel's place in the whole, and where the cover is on one side."""

    def __iter__(self):  # type: ignore[no-untyped-def]
        for number in range(10**6):
            place = torch.arange(64 * 64, dtype=torch.float16).reshape(1, 64, 64) / 4
            planes = {name: place.expand(count, 64, 64) + 0 for name, count in CHANNELS.items()}
            planes["cover"] = (place % 16 >= 8).half()
            vectors = {"spread": torch.full((13,), float(number)), "present": torch.ones(13)}
            yield Sample(**planes, **vectors)


@pytest.fixture
def counted(library: Library) -> CropBuffer:
    return CropBuffer(Counted(library, Mix(), 0), size=3, crops_per_sample=4, seed=0)


WORKER = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@WORKER
def test_crops_of_all_planes_are_the_same_window(counted: CropBuffer) -> None:
    batch = counted.batch(12, 32)
    place = batch.optical[:, :1]
    for name, channels in CHANNELS.items():
        value = getattr(batch, name)
        assert value.shape == (12, channels, 32, 32)
        assert value.dtype == torch.float32
        expected = (place % 16 >= 8).float() if name == "cover" else place
        assert torch.equal(value, expected.expand_as(value)), name
    assert batch.spread.shape == batch.present.shape == (12, 13)


@WORKER
def test_crops_lie_on_even_pixels_and_are_turned(counted: CropBuffer) -> None:
    batch = counted.batch(64, 32)
    flat = 4 * batch.optical[:, 0]
    rows, cols = torch.div(flat, 64, rounding_mode="floor"), flat % 64
    assert (rows.amin(dim=(1, 2)) % 2 == 0).all()
    assert (cols.amin(dim=(1, 2)) % 2 == 0).all()
    corners = {
        (float(c[0, 0] < c[0, 1]), float(c[0, 0] == c[0, 1]), float(c[0, 0] < c[1, 0]))
        for c in flat[:, :2, :2]
    }
    assert len(corners) >= 4
    assert len({tuple(c.flatten()[:2].tolist()) for c in flat}) > 20


@WORKER
def test_samples_are_replaced_at_the_set_rate(counted: CropBuffer) -> None:
    assert {float(s.spread[0]) for s in counted.samples} == {0, 1, 2}
    for _ in range(3):
        counted.batch(4, 32)
    # 12 crops at 4 per sample: numbers 3, 4 and 5 were fetched, number 6 not yet
    assert float(next(counted.source).spread[0]) == 6
    assert max(float(s.spread[0]) for s in counted.samples) == 5


@WORKER
def test_whole_samples_fit_as_crops(counted: CropBuffer) -> None:
    assert counted.batch(2, 64).optical.shape == (2, 13, 64, 64)


@WORKER
def test_patch_inputs_are_what_the_network_may_see(counted: CropBuffer) -> None:
    batch = counted.batch(2, 32)
    inputs = patch_inputs(batch)
    assert isinstance(inputs, PatchInputs)
    assert all(getattr(inputs, f.name) is getattr(batch, f.name) for f in fields(PatchInputs))
    assert not {"target", "opacity", "shadow", "weight"} & {f.name for f in fields(PatchInputs)}
