from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cmcr_cli.ground.context import TYPICAL_MEAN, TYPICAL_STD
from cmcr_cli.ground.spectral_basis import (
    CLASSES,
    FEATURES,
    LOOKS,
    MARGIN,
    RANDOM,
    USED,
    class_centres,
    features,
    identity,
    looks,
    random_features,
    spectrum,
    surroundings,
    trust,
)
from cmcr_cli.scene.bands import BANDS
from tests.support.dates import fields

Floats = NDArray[np.float32]


@pytest.fixture
def image() -> Floats:
    return fields(1, 64)


@pytest.fixture
def centres(image: Floats) -> Floats:
    return class_centres(spectrum(image).reshape(len(USED), -1).T)


def test_a_spectrum_is_in_units_of_typical_ground() -> None:
    typical = (TYPICAL_MEAN + 2 * TYPICAL_STD)[:, None]
    assert [BANDS[band] for band in USED] == [name for name in BANDS if name != "B10"]
    same = [BANDS[band] not in ("B01", "B09") for band in USED]
    np.testing.assert_allclose(spectrum(typical)[same], 1, atol=1e-5)
    np.testing.assert_allclose(spectrum(TYPICAL_MEAN[:, None])[same], 0, atol=1e-5)
    assert np.abs(spectrum(np.full((13, 1), 50, np.float32))).max() == 3


def test_the_surroundings_are_those_that_are_clear() -> None:
    values = np.random.default_rng(0).normal(size=(len(USED), 9, 9)).astype(np.float32)
    clear = np.ones((9, 9), bool)
    clear[4:6, 4] = False
    seen = surroundings(values, clear)
    box = values[:, 3:6, 3:6].reshape(len(USED), -1)[:, clear[3:6, 3:6].ravel()]
    np.testing.assert_allclose(seen[:, 4, 4], box.mean(1), rtol=1e-4, atol=1e-5)
    absurd = np.where(clear, values, np.float32(1e3))
    np.testing.assert_array_equal(surroundings(absurd, clear), seen)


def test_looks_are_stored_exactly_in_16_bits(image: Floats) -> None:
    seen = looks(image, np.ones((64, 64), bool))
    assert seen.shape == (LOOKS, 64 - 2 * MARGIN, 64 - 2 * MARGIN)
    np.testing.assert_array_equal(seen.astype(np.float16).astype(np.float32), seen)


def _inner(image: Floats) -> Floats:
    return image[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def test_the_identity_gives_back_the_image(image: Floats, centres: Floats) -> None:
    seen = looks(image, np.ones(image.shape[1:], bool))
    basis = features(seen, centres).reshape(FEATURES, -1)
    found = identity() @ np.concatenate([np.ones_like(basis[:1]), basis])
    np.testing.assert_allclose(found[list(USED)], _inner(image)[list(USED)].reshape(len(USED), -1), atol=1e-3)
    assert np.isfinite(found).all()


def test_classes_share_each_spectrum_among_them(image: Floats, centres: Floats) -> None:
    seen = looks(image, np.ones(image.shape[1:], bool))
    found = features(seen, centres)
    member = found[LOOKS + RANDOM :][:CLASSES]
    own = found[LOOKS + RANDOM + CLASSES :].reshape(CLASSES, len(USED), *seen.shape[1:])
    assert (member >= 0).all()
    np.testing.assert_allclose(member.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(own.sum(0), seen[: len(USED)], atol=1e-4)
    near = np.square(seen[None, : len(USED)] - centres[:, :, None, None]).sum(1).argmin(0)
    assert (member.argmax(0) == near).mean() > 0.999


def test_centres_of_distinct_spectra_are_these() -> None:
    draw = np.random.default_rng(2)
    own = 2 * draw.standard_normal((CLASSES, len(USED))).astype(np.float32)
    values = own[draw.integers(0, CLASSES, 4000)] + draw.normal(0, 0.01, (4000, len(USED)))
    found = class_centres(values.astype(np.float32))
    distance = np.linalg.norm(own[:, None] - found[None], axis=2).min(1)
    assert distance.max() < 0.02
    np.testing.assert_array_equal(found, class_centres(values.astype(np.float32)))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_spectra_have_centres_too(count: int) -> None:
    values = np.arange(count * len(USED), dtype=np.float32).reshape(count, len(USED)) / 30
    found = class_centres(values)
    assert found.shape == (CLASSES, len(USED)) and np.isfinite(found).all()


def test_random_features_saturate() -> None:
    found = random_features(np.full((len(USED), 2, 3), 100, np.float32))
    assert found.shape == (RANDOM, 2, 3) and set(np.abs(found).ravel()) == {1.0}


def test_what_is_seen_of_a_pixel_does_not_depend_on_the_window(image: Floats) -> None:
    clear = np.random.default_rng(4).random(image.shape[1:]) > 0.02
    whole = looks(image, clear)
    down, across = slice(10, 10 + 2 * MARGIN + 12), slice(6, 6 + 2 * MARGIN + 20)
    part = looks(image[:, down, across], clear[down, across])
    np.testing.assert_allclose(part, whole[:, 10:22, 6:26], atol=2**-9)


@pytest.mark.parametrize(("name", "low", "high"), [("B01", 0.01, 0.25), ("B09", 0.01, 0.4)])
def test_bands_of_both_levels_are_within_the_limits(name: str, low: float, high: float) -> None:
    """B01 of Level-2A is darker than that of Level-1C, and B09 as bright as B8A."""
    image = np.zeros((13, 1, 2), np.float32)
    image[BANDS.index(name)] = low, high
    values = spectrum(image)[USED.index(BANDS.index(name)), 0]
    assert -3 < values[0] < values[1] < 3


@pytest.mark.parametrize("step", [2, 4])
def test_pixels_that_are_skipped_change_nothing_for_the_others(image: Floats, step: int) -> None:
    clear = np.random.default_rng(4).random(image.shape[1:]) > 0.02
    np.testing.assert_array_equal(looks(image, clear, step), looks(image, clear)[:, ::step, ::step])


def test_what_is_hidden_tells_pixels_nothing(image: Floats) -> None:
    clear = np.ones(image.shape[1:], bool)
    clear[30:33, 30:33] = False
    absurd = np.where(clear, image, np.float32(7))
    one, other = (looks(each, clear) for each in (image, absurd))
    shown = trust(clear) > 0
    assert shown.sum() == shown.size - 4 * 4  # the blocks of 2 x 2 pixels that hold a hidden one
    np.testing.assert_array_equal(one[:, shown], other[:, shown])
    assert not np.array_equal(one, other)


def test_trust_ends_gently_where_clear_ground_ends() -> None:
    clear = np.ones((64, 64), bool)
    clear[:, 40:] = False
    row = trust(clear)[24]
    edge = 40 - MARGIN
    assert not row[edge:].any() and (np.diff(row[edge - 4 : edge]) < 0).all() and row[edge - 1] > 0.3
    assert (row[: edge - 4] == 1).all()
    assert (trust(np.ones((64, 64), bool)) == 1).all() and not trust(np.zeros((64, 64), bool)).any()
    assert trust(clear).shape == (48, 48)
