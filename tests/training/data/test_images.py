from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from cmcr_cli.errors import InputError
from cmcr_cli.ground import cirrus
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.training.data.images import (
    Array,
    Pair,
    cirrus_subtracted,
    ground_of,
    has_cloud,
    is_under_cirrus,
    opacity,
    read_pair,
)


def pair_of(cloudy: Array, clear: Array) -> Pair:
    return Pair(cloudy, clear, opacity(cloudy, clear), None)


def ground(seed: int) -> Array:
    """Dull ground with as little in B10 as clear air leaves."""
    image = np.random.default_rng(seed).uniform(0.05, 0.15, (13, 64, 64)).astype(np.float32)
    image[cirrus.B10] = 0.001
    return image


def under_cirrus(image: Array, amount: float = 0.02) -> Array:
    """Cirrus over all of an image, `amount` of it in B10."""
    added = (amount * cirrus.TYPICAL_RATIO * cirrus.SPECTRUM).reshape(13, 1, 1)
    under = image * (1 - added / cirrus.WHITE) + added
    under[cirrus.B10] = image[cirrus.B10] + amount
    return np.asarray(under, np.float32)


def test_opacity_of_a_known_cloud() -> None:
    clear = np.full((13, 64, 64), 0.1, np.float32)
    alpha = np.zeros((64, 64), np.float32)
    alpha[:20], alpha[20:40] = 1, 0.5
    cloudy = clear + alpha * (0.8 - clear)
    found = opacity(cloudy, clear)
    np.testing.assert_allclose(found[:15], 1, atol=0.02)
    np.testing.assert_allclose(found[25:35], 0.5, atol=0.02)
    assert not found[45:].any()


def test_a_field_turned_red_is_no_cloud() -> None:
    clear = np.full((13, 64, 64), 0.1, np.float32)
    bare = clear.copy()
    bare[BANDS.index("B04")] = 0.4
    assert not opacity(bare, clear).any()
    assert not opacity(0.5 * clear, clear).any()


def test_cirrus_over_the_clear_image_is_subtracted() -> None:
    truth = ground(1)
    cloudy = truth.copy()
    cloudy[:, :32] = 0.8
    clear = under_cirrus(truth)
    assert is_under_cirrus(clear) and not is_under_cirrus(truth)
    pair = cirrus_subtracted(pair_of(cloudy, clear))
    assert pair.lifted and not list(ground_of(pair))
    visible = [BANDS.index(name) for name in ("B02", "B03", "B04", "B08")]
    assert np.abs(pair.clear - truth)[visible].mean() < 0.1 * np.abs(clear - truth)[visible].mean()
    np.testing.assert_array_equal(pair.opacity, opacity(cloudy, pair.clear))
    assert has_cloud(pair)


def test_dates_the_wrong_way_round_are_exchanged() -> None:
    clean = ground(2)
    given = pair_of(clean, under_cirrus(clean))
    pair = cirrus_subtracted(given)
    assert not pair.lifted
    np.testing.assert_array_equal(pair.clear, clean)
    np.testing.assert_array_equal(pair.cloudy, given.clear)
    assert [image.optical is pair.clear for image in ground_of(pair)] == [True]


def test_ground_that_dried_is_no_cloud() -> None:
    """A lake becomes bright soil, which is brown; beside it there is cloud enough."""
    clear = ground(4)
    cloudy = clear.copy()
    cloudy[:, :12] = 0.8
    assert has_cloud(pair_of(cloudy, clear))
    dried, red = cloudy.copy(), BANDS.index("B04")
    dried[:, 32:] += np.linspace(0.05, 0.1, 3)[np.clip(np.arange(13) - 1, 0, 2)][:, None, None]
    assert dried[red, 40, 0] - clear[red, 40, 0] > 0.09
    assert not has_cloud(pair_of(dried, clear))


def test_two_dates_without_cloud_both_show_the_ground() -> None:
    pair = pair_of(0.95 * ground(3), ground(3))
    assert cirrus_subtracted(pair) is pair
    assert [
        image.optical is same for image, same in zip(ground_of(pair), (pair.clear, pair.cloudy), strict=True)
    ]
    assert not has_cloud(pair)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((12, 8, 8), "found 12 bands; expected 13"), ((13, 8, 9), r"sizes \[\(8, 8\), \(8, 9\)\]")],
)
def test_pairs_of_other_bands_or_sizes_are_refused(
    tmp_path: Path, shape: tuple[int, int, int], message: str
) -> None:
    for name, (count, height, width) in (("cloudy", shape), ("clear", (13, 8, 8))):
        with rasterio.open(
            tmp_path / name, "w", driver="GTiff", count=count, height=height, width=width, dtype="uint16",
            transform=rasterio.Affine(10, 0, 0, 0, -10, 0),
        ) as file:  # fmt: skip
            file.write(np.ones((count, height, width), np.uint16))
    with pytest.raises(InputError, match=message):
        read_pair(tmp_path / "cloudy", tmp_path / "clear", None)
