from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cmcr_cli.model.cloud_network import (
    AROUND,
    FAR_MARGIN,
    HEIGHTS,
    N_CLASSES,
    NEAR_MARGIN,
    SQUARE,
    SUN_REACH,
    CloudConfig,
    CloudNetwork,
    SunLine,
    squares_of,
)
from tests.support.tensors import assert_close

Shake = Callable[[nn.Module], None]

SMALL = CloudConfig((8, 8), 8)
UNKNOWN = (0.0, 0.0, 0.0, 0.0)
LOW = 1000.0
"""Slope of a sun so low that every height is searched as far as SUN_REACH."""

SUNS = [UNKNOWN, (1, 1, 0, LOW), (1, 0, -1, LOW), (1, -0.6, 0.8, LOW), (1, 0, 1, 1.3)]


@pytest.fixture
def network(shake: Shake) -> CloudNetwork:
    network = CloudNetwork(SMALL)
    shake(network)
    return network.requires_grad_(False)


def sun_of(*values: float, count: int = 1) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).expand(count, 4)


@pytest.mark.parametrize("config", [CloudConfig(), SMALL, CloudConfig((8, 16), 24)])
def test_shapes(config: CloudConfig) -> None:
    network = CloudNetwork(config)
    image, present = torch.rand(2, 13, 8, 24), torch.ones(2, 13)
    squares = squares_of(image)
    assert squares.shape == (2, 26, 1, 3)
    assert network.look_far(squares, present, sun_of(*UNKNOWN, count=2)).shape == (2, config.far, 1, 3)
    for sun in (UNKNOWN, (1, 0.6, -0.8, 1.5)):
        logits = network(image, present, sun_of(*sun, count=2))
        assert logits.shape == (2, N_CLASSES, 8, 24) and logits.isfinite().all()


def test_the_two_looks_make_the_whole(network: CloudNetwork) -> None:
    image, present, sun = torch.rand(1, 13, 16, 24), torch.ones(1, 13), sun_of(1, 0, 1, 1)
    around = [(0, 0), (0, 0), (AROUND, AROUND), (AROUND, AROUND)]
    mirrored = torch.from_numpy(np.pad(squares_of(image).numpy(), around, mode="symmetric"))
    far = network.look_far(mirrored, present, sun)[:, :, AROUND:-AROUND, AROUND:-AROUND]
    assert torch.equal(network.look_near(image, present, far), network(image, present, sun))
    assert not torch.equal(
        network.look_near(image, present, torch.zeros_like(far)), network(image, present, sun)
    )


def test_squares_are_told_by_mean_and_deviation() -> None:
    image = torch.full((1, 13, 8, 16), 0.25)
    image[..., ::2, 8:] = 0.09  # square roots 0.5 and 0.3
    squares = squares_of(image)
    assert_close(squares[0, :13], torch.tensor([[0.1, 0.0]]).expand(13, 1, 2))
    assert_close(squares[0, 13:, 0, 1], torch.full((13,), 0.4), atol=1e-4, rtol=0)
    assert squares[0, 13:, 0, 0].max() < 0.01


def other_far_from(tile: slice, distance: int, image: Tensor) -> Tensor:
    """The image with everything changed that lies `distance` or more from the tile."""
    near = slice(tile.start - distance, tile.stop + distance)
    other = torch.rand_like(image)
    other[..., near, near] = image[..., near, near]
    return other


def tile_changes(network: CloudNetwork, distance: int, sun: tuple[float, ...]) -> Tensor:
    """Which cells of an aligned tile change when all that lies `distance` or more away does."""
    tile, size = slice(FAR_MARGIN + 16, FAR_MARGIN + 32), 2 * FAR_MARGIN + 48
    image, present = torch.rand(1, 13, size, size), torch.ones(1, 13)
    other = other_far_from(tile, distance, image)
    before, after = (network(x, present, sun_of(*sun)) for x in (image, other))
    return (before != after)[..., tile, tile]


@pytest.mark.parametrize("sun", SUNS)
def test_nothing_beyond_the_margin_counts(network: CloudNetwork, sun: tuple[float, ...]) -> None:
    assert not tile_changes(network, FAR_MARGIN, sun).any()


@pytest.mark.parametrize("sun", [(1, 1, 0, LOW), (1, 0, -1, LOW)])
def test_the_margin_is_hardly_wider_than_the_network_looks(
    network: CloudNetwork, sun: tuple[float, ...]
) -> None:
    assert tile_changes(network, FAR_MARGIN - 3 * SQUARE, sun).any()


def test_without_the_sun_the_network_looks_less_far(network: CloudNetwork) -> None:
    assert not tile_changes(network, FAR_MARGIN - SUN_REACH * SQUARE, UNKNOWN).any()
    assert tile_changes(network, FAR_MARGIN - (SUN_REACH + 3) * SQUARE, UNKNOWN).any()


