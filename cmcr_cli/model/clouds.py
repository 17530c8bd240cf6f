"""The small cloud-and-shadow network that runs first, at 20 m: context, plan and condition need its mask."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmcr_cli.model.condition import N_BANDS
from cmcr_cli.model.layers import PixelNorm, ResidualBlock, RowLinear, Upsample, downsample

CLASSES = ("clear", "cloud", "shadow")

MARGIN = 48
"""Pixels of 20 m around a tile that the network looks at; what lies beyond does not change its answer."""

THRESHOLD = 0.4
"""Probability of cloud or shadow from which on a cell counts as covered."""


@dataclass(frozen=True, slots=True)
class CloudConfig:
    """Channels per level; the first level works at 40 m, each further one at half the resolution.

    A tile must measure a multiple of 2 ** len(widths) cells of 20 m.
    """

    widths: tuple[int, ...] = (32, 48, 64)


class CloudNetwork(nn.Module):
    """A U-Net from reflectance at 20 m to logits of clear, cloud (thick or thin) and shadow."""

    def __init__(self, config: CloudConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.stem = nn.Conv2d(4 * N_BANDS, widths[0], 3, padding=1)
        self.vector = RowLinear(N_BANDS, widths[0])
        self.encoders = nn.ModuleList(ResidualBlock(width) for width in widths)
        self.downs = nn.ModuleList(downsample(a, b) for a, b in itertools.pairwise(widths))
        self.ups = nn.ModuleList(Upsample(b, a) for a, b in itertools.pairwise(widths))
        self.decoders = nn.ModuleList(ResidualBlock(width) for width in widths[:-1])
        self.head = nn.Sequential(PixelNorm(widths[0]), nn.SiLU(), Upsample(widths[0], len(CLASSES)))

    def forward(self, optical: Tensor, present: Tensor) -> Tensor:
        """Reflectance (B, 13, h, w) and bands present (B, 13) to logits (B, 3, h, w)."""
        # The square root spreads dark ground, where shadow is told from water, as wide as bright cloud.
        seen = (optical.clamp(0, 1.5).sqrt() - 0.4) * present[:, :, None, None]
        x = self.stem(F.pixel_unshuffle(seen, 2)) + self.vector(present)[:, :, None, None]
        skips = []
        for depth, encoder in enumerate(self.encoders):
            x = encoder(x)
            if depth < len(self.downs):
                skips.append(x)
                x = self.downs[depth](x)
        for depth in reversed(range(len(self.decoders))):
            x = self.decoders[depth](self.ups[depth](x) + skips[depth])
        logits: Tensor = self.head(x)
        return logits

    def cover(self, optical: Tensor, present: Tensor) -> Tensor:
        """Probability of cloud or shadow, (B, h, w)."""
        return 1 - torch.softmax(self(optical, present), dim=1)[:, 0]


def cloud_loss(logits: Tensor, classes: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy of (B, 3, h, w) against class indices (B, h, w), pixels weighted by (B, h, w)."""
    loss = F.cross_entropy(logits, classes, reduction="none")
    return (loss * weight).sum() / weight.sum().clamp(min=1)
