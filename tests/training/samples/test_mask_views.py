from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.masks.mask_codes import CLEAR, THICK
from cmcr_cli.training.recipe import MaskMix, load_recipe
from cmcr_cli.training.samples.mask_ground import AIR, B10
from cmcr_cli.training.samples.mask_views import MaskSample, views

ALWAYS = {"B02", "B03", "B04", "B08"}
BLUE = BANDS.index("B02")
PLAIN: dict[str, Any] = {**dict.fromkeys(MaskMix.__dataclass_fields__, 0.0), "views": 1}
"""Seen once; nothing is lost but the light changes."""

FIELDS = [0.11, 0.09, 0.08, 0.06, 0.11, 0.24, 0.3, 0.31, 0.33, 0.1, 0.001, 0.18, 0.09]


def a_batch(count: int = 60, side: int = 16) -> MaskSample:
    """Fields under a thick cloud in Level-1C; the last row was never measured."""
    optical = torch.tensor(FIELDS)[None, :, None, None].repeat(count, 1, side, side)
    optical[:, :, -1] = 0
    classes = torch.zeros(count, 4, side, side)
    classes[:, THICK] = 1
    sun = torch.tensor([1.0, 0.6, 0.8, 1.0]).repeat(count, 1)
    plane = torch.ones(count, side, side)
    return MaskSample(optical, torch.ones(count, 13), sun, classes, plane, torch.zeros_like(plane))


def seen(mix: MaskMix, batch: MaskSample | None = None, seed: int = 0) -> MaskSample:
    return views(a_batch() if batch is None else batch, mix, torch.Generator().manual_seed(seed))


def test_views_are_pure_functions_of_their_generator() -> None:
    mix, batch = load_recipe("clouds").mask, a_batch(4)
    before = batch.optical.clone()
    first, again, other = (seen(mix, batch, seed) for seed in (1, 1, 2))
    assert torch.equal(batch.optical, before)
    assert all(torch.equal(getattr(first, name), getattr(again, name)) for name in MaskSample.__slots__)
    assert not torch.equal(first.optical, other.optical)
    assert len(first.sun) == len(first.optical) == 4 * mix.views


def test_views_are_finite_and_lack_what_is_absent() -> None:
    batch = seen(load_recipe("clouds").mask)
    assert all(bool(torch.isfinite(getattr(batch, name)).all()) for name in MaskSample.__slots__)
    assert float(batch.optical.min()) >= -0.02
    absent = batch.present[:, :, None, None] == 0
    assert float((batch.optical * absent).abs().max()) == 0
    assert float(batch.optical[:, :, -1].abs().max()) == 0 and float(batch.weight[:, -1].max()) == 0
    for name in ALWAYS:
        assert bool((batch.present[:, BANDS.index(name)] == 1).all())


def test_a_label_stays_in_other_light() -> None:
    batch = seen(MaskMix(**PLAIN))
    assert bool((batch.classes[:, THICK] == 1).all()) and bool((batch.classes[:, CLEAR] == 0).all())
    assert bool((batch.weight[:, :-1] == 1).all()) and bool((batch.sun == a_batch().sun).all())
    ratio = batch.optical[:, BANDS.index("B08"), 0, 0] / FIELDS[BANDS.index("B08")]
    assert 0.5 < float(ratio.min()) < 0.95 < 1.05 < float(ratio.max()) < 2


def test_level_1_becomes_level_2_and_back() -> None:
    batch = seen(MaskMix(**PLAIN))
    corrected = batch.present[:, B10] == 0
    assert 5 < int(corrected.sum()) < 30
    blue = batch.optical[:, BLUE, :-1].mean(dim=(1, 2))
    assert float(blue[corrected].mean()) < float(blue[~corrected].mean()) - 0.3 * float(AIR[BLUE, 0, 0])
    level2 = a_batch()
    level2.present[:, B10] = level2.optical[:, B10] = 0
    again = seen(MaskMix(**PLAIN), level2)
    assert torch.equal(again.present, level2.present)
    hazy = again.optical[:, BLUE, :-1].mean(dim=(1, 2)) > FIELDS[BLUE] + 0.3 * float(AIR[BLUE, 0, 0])
    assert int(hazy.sum()) > 8


def test_every_way_to_lose_bands_is_taken() -> None:
    lost: dict[str, set[int]] = {}
    for name in ("no_cirrus", "no_sixty_metre", "no_band", "four_bands", "some_bands"):
        batch = seen(MaskMix(**{**PLAIN, name: 1.0}))
        # Level-2A, into which some images are turned, has no B10 anyway.
        present = batch.present[:, [*range(10), 11, 12]]
        lost[name] = set((present == 0).sum(dim=1).tolist())
        if name == "no_cirrus":
            assert float(batch.present[:, B10].max()) == 0
    assert lost["no_cirrus"] == {0} and lost["no_sixty_metre"] == {2} and lost["four_bands"] == {8}
    assert (
        lost["no_band"] == {0, 1} and lost["some_bands"] >= {2, 3, 4, 5, 6} and max(lost["some_bands"]) <= 7
    )


def test_bands_are_lost_as_often_as_the_recipe_says() -> None:
    batch = seen(MaskMix(**{**PLAIN, "four_bands": 0.25, "no_sixty_metre": 0.5}), a_batch(800, 2))
    lost = (batch.present[:, [*range(10), 11, 12]] == 0).sum(dim=1).float()
    assert float((lost == 8).float().mean()) == pytest.approx(0.25, abs=0.05)
    assert float((lost == 2).float().mean()) == pytest.approx(0.5, abs=0.05)


def test_edges_without_data_teach_nothing() -> None:
    batch = seen(MaskMix(**{**PLAIN, "nodata": 1.0}))
    empty = (batch.optical == 0).all(dim=1)
    share = empty[:, :-1].float().mean(dim=(1, 2))
    assert 0 < float(share.max()) < 1 and float(share.min()) < 0.2
    assert float(batch.weight[empty].sum()) == 0


def test_the_sun_is_told_as_often_as_the_recipe_says() -> None:
    told = seen(MaskMix(**{**PLAIN, "no_sun": 0.3}), a_batch(800, 2)).sun
    assert float(told[:, 0].mean()) == pytest.approx(0.7, abs=0.05)
    assert bool((told[told[:, 0] == 0] == 0).all())


def test_what_only_b10_tells_from_snow_teaches_nothing_without_it() -> None:
    batch = a_batch()
    batch = replace(batch, icy=torch.ones_like(batch.icy))
    drawn = seen(MaskMix(**PLAIN), batch)
    known = drawn.weight.amax(dim=(1, 2))
    np.testing.assert_array_equal(known.numpy(), drawn.present[:, B10].numpy())
    assert 0 < float(known.mean()) < 1
