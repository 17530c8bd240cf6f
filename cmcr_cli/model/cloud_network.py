"""The cloud-and-shadow network that runs first, at 20 m: context, plan and condition need its mask.

It looks at a scene twice. `look_far` sees wide surroundings in squares of 160 m: where clouds are, what kind
of ground this is, and, when the sun's position is known, which cloud lies between a square and the sun.
`look_near` sees cells of 20 m, with a narrow margin, and draws the mask with what `look_far` found. So a
shadow can be matched with a cloud kilometres away at hardly any cost.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmcr_cli.model.condition import N_BANDS
from cmcr_cli.model.layers import PixelNorm, ResidualBlock, RowLinear, Upsample, downsample, zeroed

N_CLASSES = 4
"""Clear, thick cloud, thin cloud or cirrus, shadow: in the order of `scene.masks.mask_codes.CloudClass`."""

SQUARE = 8
"""Cells of 20 m along the side of a square of 160 m."""

HEIGHTS = (200.0, 400.0, 700.0, 1100.0, 1600.0, 2300.0, 3200.0, 4500.0)
"""Metres above ground at which the line towards the sun is searched for a cloud."""

REACH = 14
"""Squares along that line beyond which no cloud is searched for."""

AROUND = 8
"""Squares about an image that `look_far` sees without the sun."""

PIXEL = 16
"""Channels at 20 m: what a cell's own spectrum says, which goes past all levels and keeps edges sharp."""

NEAR_MARGIN = 32
"""Cells around a tile that `look_near` needs."""

FAR_MARGIN = NEAR_MARGIN + SQUARE * (REACH + AROUND)
"""Cells around a tile that `look_far` needs; what lies beyond does not change the mask of the tile."""


@dataclass(frozen=True, slots=True)
class CloudConfig:
    """Channels per level of `look_near`, at 40 m and 80 m, and of `look_far`, at 160 m."""

    near: tuple[int, int] = (32, 64)
    far: int = 64


class SunLine(nn.Module):
    """Adds to each square what lies above it in the direction of the sun, at several heights."""

    def __init__(self, channels: int, looked: int = 12) -> None:
        super().__init__()
        self.look = nn.Conv2d(channels, looked, 1)
        self.match = zeroed(nn.Conv2d(looked * len(HEIGHTS), channels, 1))

    def forward(self, x: Tensor, sun: Tensor) -> Tensor:
        """Features (B, C, h, w) and `sun` as `CloudNetwork` takes it to (B, C, h, w)."""
        known, towards, slope = sun[:, 0], sun[:, 1:3], sun[:, 3]
        looked, (height, width) = self.look(x), x.shape[2:]
        rows, cols = (torch.arange(n, device=x.device, dtype=x.dtype) for n in (height, width))
        found = []
        for metres in HEIGHTS:
            squares = (metres * slope / (20 * SQUARE)).clamp(max=REACH)
            steps = squares[:, None] * towards
            down = (rows + steps[:, :1]) * 2 / max(height - 1, 1) - 1
            across = (cols + steps[:, 1:]) * 2 / max(width - 1, 1) - 1
            grid = torch.stack(
                [across[:, None, :].expand(-1, height, -1), down[:, :, None].expand(-1, -1, width)], dim=-1
            )
            found.append(F.grid_sample(looked, grid, align_corners=True))
        matched: Tensor = self.match(torch.cat(found, dim=1))
        return x + matched * known[:, None, None, None]


