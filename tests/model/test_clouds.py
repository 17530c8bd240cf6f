from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cmcr_cli.model.clouds import CLASSES, MARGIN, CloudConfig, CloudNetwork, cloud_loss

Shake = Callable[[nn.Module], None]


@pytest.fixture
def network(shake: Shake) -> CloudNetwork:
    network = CloudNetwork(CloudConfig())
    shake(network)
    return network.requires_grad_(False)


@pytest.mark.parametrize("config", [CloudConfig(), CloudConfig((8,)), CloudConfig((8, 16))])
def test_shapes(config: CloudConfig) -> None:
    height, width = 2 ** len(config.widths), 3 * 2 ** len(config.widths)
    network = CloudNetwork(config)
    image, present = torch.rand(2, 13, height, width), torch.ones(2, 13)
    assert network(image, present).shape == (2, len(CLASSES), height, width)
    assert network.cover(image, present).shape == (2, height, width)


def test_cover_is_the_probability_of_what_is_not_clear(network: CloudNetwork) -> None:
    image, present = torch.rand(1, 13, 16, 16), torch.ones(1, 13)
    cover = network.cover(image, present)
    logits = network(image, present)
    expected = logits[:, 1:].exp().sum(dim=1) / logits.exp().sum(dim=1)
    torch.testing.assert_close(cover, expected, rtol=1e-4, atol=1e-5)


def tile_changes(network: CloudNetwork, distance: int) -> Tensor:
    """Which pixels of an aligned tile change when all that lies `distance` or more away does."""
    side, far = 16, MARGIN + 16
    image = torch.rand(1, 13, side + 2 * far, side + 2 * far)
    near = slice(far - distance, far + side + distance)
    other = torch.rand_like(image)
    other[..., near, near] = image[..., near, near]
    present = torch.ones(1, 13)
    tile = (..., slice(far, far + side), slice(far, far + side))
    return (network(image, present) != network(other, present))[tile]


def test_nothing_beyond_the_margin_counts(network: CloudNetwork) -> None:
    assert not tile_changes(network, MARGIN).any()


def test_the_margin_is_not_wider_than_the_network_looks(network: CloudNetwork) -> None:
    assert tile_changes(network, MARGIN - 16).any()


def test_absent_bands_have_no_influence(network: CloudNetwork) -> None:
    image, present = torch.rand(1, 13, 16, 16), torch.ones(1, 13)
    present[0, [0, 9, 10]] = 0
    other = image.clone()
    other[0, [0, 9, 10]] = torch.rand(3, 16, 16)
    assert torch.equal(network(image, present), network(other, present))
    assert not torch.equal(network(image, present), network(image, torch.ones(1, 13)))


def test_loss_ignores_pixels_without_weight() -> None:
    logits, classes = torch.randn(2, 3, 8, 8), torch.randint(3, (2, 8, 8))
    weight = (torch.rand(2, 8, 8) > 0.5).float()
    before = cloud_loss(logits, classes, weight)
    logits.movedim(1, -1)[weight == 0] = torch.tensor([50.0, -50.0, 0.0])
    classes[weight == 0] = 1
    assert torch.equal(cloud_loss(logits, classes, weight), before)
    logits.movedim(1, -1)[weight == 1] = torch.tensor([50.0, -50.0, 0.0])
    assert not torch.allclose(cloud_loss(logits, classes, weight), before)


def test_loss_by_hand() -> None:
    logits = torch.log(torch.tensor([0.5, 0.25, 0.25])).reshape(1, 3, 1, 1).expand(1, 3, 1, 2)
    classes, weight = torch.tensor([[[0, 1]]]), torch.tensor([[[3.0, 1.0]]])
    expected = -(3 * torch.tensor(0.5).log() + torch.tensor(0.25).log()) / 4
    torch.testing.assert_close(cloud_loss(logits, classes, weight), expected)
    assert cloud_loss(logits, classes, 0 * weight) == 0
