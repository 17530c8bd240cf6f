"""Averages over cells of 8 x 8 px, which separate the local level of an image from its detail."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

MEAN_CELL = 8
"""Pixels along the side of a cell."""


def means(image: Tensor) -> Tensor:
    """Average each cell.

    Args:
        image: Any values (B, C, H, W).

    Returns:
        Means (B, C, H / 8, W / 8).
    """
    return F.avg_pool2d(image, MEAN_CELL)


def around(cells: Tensor, width: int) -> Tensor:
    """Average the cells around each cell; those outside the image are not counted.

    Args:
        cells: Means of cells (B, C, h, w).
        width: Cells along the side of the square, an odd number.

    Returns:
        Means (B, C, h, w).
    """
    return F.avg_pool2d(cells, width, 1, width // 2, count_include_pad=False)


def repeated(cells: Tensor) -> Tensor:
    """Interpolate cells to pixels, linearly between the centres of cells.

    Args:
        cells: Values (B, C, h, w).

    Returns:
        Values (B, C, 8 h, 8 w).
    """
    return F.interpolate(cells, scale_factor=MEAN_CELL, mode="bilinear", align_corners=False)


def level(image: Tensor) -> Tensor:
    """Compute the smooth local mean over about 3 x 3 cells.

    Args:
        image: Any values (B, C, H, W).

    Returns:
        Means (B, C, H, W).
    """
    return repeated(around(means(image), 3))
