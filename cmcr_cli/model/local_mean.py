"""Averages over cells of 8 x 8 px, which separate the local level of an image from its detail."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

CELL = 8
"""Pixels along the side of a cell."""


def means(image: Tensor) -> Tensor:
    """Mean of each cell: (B, C, H, W) to (B, C, H / 8, W / 8)."""
    return F.avg_pool2d(image, CELL)


def around(cells: Tensor, width: int) -> Tensor:
    """Mean over `width` x `width` cells around each cell; cells outside the image are not counted."""
    return F.avg_pool2d(cells, width, 1, width // 2, count_include_pad=False)


def repeated(cells: Tensor) -> Tensor:
    """Interpolate cells to pixels, linearly between cell centres: (B, C, h, w) to (B, C, 8 h, 8 w)."""
    return F.interpolate(cells, scale_factor=CELL, mode="bilinear", align_corners=False)


def level(image: Tensor) -> Tensor:
    """Smooth local mean over about 3 x 3 cells; same shape as `image`, (B, C, H, W)."""
    return repeated(around(means(image), 3))
