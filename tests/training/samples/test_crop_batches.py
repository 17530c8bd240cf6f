from __future__ import annotations

from dataclasses import fields, replace
from itertools import islice

import pytest
import torch

from cmcr_cli.errors import InputError
from cmcr_cli.model.condition import PatchInputs
from cmcr_cli.training.data.library import Library
from cmcr_cli.training.recipe import DataConfig
from cmcr_cli.training.samples.patch_samples import (
    Sample,
    SampleSequence,
    crop_batches,
    patch_inputs,
)
from tests.support.samples import CHANNELS, PLAIN, VECTORS


def alike(one: Sample, other: Sample) -> bool:
    return all(torch.equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(Sample))


def test_a_sample_is_a_function_of_seed_rank_and_number(library: Library) -> None:
    samples = SampleSequence(library, PLAIN, 1, 0)
    first, second = samples[0], samples[1]
    assert alike(samples[0], first)
    others = [second, SampleSequence(library, PLAIN, 2, 0)[0], SampleSequence(library, PLAIN, 1, 1)[0]]
    for other in others:
        assert first.optical.shape != other.optical.shape or not alike(first, other)


class Counted(SampleSequence):
    """Samples whose every plane tells its pixel's place in the whole, and where the cover is on one side."""

    def __getitem__(self, number: int) -> Sample:
        place = torch.arange(64 * 64, dtype=torch.float16).reshape(1, 64, 64) / 4
        planes = {name: place.expand(count, 64, 64) + 0 for name, count in CHANNELS.items()}
        planes["cover"] = (place % 16 >= 8).half()
        vectors = {name: torch.full(shape, float(number)) for name, shape in VECTORS.items()}
        return Sample(**planes, **vectors)


@pytest.fixture
def counted(library: Library) -> Counted:
    return Counted(library, PLAIN, 0, 0)


WINDOW = DataConfig(split_rule="exact", fold=0, buffer=3, crops_per_sample=4, workers=0)


def first_of(samples: SampleSequence, count: int, crop: int = 32) -> Sample:
    return next(crop_batches(samples, WINDOW, count, crop))


def test_crops_of_all_planes_are_the_same_window(counted: Counted) -> None:
    batch = first_of(counted, 12)
    place = batch.optical[:, :1]
    for name, channels in CHANNELS.items():
        value = getattr(batch, name)
        assert value.shape == (12, channels, 32, 32)
        assert value.dtype == torch.float32
        expected = (place % 16 >= 8).float() if name == "cover" else place
        assert torch.equal(value, expected.expand_as(value)), name
    for name, shape in VECTORS.items():
        assert getattr(batch, name).shape == (12, *shape)


def test_crops_lie_on_even_pixels_and_are_turned(counted: Counted) -> None:
    flat = 4 * first_of(counted, 64).optical[:, 0]
    rows, cols = torch.div(flat, 64, rounding_mode="floor"), flat % 64
    assert (rows.amin(dim=(1, 2)) % 2 == 0).all()
    assert (cols.amin(dim=(1, 2)) % 2 == 0).all()
    corners = {
        (float(c[0, 0] < c[0, 1]), float(c[0, 0] == c[0, 1]), float(c[0, 0] < c[1, 0]))
        for c in flat[:, :2, :2]
    }
    assert len(corners) >= 4
    assert len({tuple(c.flatten()[:2].tolist()) for c in flat}) > 20


def test_the_window_of_samples_moves_on_at_the_set_rate(counted: Counted) -> None:
    batches = list(islice(crop_batches(counted, WINDOW, 40, 32), 3))
    seen = [set(batch.std[:, 0].tolist()) for batch in batches]
    assert seen == [{0, 1, 2}, {10, 11, 12}, {20, 21, 22}]  # 40 crops at 4 per sample


def test_batches_do_not_depend_on_where_they_begin_nor_on_the_workers(library: Library) -> None:
    samples = SampleSequence(library, replace(PLAIN, procedural=0.5), 5, 0)
    whole = list(islice(crop_batches(samples, WINDOW, 6, 32), 5))
    later = list(islice(crop_batches(samples, WINDOW, 6, 32, first=3), 2))
    assert all(map(alike, whole[3:], later))
    assert not alike(whole[3], whole[4])
    other_rank = next(crop_batches(SampleSequence(library, PLAIN, 5, 1), WINDOW, 6, 32))
    assert not torch.equal(other_rank.optical, whole[0].optical)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_several_workers_draw_what_one_does(library: Library) -> None:
    samples = SampleSequence(library, PLAIN, 5, 0)
    alone = list(islice(crop_batches(samples, WINDOW, 6, 32), 3))
    together = list(islice(crop_batches(samples, replace(WINDOW, workers=2), 6, 32), 3))
    assert all(map(alike, alone, together))


def test_whole_samples_fit_as_crops(counted: Counted) -> None:
    assert first_of(counted, 2, 64).optical.shape == (2, 13, 64, 64)


def test_crops_larger_than_the_images_are_refused(counted: Counted) -> None:
    with pytest.raises(InputError, match=r"64 x 64 px.*--crop"):
        first_of(counted, 2, 128)


def test_patch_inputs_are_what_the_network_may_see(counted: Counted) -> None:
    batch = first_of(counted, 2)
    inputs = patch_inputs(batch)
    assert isinstance(inputs, PatchInputs)
    assert all(getattr(inputs, f.name) is getattr(batch, f.name) for f in fields(PatchInputs))
    assert not {"target", "opacity", "shadow", "weight"} & {f.name for f in fields(PatchInputs)}
