"""Layers that the networks share. No layer sees more than a neighbourhood of 3 x 3 pixels.

No layer pools over the patch: there is no group, instance or batch norm, no squeeze-and-excitation and no
global attention. Such a layer would make a pixel depend on the extent of its patch, and cause seams.
"""

from __future__ import annotations

import math
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


class PixelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel; in channels_last its NHWC view needs no copy."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the channels of each pixel.

        Args:
            x: Features (B, C, H, W).

        Returns:
            Features of the same shape.
        """
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class RowLinear(nn.Linear):
    """A linear layer whose results are bit-identical for every batch size.

    Matrix products choose their order of summation by the number of rows. The rows here are short, so a plain
    sum costs nothing, and a scene comes out the same with every batch size.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map vectors.

        Args:
            x: Vectors (B, source).

        Returns:
            Vectors (B, target).
        """
        return (x[:, None] * self.weight).sum(-1) + self.bias


class ResidualBlock(nn.Module):
    """Norm, 3x3 convolution, optional FiLM, SiLU, 3x3 convolution; the last one is initialised to zero.

    Args:
        channels: Channels of the features.
        embedding: Size of the embedding of the noise level that modulates them; 0: nothing does.
    """

    def __init__(self, channels: int, embedding: int = 0) -> None:
        super().__init__()
        self.norm = PixelNorm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = RowLinear(embedding, 2 * channels) if embedding else None
        self.second = zeroed(nn.Conv2d(channels, channels, 3, padding=1))
        if self.film is not None:
            zeroed(self.film)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Add the residual to the features.

        Args:
            x: Features (B, C, H, W).
            embedding: Embedding of the noise level (B, E) that modulates them; None: nothing does.

        Returns:
            Features (B, C, H, W).
        """
        hidden = self.first(self.norm(x))
        if self.film is not None and embedding is not None:
            scale, shift = self.film(embedding)[:, :, None, None].chunk(2, dim=1)
            hidden = torch.addcmul(shift, hidden, 1 + scale)
        return x + cast(Tensor, self.second(F.silu(hidden)))


class Upsample(nn.Module):
    """1x1 convolution and pixel shuffle: doubles the size at a fraction of the cost of an interpolation.

    Args:
        source: Channels that it takes.
        target: Channels that it returns.
    """

    def __init__(self, source: int, target: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(source, 4 * target, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Double the size.

        Args:
            x: Features (B, source, H, W).

        Returns:
            Features (B, target, 2 H, 2 W).
        """
        return F.pixel_shuffle(self.mix(x), 2)


def unshuffled(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 1x1 convolution to `pixel_unshuffle(x, 2)`, as an equivalent 2x2 convolution of stride 2.

    This avoids moving every value, which takes twice as long as the convolution.

    Args:
        layer: 1x1 convolution with 4 C input channels.
        x: (B, C, H, W), H and W even.

    Returns:
        (B, out, H / 2, W / 2).
    """
    weight = layer.weight.view(layer.out_channels, -1, 2, 2)
    return F.conv2d(x, weight, layer.bias, stride=2)


def downsample(source: int, target: int) -> nn.Conv2d:
    """Make a 2x2 convolution of stride 2.

    Args:
        source: Channels that it takes.
        target: Channels that it returns.

    Returns:
        The layer.
    """
    return nn.Conv2d(source, target, 2, stride=2)


def zeroed(layer: Layer) -> Layer:
    """Set a layer to zero, so that a residual branch starts as the identity.

    Args:
        layer: The layer, changed in place.

    Returns:
        The same layer.
    """
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def fourier(values: Tensor, count: int) -> Tensor:
    """Embed numbers as sines and cosines at frequencies that are octaves apart.

    Args:
        values: Numbers (B,).
        count: Number of frequencies.

    Returns:
        Embedding (B, 2 * count), -1 to 1.
    """
    frequencies = torch.exp2(torch.linspace(-1, 4, count, device=values.device)) * math.pi
    angles = values[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
