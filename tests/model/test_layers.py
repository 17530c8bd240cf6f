from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from cmcr_cli.model.layers import (
    PixelNorm,
    ResidualBlock,
    RowLinear,
    Upsample,
    downsample,
    fourier,
    zeroed,
)
from tests.support.tensors import assert_close


def test_pixel_norm_looks_at_one_pixel() -> None:
    x = torch.randn(2, 8, 4, 4)
    y = PixelNorm(8)(x)
    deviation = (x - x.mean(dim=1, keepdim=True)) / (x.var(dim=1, correction=0, keepdim=True) + 1e-5).sqrt()
    assert_close(y, deviation)


@pytest.mark.parametrize("count", [1, 2, 7, 32])
def test_rows_do_not_depend_on_the_batch_to_the_last_bit(count: int) -> None:
    layer = RowLinear(128, 64)
    x = torch.randn(40, 128)
    whole = layer(x)
    assert torch.equal(layer(x[:count]), whole[:count])
    assert_close(whole, nn.functional.linear(x, layer.weight, layer.bias))


def test_a_residual_block_begins_as_the_identity() -> None:
    block = ResidualBlock(8, embedding=16)
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(block(x, torch.randn(2, 16)), x)


def test_film_scales_and_shifts_per_sample() -> None:
    block = ResidualBlock(8, embedding=16)
    for layer in (block.film, block.second):
        assert layer is not None
        nn.init.normal_(layer.weight)
    x, embedding = torch.randn(1, 8, 4, 4).expand(2, -1, -1, -1), torch.randn(2, 16)
    y = block(x, embedding)
    assert not torch.allclose(y[0], y[1])
    scale, shift = block.film(embedding)[1, :, None, None].chunk(2)
    hidden = block.first(block.norm(x))[1] * (1 + scale) + shift
    assert_close(y[1], x[1] + block.second(nn.functional.silu(hidden[None]))[0])


def test_up_and_down() -> None:
    x = torch.randn(1, 8, 6, 4)
    assert downsample(8, 12)(x).shape == (1, 12, 3, 2)
    assert Upsample(8, 5)(x).shape == (1, 5, 12, 8)
    assert not zeroed(nn.Conv2d(8, 5, 1))(x).any()


def test_fourier_features() -> None:
    values = torch.tensor([0.0, 0.3, -1.1])
    features = fourier(values, 6)
    assert features.shape == (3, 12)
    assert features[0].tolist() == [0] * 6 + [1] * 6
    assert_close(features[:, 0], (values * math.pi / 2).sin())
    assert_close(features[:, 11], (values * math.pi * 16).cos(), rtol=0, atol=1e-4)
