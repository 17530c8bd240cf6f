"""The cloud network, which classifies cells of 20 m as clear, thick cloud, thin cloud or shadow.

It looks at a scene at two scales. `look_far` sees squares of 160 m over a wide area: where clouds are, what
kind of ground this is and, if the position of the sun is known, which cloud is between a square and the sun.
`look_near` sees cells of 20 m with a narrow margin, and draws the mask with the features of `look_far`. So a
shadow can be matched with a cloud kilometres away at hardly any cost.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from cmcr_cli.model.condition import N_BANDS
from cmcr_cli.model.layers import PixelNorm, ResidualBlock, RowLinear, Upsample, downsample, zeroed

N_CLASSES = 4
"""Clear, thick cloud, thin cloud or cirrus, shadow, in the order of `scene.masks.mask_codes.CloudClass`."""

SQUARE = 8
"""Side of a square of 160 m, in cells of 20 m."""

HEIGHTS = (200.0, 400.0, 700.0, 1100.0, 1600.0, 2300.0, 3200.0, 4500.0)
"""Heights above ground, in metres, at which the line towards the sun is searched for a cloud."""

SUN_REACH = 14
"""Largest distance, in squares, at which a cloud is searched for along that line."""

LOWEST_SUN = 10.0
"""Degrees above the horizon: a lower sun throws shadows farther than the network looks anyway."""

AROUND = 8
"""Squares around an image that `look_far` sees apart from the search along the sun line."""

PIXEL = 16
"""Channels at 20 m, which depend on the spectrum of the cell alone. They bypass all levels and keep edges
sharp."""

NEAR_MARGIN = 32
"""Margin of `look_near` around a tile, in cells."""

FAR_MARGIN = NEAR_MARGIN + SQUARE * (SUN_REACH + AROUND)
"""Margin of `look_far` around a tile, in cells; nothing beyond changes the mask of the tile."""


@dataclass(frozen=True, slots=True)
class CloudConfig:
    """Sizes of the cloud network.

    Attributes:
        near: Channels of `look_near` at 40 m and at 80 m.
        far: Channels of `look_far` at 160 m.
    """

    near: tuple[int, int] = (32, 64)
    far: int = 64


class SunLine(nn.Module):
    """Adds to each square the features found in the direction of the sun, for several cloud heights.

    Args:
        channels: Features of a square.
        looked: Features that are looked for in the direction of the sun.
    """

    def __init__(self, channels: int, looked: int = 12) -> None:
        super().__init__()
        self.look = nn.Conv2d(channels, looked, 1)
        self.match = zeroed(nn.Conv2d(looked * len(HEIGHTS), channels, 1))

    def forward(self, x: Tensor, sun: Tensor) -> Tensor:
        """Add what is found in the direction of the sun.

        Args:
            x: Features (B, C, h, w), one per square.
            sun: Position of the sun (B, 4), see `CloudNetwork`.

        Returns:
            Features (B, C, h, w).
        """
        known, towards, slope = sun[:, 0], sun[:, 1:3], sun[:, 3]
        looked, (height, width) = self.look(x), x.shape[2:]
        rows, cols = (torch.arange(n, device=x.device, dtype=x.dtype) for n in (height, width))
        found = []
        for metres in HEIGHTS:
            squares = (metres * slope / (20 * SQUARE)).clamp(max=SUN_REACH)
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
    """Maps reflectance in cells of 20 m to logits of `N_CLASSES` classes.

    The sun is a vector (B, 4): 1 if its position is known and else 0; the unit vector (rows, columns) from a
    shadow towards its cloud; the tangent of the zenith angle.

    Args:
        config: The architecture.
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
        """Compute features of squares of 160 m.

        Args:
            squares: From `squares_of`, (B, 26, h, w).
            present: Bands that the product has (B, 13), 0 or 1.
            sun: Position of the sun (B, 4).

        Returns:
            Features (B, far, h, w).
        """
        x = self.far_stem(squares * present.repeat(1, 2)[:, :, None, None])
        x = self.far_before(x + self.far_vector(present)[:, :, None, None])
        features: Tensor = self.far_after(self.sun_line(x, sun))
        return features

    def look_near(self, optical: Tensor, present: Tensor, far: Tensor) -> Tensor:
        """Classify cells.

        Args:
            optical: Reflectance (B, 13, h, w).
            present: Bands that the product has (B, 13), 0 or 1.
            far: Features of `look_far` for the same area, (B, far, h / 8, w / 8).

        Returns:
            Logits (B, 4, h, w).
        """
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
        """Classify the cells of whole images, mirrored at their edges as a scene is.

        Args:
            optical: Reflectance (B, 13, h, w), h and w multiples of 8.
            present: Bands that the product has (B, 13), 0 or 1.
            sun: Position of the sun (B, 4).

        Returns:
            Logits (B, 4, h, w).
        """
        far = self.look_far(_with_mirror(squares_of(optical)), present, sun)
        return self.look_near(optical, present, far[:, :, AROUND:-AROUND, AROUND:-AROUND])


def _with_mirror(squares: Tensor) -> Tensor:
    """Extend squares (B, C, h, w) by AROUND on each side, mirrored about the edge."""
    for axis in (2, 3):
        size = squares.shape[axis]
        phase = torch.arange(-AROUND, size + AROUND, device=squares.device) % (2 * size)
        squares = squares.index_select(axis, torch.minimum(phase, 2 * size - 1 - phase))
    return squares


def sun_input(rows: float, columns: float, elevation: float) -> NDArray[np.float32]:
    """Make the input of the network for a known sun.

    Args:
        rows: Direction from a shadow to its cloud, downwards,
        columns: and to the right; both are a vector of length 1.
        elevation: Degrees above the horizon; below LOWEST_SUN it counts as that.

    Returns:
        Vector (4,), see `CloudNetwork`.
    """
    zenith = math.radians(90 - max(elevation, LOWEST_SUN))
    return np.array([1, rows, columns, math.tan(zenith)], np.float32)


def seen(optical: Tensor) -> Tensor:
    """Convert reflectance to the scale of the network.

    The square root gives dark ground, where shadow must be distinguished from water, as much contrast as
    bright cloud.

    Args:
        optical: Reflectance of any shape.

    Returns:
        Values of the same shape, about -0.4 to 0.8.
    """
    return optical.clamp(0, 1.5).sqrt() - 0.4


def squares_of(optical: Tensor) -> Tensor:
    """Summarise cells for the part of the network that looks far.

    Args:
        optical: Reflectance of cells (B, 13, h, w), h and w multiples of 8.

    Returns:
        Mean and 4 std of each square of 8 x 8 cells on the network's scale (B, 26, h / 8, w / 8).
    """
    x = seen(optical)
    mean = F.avg_pool2d(x, SQUARE)
    variance = F.avg_pool2d(x.square(), SQUARE) - mean.square()
    return torch.cat([mean, 4 * (variance.clamp(min=0) + 1e-6).sqrt()], dim=1)
