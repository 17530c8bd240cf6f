"""Averages over cells of 8 px: what tells the level of an image from its detail."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

CELL = 8
"""Pixels along the side of a cell."""


def means(image: Tensor) -> Tensor:
    """(B, C, H, W) to the mean of each cell, (B, C, H / 8, W / 8)."""
    return F.avg_pool2d(image, CELL)


def around(cells: Tensor, width: int) -> Tensor:
    """The mean of the `width` x `width` cells about each, of those that there are."""
    return F.avg_pool2d(cells, width, 1, width // 2, count_include_pad=False)


def spread_out(cells: Tensor) -> Tensor:
    """Cells to pixels, linear between their centres."""
    return F.interpolate(cells, scale_factor=CELL, mode="bilinear", align_corners=False)


def level(image: Tensor) -> Tensor:
    """The local mean of an image over about 3 x 3 cells, smooth, of the image's own shape."""
    return spread_out(around(means(image), 3))