class CloudNetwork(nn.Module):
    """Reflectance at 20 m to logits of `N_CLASSES` classes.

    `sun` is (B, 4): 1 where the sun's position is known and else 0, the unit vector (rows, columns) in pixels
    from a shadow towards its cloud, and the tangent of the sun's angle from the zenith.
    """

    def __init__(self, config: CloudConfig) -> None:
        super().__init__()
        self.config = config
        near, far = config.near, config.far
        self.far_stem = nn.Conv2d(2 * N_BANDS, far, 1)
        self.far_vector = RowLinear(N_BANDS, far)
        self.far_before = nn.Sequential(ResidualBlock(far), ResidualBlock(far))
        self.sun_line = SunLine(far)
        self.far_after = nn.Sequential(ResidualBlock(far), ResidualBlock(far))
        self.spectral = nn.Conv2d(N_BANDS, 2 * PIXEL, 1)
        self.vector = RowLinear(N_BANDS, 2 * PIXEL)
        self.pixel = nn.Conv2d(2 * PIXEL, PIXEL, 1)
        self.stem = downsample(PIXEL, near[0])
        self.encoders = nn.ModuleList(ResidualBlock(width) for width in near)
        self.downs = nn.ModuleList(downsample(a, b) for a, b in itertools.pairwise(near))
        self.far_up = Upsample(far, near[-1])
        self.decoders = nn.ModuleList(ResidualBlock(width) for width in near)
        self.ups = nn.ModuleList(Upsample(b, a) for a, b in itertools.pairwise(near))
        self.surroundings = nn.Sequential(PixelNorm(near[0]), nn.SiLU(), Upsample(near[0], PIXEL))
        self.head = nn.Sequential(
            nn.SiLU(), nn.Conv2d(PIXEL, PIXEL, 1), nn.SiLU(), nn.Conv2d(PIXEL, N_CLASSES, 1)
        )

    def look_far(self, squares: Tensor, present: Tensor, sun: Tensor) -> Tensor:
        """What `squares_of` gives, (B, 26, h, w), to features (B, far, h, w)."""
        x = self.far_stem(squares * present.repeat(1, 2)[:, :, None, None])
        x = self.far_before(x + self.far_vector(present)[:, :, None, None])
        features: Tensor = self.far_after(self.sun_line(x, sun))
        return features

    def look_near(self, optical: Tensor, present: Tensor, far: Tensor) -> Tensor:
        """Reflectance (B, 13, h, w) and features (B, far, h / 8, w / 8) of the same place to logits."""
        x = self.spectral(seen(optical) * present[:, :, None, None])
        pixel = self.pixel(F.silu(x + self.vector(present)[:, :, None, None]))
        x, skips = self.stem(pixel), []
        for depth, encoder in enumerate(self.encoders):
            x = encoder(x)
            if depth < len(self.downs):
                skips.append(x)
                x = self.downs[depth](x)
        x = self.decoders[-1](x + self.far_up(far))
        for depth in reversed(range(len(self.ups))):
            x = self.decoders[depth](self.ups[depth](x) + skips[depth])
        logits: Tensor = self.head(pixel + self.surroundings(x))
        return logits

    def forward(self, optical: Tensor, present: Tensor, sun: Tensor) -> Tensor:
        """Reflectance (B, 13, h, w), bands present (B, 13) and sun (B, 4) to logits (B, 4, h, w).

        h and w are multiples of 8. The surroundings are the mirrored image, as for a scene that ends there.
        """
        far = self.look_far(_with_mirror(squares_of(optical)), present, sun)
        return self.look_near(optical, present, far[:, :, AROUND:-AROUND, AROUND:-AROUND])


def _with_mirror(squares: Tensor) -> Tensor:
    """Squares (B, C, h, w) with AROUND more on each side, mirrored about the edge."""
    for axis in (2, 3):
        size = squares.shape[axis]
        phase = torch.arange(-AROUND, size + AROUND, device=squares.device) % (2 * size)
        squares = squares.index_select(axis, torch.minimum(phase, 2 * size - 1 - phase))
    return squares


def seen(optical: Tensor) -> Tensor:
    """Reflectance as the network takes it.

    The square root spreads dark ground, where shadow is told from water, as wide as bright cloud.
    """
    return optical.clamp(0, 1.5).sqrt() - 0.4


def squares_of(optical: Tensor) -> Tensor:
    """Mean and deviation of what is seen in each square: (B, 13, h, w) to (B, 26, h / 8, w / 8)."""
    x = seen(optical)
    mean = F.avg_pool2d(x, SQUARE)
    variance = F.avg_pool2d(x.square(), SQUARE) - mean.square()
    return torch.cat([mean, 4 * (variance.clamp(min=0) + 1e-6).sqrt()], dim=1)
