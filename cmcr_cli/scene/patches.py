"""Patches over a scene: a lattice locked to the map, reflection at the edges, and the weights of blending.

Patch origins are at map rows and columns that are multiples of the stride, so that a crop of a scene has the
same patches as the whole. The raised-cosine weights of a full lattice sum to one, so nothing is divided by
their sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.errors import OptionError
from cmcr_cli.scene import OVERLAPS

PATCH = 256
"""Side of a patch in pixels, the network's input."""


def lattice_starts(origin: int, size: int, overlap: int) -> list[int]:
    """Place patches along one axis of a scene, locked to the map.

    Args:
        origin: First row or column of the scene on the map (`Grid.origin`).
        size: Size of the scene in pixels.
        overlap: Pixels that neighbouring patches share.

    Returns:
        First pixels of all patches that touch [0, size), ascending. The first may be negative, and the last
        patch may pass the end.

    Raises:
        OptionError: `overlap` is odd or out of range.
    """
    stride = _stride(overlap)
    first = (origin - PATCH) // stride + 1
    last = (origin + size - 1) // stride
    return [index * stride - origin for index in range(first, last + 1)]


def blend_ramp(overlap: int) -> NDArray[np.float32]:
    """Make the blend weights of a patch along one axis: raised cosine at both ends, one between.

    Where two patches of the lattice overlap, their weights sum to one. In two dimensions, take the outer
    product.

    Args:
        overlap: Pixels that neighbouring patches share.

    Returns:
        Weights (PATCH,).

    Raises:
        OptionError: `overlap` is odd or out of range.
    """
    _stride(overlap)
    rising = np.sin((np.arange(overlap) + 0.5) * (np.pi / 2 / overlap)) ** 2
    weights = np.ones(PATCH, dtype=np.float32)
    weights[:overlap] = rising
    weights[-overlap:] = rising[::-1]
    return weights


def reflected(start: int, length: int, size: int) -> NDArray[np.intp]:
    """Find the pixels of a window that may pass the ends of an axis, which is mirrored about its end pixels.

    That is numpy's pad mode "reflect", as often as needed; an axis of one pixel repeats it.

    Args:
        start: First pixel of the window.
        length: Pixels of the window.
        size: Pixels of the axis.

    Returns:
        Source pixels (length,). A patch is `array[..., rows[:, None], columns]`.
    """
    if size == 1:
        return np.zeros(length, dtype=np.intp)
    period = 2 * (size - 1)
    phase = np.arange(start, start + length) % period
    return np.minimum(phase, period - phase)


def mirrored(start: int, length: int, size: int) -> NDArray[np.intp]:
    """Do the same for an axis of blocks, which is mirrored about its edges: the last block occurs twice.

    So blocks match what `reflected` makes of their pixels, to within a pixel.

    Args:
        start: First block of the window.
        length: Blocks of the window.
        size: Blocks of the axis.

    Returns:
        Source blocks (length,).
    """
    phase = np.arange(start, start + length) % (2 * size)
    return np.minimum(phase, 2 * size - 1 - phase)


def crop(
    image: Any,
    lines: NDArray[np.intp],
    columns: NDArray[np.intp],
    take: Callable[[Any, NDArray[np.intp], int], Any] = np.take,
) -> Any:
    """Crop an array or tensor at `reflected` lines and columns.

    Args:
        image: Pixels (..., H, W).
        lines: Rows (n,) of the crop.
        columns: Its columns (m,).
        take: Takes the pixels at these positions of an axis, as `numpy.take` does.

    Returns:
        Pixels (..., n, m), a view where neither axis turns back.
    """
    # A window first, so that no full-width rows are copied.
    top, left = int(lines.min()), int(columns.min())
    image = image[..., top : int(lines.max()) + 1, left : int(columns.max()) + 1]
    for axis, pixels in ((-2, lines - top), (-1, columns - left)):
        if (np.diff(pixels) != 1).any():
            image = take(image, pixels, axis)
    return image


def edge_ramps(count: int, overlap: int) -> list[NDArray[np.float32]]:
    """Make the blend weights of all patches along one axis of a lattice.

    The outermost patches have no neighbour beyond them and keep their full weight to the end. So the weights
    sum to one over all that the lattice spans, and not only over the scene.

    Args:
        count: Number of patches.
        overlap: Pixels that neighbouring patches share.

    Returns:
        Weights (PATCH,) of each patch.
    """
    ramps = [blend_ramp(overlap).copy() for _ in range(count)]
    ramps[0][:overlap] = 1
    ramps[-1][-overlap:] = 1
    return ramps


def _stride(overlap: int) -> int:
    smallest, largest = OVERLAPS
    if overlap % 2 or not smallest <= overlap <= largest:
        raise OptionError(
            f"an overlap of {overlap} px was given; expected an even number from {smallest} to {largest}"
            ". See --overlap."
        )
    return PATCH - overlap
