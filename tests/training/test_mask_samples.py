from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.mask_codes import CLEAR, SHADOW, THICK
from cmcr_cli.training.mask_samples import (
    MaskImage,
    MaskLibrary,
    MaskSample,
    MaskSamples,
    _classes,
    _odds,
    mask_batches,
)
from cmcr_cli.training.recipe import MaskMix, load_recipe

ALWAYS = {"B02", "B03", "B04", "B08"}


@pytest.fixture(autouse=True)
def two_skies(monkeypatch: pytest.MonkeyPatch) -> None:
    """To draw a sky takes long."""
    monkeypatch.setattr("cmcr_cli.training.mask_clouds.SKIES", 2)


@pytest.fixture(scope="module")
def mix() -> MaskMix:
    return load_recipe("clouds").mask


PLAIN = dict.fromkeys(MaskMix.__dataclass_fields__, 0.0)
"""Nothing is changed or taken away."""


def an_image(place: str, value: float, kind: int, size: int = 40) -> MaskImage:
    classes = np.zeros((4, size, size), np.float16)
    classes[kind] = 1
    cells = np.full((13, size, size), value, np.float32)
    return MaskImage(place, place, cells, np.ones(13, np.bool_), classes, np.ones((size, size), np.float32))


@pytest.fixture(scope="module")
def library() -> MaskLibrary:
    return MaskLibrary([an_image("a", 0.7, THICK)], [an_image("b", 0.2, CLEAR)], [])


def samples(library: MaskLibrary, mix: MaskMix, count: int = 9) -> MaskSamples:
    return MaskSamples(library, mix, 64, count, 0, 0)


def test_batches_are_pure_functions_of_their_number(library: MaskLibrary, mix: MaskMix) -> None:
    first = list(itertools.islice(mask_batches(samples(library, mix), 0), 4))
    later = list(itertools.islice(mask_batches(samples(library, mix), 0, 2), 2))
    for one, other in zip(first[2:], later, strict=True):
        assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in MaskSample.__slots__)
    assert not torch.equal(first[1].optical, first[2].optical)
    assert [batch.optical.shape for batch in first] == [
        (4, 13, 48, 48), (9, 13, 32, 32), (9, 13, 32, 32), (4, 13, 48, 48),
    ]  # fmt: skip


def test_samples_are_finite_and_their_classes_add_up(library: MaskLibrary, mix: MaskMix) -> None:
    for number in range(6):
        batch = samples(library, mix)[number]
        assert all(bool(torch.isfinite(getattr(batch, name)).all()) for name in MaskSample.__slots__)
        known = batch.weight > 0
        total = batch.classes.sum(dim=1)
        assert torch.allclose(total[known], torch.ones_like(total[known]))
        assert batch.optical.min() >= -0.02
        absent = batch.present[:, :, None, None] == 0
        assert float((batch.optical * absent).abs().max()) == 0
        for name in ALWAYS:
            assert bool((batch.present[:, BANDS.index(name)] == 1).all())


def test_a_plain_image_keeps_its_label_in_other_light(library: MaskLibrary) -> None:
    drawn = samples(library, MaskMix(**PLAIN)).real(32, np.random.default_rng(0))
    assert bool((drawn.classes[THICK] == 1).all()) and bool((drawn.weight == 1).all())
    assert float(drawn.optical[2].mean()) > 0.3


def test_every_way_to_lose_bands_is_taken(library: MaskLibrary) -> None:
    lost: dict[str, set[int]] = {}
    for name in ("no_cirrus", "no_sixty_metre", "no_band", "four_bands", "some_bands"):
        made = samples(library, MaskMix(**{**PLAIN, name: 1.0}))
        # Level-2A, into which some images are turned, has no B10 anyway.
        drawn = [
            made.real(32, np.random.default_rng(seed)).present[[*range(10), 11, 12]] for seed in range(20)
        ]
        lost[name] = {int((present == 0).sum()) for present in drawn}
    assert lost["no_cirrus"] == {0} and lost["no_sixty_metre"] == {2} and lost["four_bands"] == {8}
    assert lost["no_band"] <= {0, 1} and 1 in lost["no_band"] and max(lost["some_bands"]) > 3


def test_edges_without_data_teach_nothing(library: MaskLibrary) -> None:
    made = samples(library, MaskMix(**{**PLAIN, "nodata": 1.0}))
    drawn = [made.real(32, np.random.default_rng(seed)) for seed in range(8)]
    empty = [(sample.optical == 0).all(dim=0) for sample in drawn]
    assert any(bool(mask.any()) and not bool(mask.all()) for mask in empty)
    assert all(float(sample.weight[mask].sum()) == 0 for sample, mask in zip(drawn, empty, strict=True))


def test_the_sun_is_told_as_often_as_the_recipe_says(library: MaskLibrary, mix: MaskMix) -> None:
    def told(share: float) -> int:
        made = samples(library, replace(mix, no_sun=share))
        return sum(int(made.over_ground(48, np.random.default_rng(seed)).sun[0]) for seed in range(12))

    assert told(1.0) == 0 and told(0.0) > 5


def test_classes_of_opacity_and_shadow() -> None:
    opacity = np.array([[0, 0.04, 0.2, 0.8, 0, 0, 0, 0.1]], np.float32)
    shadow = np.array([[0, 0, 0, 0.9, 0.15, 0.6, 0.6, 0.6]], np.float32)
    dark = np.array([[0, 0, 0, 0, 0, 0, 1, 0]], np.bool_)
    found = _classes(opacity, shadow, dark)
    names = ["clear", "thick", "thin", "shadow"]
    assert [[names[kind] for kind in np.flatnonzero(cell)] for cell in found[:, 0].T] == [
        ["clear"], [], ["thin"], ["thick"], [], ["shadow"], [], ["thin"],
    ]  # fmt: skip
    assert found[SHADOW].sum() == 1


def test_sources_of_many_images_do_not_drown_the_others() -> None:
    images = [an_image("many", 0.1, CLEAR)] * 16 + [an_image("one", 0.1, CLEAR)]
    odds = _odds(images)
    assert odds.sum() == pytest.approx(1) and odds[-1] == pytest.approx(4 * odds[0])
