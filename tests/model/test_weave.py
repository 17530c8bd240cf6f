from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cmcr_cli.model.weave import without_weave, woven
from tests.support.tensors import assert_close

EVERYWHERE = torch.ones(1, 1, 64, 64)


def noise(seed: int = 0) -> Tensor:
    return torch.randn(1, 13, 64, 64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("period", [2, 4])
def test_what_repeats_is_removed_and_its_mean_kept(period: int) -> None:
    weave = noise()[..., :period, :period].repeat(1, 1, 64 // period, 64 // period)
    found = without_weave(weave, EVERYWHERE)
    expected = weave.mean((2, 3), keepdim=True).expand_as(weave)
    assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("length", "lost"), [(200, 0.001), (40, 0.02), (10, 0.1)])
def test_slopes_stay(length: float, lost: float) -> None:
    """Waves of `length` pixels do not become steps."""
    rows = torch.arange(64)[:, None] * 2 * torch.pi / length
    hills = (rows.sin() * rows.T.cos()).expand(1, 13, 64, 64)
    taken = (without_weave(hills, EVERYWHERE) - hills)[..., 8:-8, 8:-8]
    assert taken.var() < lost * hills.var()


def test_of_structure_without_a_period_little_is_taken() -> None:
    image = noise(1)
    assert (without_weave(image, EVERYWHERE) - image).var() < 0.2 * image.var()


def test_where_the_ground_shows_through_nothing_changes() -> None:
    image, west = noise(2), torch.arange(64).expand(1, 1, 64, 64) < 32
    found = without_weave(image, west.float())
    assert torch.equal(found.masked_select(~west), image.masked_select(~west))
    assert not torch.equal(found, image)


def test_only_covered_pixels_of_bright_cloud_are_filtered() -> None:
    brightness = torch.tensor([0.0, 0.1, 0.15, 0.2, 0.9, 0.9]).view(1, 1, 1, 6)
    cover = torch.tensor([1.0, 1, 1, 1, 1, 0]).view(1, 1, 1, 6)
    assert woven(brightness, cover).flatten().tolist() == pytest.approx([0, 0, 0.5, 1, 1, 0])


def test_every_batch_size_gives_the_same_bits() -> None:
    batch = torch.cat([noise(seed) for seed in range(3)]).contiguous(memory_format=torch.channels_last)
    together = without_weave(batch, EVERYWHERE.expand(3, 1, 64, 64))
    alone = [without_weave(image[None], EVERYWHERE) for image in batch]
    assert torch.equal(together, torch.cat(alone))
