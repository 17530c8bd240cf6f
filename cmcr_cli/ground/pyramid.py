"""Rasters of cells: block means, bilinear interpolation, and holes filled from coarse to fine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]

_FILL_WEIGHT = 0.06  # cells of clear ground that count as much as the next coarser level of the pyramid
_FILL_SIGMA = 0.6  # cells
_REACH = 64.0  # pixels between clear ground and a pixel where confidence is about one half


def block_mean(values: NDArray[Any]) -> Floats:
    """Compute means of blocks of 2 x 2 pixels, exact for DN of 16 bits.

    Args:
        values: Values (..., H, W). An odd last row or column is left out.

    Returns:
        Means (..., H // 2, W // 2).
    """
    rows, columns = (size // 2 * 2 for size in values.shape[-2:])
    total = np.add(values[..., 0:rows:2, 0:columns:2], values[..., 0:rows:2, 1:columns:2], dtype=np.float32)
    total += values[..., 1:rows:2, 0:columns:2]
    total += values[..., 1:rows:2, 1:columns:2]
    total *= np.float32(0.25)
    return np.asarray(total, np.float32)


def fill(sums: Floats, weight: Floats, cell: int) -> Floats:
    """Fill cells by normalised convolution, from coarse to fine.

    Each level weighs its own clear ground against `_FILL_WEIGHT` times the result of the next coarser level.

    Args:
        sums: Weight times residual (14, rows, columns); the last channel is overwritten by the confidence.
        weight: 1 for a clear cell (rows, columns).
        cell: Side of a cell in pixels.

    Returns:
        Residual and confidence (14, rows, columns).
    """
    levels = [(sums, weight)]
    while max(weight.shape) > 1:
        sums, weight = (4 * block_mean(_even(array)) for array in (sums, weight))
        levels.append((sums, weight))
    filled = np.zeros((len(sums), 1, 1), np.float32)
    for level, (sums, weight) in reversed(list(enumerate(levels))):
        rows, columns = weight.shape
        sums[-1] = weight / (1 + cell * (2**level - 1) / _REACH)
        sums = ndimage.gaussian_filter(sums, (0, _FILL_SIGMA, _FILL_SIGMA), mode="constant", truncate=3)
        weight = ndimage.gaussian_filter(weight, _FILL_SIGMA, mode="constant", truncate=3)
        coarser = np.pad(filled, ((0, 0), (1, 1), (1, 1)), mode="edge")
        coarser = upsample(upsample(coarser, axis=2), axis=1)[:, :rows, :columns]
        prior = np.float32(_FILL_WEIGHT * 2**level)
        filled = (sums + prior * coarser) / (weight + prior)
    return filled


def _even(values: Floats) -> Floats:
    """Values with a row and a column of zeros more where the last two axes are odd."""
    rows, columns = values.shape[-2:]
    return np.pad(values, (*[(0, 0)] * (values.ndim - 2), (0, rows % 2), (0, columns % 2)))


def upsample(values: Floats, axis: int, step: int = 1) -> Floats:
    """Interpolate linearly by 2 along one axis.

    Args:
        values: Values; the outermost along the axis serve as neighbours only.
        axis: The axis.
        step: Only every `step`-th of the new values is wanted, from the first on: 1, or an even number.

    Returns:
        Values, 2 n - 4 along the axis for n; fewer with a step.
    """
    if step > 1:
        lines = np.moveaxis(values, axis, 0)
        wanted = np.float32(0.75) * lines[1 : -1 : step // 2] + np.float32(0.25) * lines[: -2 : step // 2]
        return np.moveaxis(wanted, 0, axis)
    shape = list(values.shape)
    shape[axis] = 2 * (shape[axis] - 2)
    out = np.empty(shape, np.float32)
    source, target = np.moveaxis(values, axis, 0), np.moveaxis(out, axis, 0)
    near = np.float32(0.75) * source[1:-1]
    np.add(near, np.float32(0.25) * source[:-2], out=target[0::2])
    np.add(near, np.float32(0.25) * source[2:], out=target[1::2])
    return out


def hats(
    rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, ...], size: int
) -> tuple[tuple[slice, slice], Floats, Floats]:
    """Compute weights of a bilinear interpolation of a raster of cells, which is constant beyond its edges.

    Args:
        rows: Rows of blocks, ascending.
        columns: Columns of blocks, ascending.
        shape: Rows and columns of cells.
        size: Side of a cell in blocks.

    Returns:
        The cells that are needed, and the weights of each position for them, for rows and for columns: values
        =
        down @ raster[cells] @ across.T.
    """

    def weights(blocks: NDArray[Any], cells: int) -> tuple[slice, Floats]:
        position = np.clip((blocks + 0.5) / size - 0.5, 0, cells - 1)
        used = slice(int(position[0]), int(np.ceil(position[-1])) + 1)
        distance = np.abs(position[:, None] - np.arange(used.start, used.stop))
        return used, np.maximum(1 - distance, 0).astype(np.float32)

    down, across = (weights(blocks, cells) for blocks, cells in zip((rows, columns), shape, strict=True))
    return (down[0], across[0]), down[1], across[1]