def near_changes(network: CloudNetwork, distance: int) -> Tensor:
    """Likewise for `look_near` alone, with the image and what was seen far off both changed."""
    tile, size = slice(64, 80), 144
    image, present = torch.rand(1, 13, size, size), torch.ones(1, 13)
    far = torch.rand(1, SMALL.far, size // SQUARE, size // SQUARE)
    other = other_far_from(tile, distance, image)
    elsewhere = other_far_from(slice(64 // SQUARE, 80 // SQUARE), distance // SQUARE, far)
    before, after = network.look_near(image, present, far), network.look_near(other, present, elsewhere)
    return (before != after)[..., tile, tile]


def test_the_near_margin_is_enough_and_hardly_wider(network: CloudNetwork) -> None:
    assert not near_changes(network, NEAR_MARGIN).any()
    assert near_changes(network, NEAR_MARGIN - 2 * SQUARE).any()


@pytest.mark.parametrize("sun", SUNS)
def test_absent_bands_have_no_influence(network: CloudNetwork, sun: tuple[float, ...]) -> None:
    image, present = torch.rand(1, 13, 16, 16), torch.ones(1, 13)
    present[0, [0, 9, 10]] = 0
    other = image.clone()
    other[0, [0, 9, 10]] = torch.rand(3, 16, 16)
    towards = sun_of(*sun)
    assert torch.equal(network(image, present, towards), network(other, present, towards))
    assert not torch.equal(network(image, present, towards), network(image, torch.ones(1, 13), towards))


def test_one_image_of_a_batch_does_not_see_the_other(network: CloudNetwork) -> None:
    image, present = torch.rand(2, 13, 24, 24), torch.ones(2, 13)
    present[1, 10] = 0
    sun = torch.tensor([(1, 1, 0, 1.5), UNKNOWN])
    both = network(image, present, sun)
    for n in range(2):
        alone = network(image[n : n + 1], present[n : n + 1], sun[n : n + 1])
        assert_close(both[n : n + 1], alone, rtol=1e-4, atol=1e-5)


# The line towards the sun

SIDE = 41


def looking_at(height: int) -> SunLine:
    """A line that adds, to what is there, what lies in the direction of the sun at one of HEIGHTS."""
    line = SunLine(1, 1).requires_grad_(False)
    line.look.weight.fill_(1)
    line.look.bias.zero_()
    line.match.weight.zero_()
    line.match.weight[0, height] = 1
    return line


def lands(line: SunLine, sun: tuple[float, ...]) -> tuple[float, float, float]:
    """Rows, columns from one bright square to the centre of what it adds, and how much that is."""
    x = torch.zeros(1, 1, SIDE, SIDE)
    x[..., SIDE // 2, SIDE // 2] = 1
    added = (line(x, sun_of(*sun)) - x)[0, 0]
    places = torch.arange(SIDE) - SIDE // 2
    total = added.sum()
    rows, columns = (added.sum(1) * places).sum() / total, (added.sum(0) * places).sum() / total
    return float(rows), float(columns), float(total)


@pytest.mark.parametrize("height", range(len(HEIGHTS)))
@pytest.mark.parametrize("towards", [(1, 0), (0, -1), (-1, 0), (0.6, 0.8), (-math.sqrt(0.5), math.sqrt(0.5))])
@pytest.mark.parametrize("slope", [0.0, 0.4, 0.8, 3.0])
def test_a_cloud_is_found_from_where_its_shadow_falls(
    height: int, towards: tuple[float, float], slope: float
) -> None:
    """The sun stands `towards`, so the shadow lies the other way, by height x slope, at most SUN_REACH."""
    distance = min(HEIGHTS[height] * slope / (20 * SQUARE), SUN_REACH)
    rows, columns, total = lands(looking_at(height), (1, *towards, slope))
    assert total == pytest.approx(1, abs=1e-4)
    assert (rows, columns) == pytest.approx((-distance * towards[0], -distance * towards[1]), abs=1e-3)


def test_a_lower_sun_throws_the_shadow_farther_on_the_very_square() -> None:
    x = torch.zeros(1, 1, SIDE, SIDE)
    x[..., 20, 5] = 1
    line = looking_at(HEIGHTS.index(1600.0))  # 10 squares at a slope of 1
    for slope, column in ((0.5, 10), (1.0, 15), (1.4, 19), (2.0, 19)):
        added = (line(x, sun_of(1, 0, -1, slope)) - x)[0, 0]
        assert added[20, column] == pytest.approx(1, abs=1e-4), slope


def test_every_image_has_its_own_sun() -> None:
    x = torch.zeros(2, 1, SIDE, SIDE)
    x[..., 20, 20] = 1
    added = looking_at(HEIGHTS.index(1600.0))(x, torch.tensor([(1.0, 1, 0, 1), (1, 0, 1, 0.5)])) - x
    assert added[0, 0, 10, 20] == pytest.approx(1, abs=1e-4)
    assert added[1, 0, 20, 15] == pytest.approx(1, abs=1e-4)


def test_there_is_nothing_to_find_beyond_the_edge() -> None:
    added = looking_at(HEIGHTS.index(1600.0))(torch.ones(1, 1, SIDE, SIDE), sun_of(1, 1, 0, 1)) - 1
    assert torch.equal(added[0, 0, :, 0].round(decimals=3), (torch.arange(SIDE) < SIDE - 10).float())


def test_an_unknown_sun_changes_nothing(shake: Shake) -> None:
    line = SunLine(8)
    shake(line)
    x = torch.rand(2, 8, 20, 20)
    assert torch.equal(line(x, sun_of(*UNKNOWN, count=2)), x)
    assert torch.equal(line(x, sun_of(0, 1, 0, 3, count=2)), x), "whatever else is said of it"
    assert not torch.equal(line(x, sun_of(1, 1, 0, 3, count=2)), x)
