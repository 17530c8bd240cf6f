from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from cmcr_cli.errors import InputError
from cmcr_cli.scene.masks.mask_codes import CLEAR, SHADOW, THICK
from cmcr_cli.scene.sun import Sun
from cmcr_cli.training.recipe import MaskMix, load_recipe
from cmcr_cli.training.samples.mask_samples import (
    MaskImage,
    MaskLibrary,
    MaskSamples,
    _classes,
    _odds,
    mask_batches,
)
from cmcr_cli.training.samples.mask_views import MaskSample


@pytest.fixture(autouse=True)
def two_skies(monkeypatch: pytest.MonkeyPatch) -> None:
    """To draw a sky takes long."""
    monkeypatch.setattr("cmcr_cli.training.samples.mask_clouds.SKIES", 2)


@pytest.fixture(scope="module")
def mix() -> MaskMix:
    return load_recipe("clouds").mask


PLAIN = MaskMix(**{**dict.fromkeys(MaskMix.__dataclass_fields__, 0.0), "views": 1})  # type: ignore[arg-type]
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
    drawn = samples(library, mix)
    for number in range(6):
        batch = drawn[number]
        assert all(bool(torch.isfinite(getattr(batch, name)).all()) for name in MaskSample.__slots__)
        known = batch.weight > 0
        total = batch.classes.sum(dim=1)
        assert torch.allclose(total[known], torch.ones_like(total[known]))
        assert batch.optical.min() >= 0


def test_there_may_be_images_of_one_kind_only(library: MaskLibrary, mix: MaskMix) -> None:
    covered, clear = (replace(library, **{part: []}) for part in ("clear", "covered"))
    always = replace(mix, clear=0.9, made=0.9)
    assert [samples(covered, always)[number].optical.shape[0] for number in range(3)] == [9, 9, 9]
    assert [samples(clear, always)[number].optical.shape[0] for number in range(3)] == [4, 9, 9]
    with pytest.raises(InputError, match="data check"):
        samples(MaskLibrary([], [], []), mix)


def test_a_plain_image_stays_as_it_is(library: MaskLibrary) -> None:
    drawn = samples(library, PLAIN).real(32, np.random.default_rng(0))
    assert bool((drawn.classes[THICK] == 1).all()) and bool((drawn.weight == 1).all())
    assert bool((drawn.optical == 0.7).all()) and float(drawn.sun.abs().sum()) == 0


def test_a_made_image_tells_its_sun(library: MaskLibrary, mix: MaskMix) -> None:
    made = samples(library, mix)
    suns = [made.over_ground(48, np.random.default_rng(seed)).sun for seed in range(12)]
    assert sum(int(sun[0]) for sun in suns) > 5


def test_more_clouds_over_an_image_add_to_its_own(mix: MaskMix) -> None:
    half = an_image("a", 0.2, CLEAR)
    half.classes[:, :20] = 0
    half.classes[THICK, :20] = 1
    half.cells[:, :20] = 0.8
    half.weight[:, :4] = 0
    made = samples(MaskLibrary([half], [], []), replace(PLAIN, crowded=1.0, veiled=mix.veiled))
    found = np.zeros(4)
    for seed in range(12):
        drawn = made.real(40, np.random.default_rng(seed))
        classes, weight = drawn.classes.numpy(), drawn.weight.numpy()
        assert float(drawn.sun.abs().sum()) == 0
        assert int((weight == 0).sum()) >= 160  # what was not known stays unknown
        assert int((classes[THICK][weight > 0] == 1).sum()) >= 0.45 * int((weight > 0).sum())
        found += classes.sum(axis=(1, 2))
    assert found[SHADOW] > 50 and found[CLEAR] > 50


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


def test_the_sun_of_an_image_is_turned_with_it(mix: MaskMix) -> None:
    """A cloud in the south-east throws its shadow to the north-west, whichever way the image is turned."""
    image = an_image("a", 0.2, CLEAR)
    for place, kind in ((slice(26, 32), THICK), (slice(8, 14), SHADOW)):
        image.classes[:, place, place] = 0
        image.classes[kind, place, place] = 1
    told = replace(image, suns=(Sun(135.0, 45.0),))
    drawn = samples(MaskLibrary([told], [], []), PLAIN)
    seen = set()
    for number in range(8):
        batch = drawn[number]
        for classes, sun in zip(batch.classes.numpy(), batch.sun.numpy(), strict=True):
            if not (classes[THICK].any() and classes[SHADOW].any()):
                continue  # the crop has lost one of them
            cloud, shadow = (np.argwhere(classes[kind] > 0).mean(axis=0) for kind in (THICK, SHADOW))
            towards = (cloud - shadow) / np.linalg.norm(cloud - shadow)
            assert sun[0] == 1 and towards @ sun[1:3] > 0.9
            assert np.degrees(np.arctan(sun[3])) == pytest.approx(45, abs=16)
            seen.add(tuple(np.sign(towards)))
    assert len(seen) == 4


def test_any_sun_fits_images_without_shadows(library: MaskLibrary) -> None:
    """Otherwise a sun that is known would mean that clouds were added."""
    batch = samples(library, replace(PLAIN, clear=1.0))[1]
    assert (batch.classes[:, CLEAR] == 1).all()
    assert (batch.sun[:, 0] == 1).all() and len(batch.sun.unique(dim=0)) > 1


def test_an_unknown_sun_stays_unknown(library: MaskLibrary) -> None:
    covered = replace(library, clear=[])
    for mix in (PLAIN, replace(PLAIN, crowded=1.0)):
        assert (samples(covered, mix)[1].sun == 0).all()
