"""Canvases: the blended patches of one row of the lattice, on the device on which rows are put together.

Patches are blended by the raised-cosine ramps of `scene.patches`, whose sum over a full lattice is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cmcr_cli.scene.patches import PATCH


def strip_canvas(bands: int, lefts: Sequence[int], device: torch.device, *, half: bool = False) -> Tensor:
    """Make an empty canvas for a strip of patches.

    Args:
        bands: Number of layers.
        lefts: First columns of the patches; the canvas begins at the first of them.
        device: Device of the canvas.
        half: Whether values have 16 bits, not 32.

    Returns:
        Zeros (bands, PATCH, width).
    """
    shape = bands, PATCH, lefts[-1] + PATCH - lefts[0]
    return torch.zeros(shape, dtype=torch.float16 if half else torch.float32, device=device)


def blend(canvas: Tensor, column: int, patch: Tensor, down: Tensor, across: Tensor) -> None:
    """Add a weighted patch to the canvas of its strip.

    Args:
        canvas: The canvas (bands, PATCH, width).
        column: First column of the patch in the canvas.
        patch: The patch (bands, PATCH, PATCH).
        down: Weights along the rows (PATCH,).
        across: Weights along the columns (PATCH,).
    """
    part = canvas[:, :, column : column + PATCH]
    # Not `+=`: of mixed types that makes large tensors, which tear holes into a CPU's heap.
    sums = part.float().addcmul_(patch, down[:, None] * across)
    if sums.dtype != part.dtype:
        part.copy_(sums)


def join_rows(above: Tensor | None, here: Tensor, below: Tensor | None, overlap: int, column: int) -> Tensor:
    """Take a patch out of a strip, with the contributions of the strips that overlap it.

    Args:
        above: Canvas of the strip above, or its last `overlap` rows; None: nothing is restored there.
        here: Canvas of the strip.
        below: Canvas of the strip below; None: nothing is restored there.
        overlap: Rows that neighbouring strips share.
        column: First column of the patch in the canvas.

    Returns:
        Blended float32 values (bands, PATCH, PATCH).
    """
    columns = slice(column, column + PATCH)
    out = here[:, :, columns].to(torch.float32, copy=True)
    if above is not None:
        out[:, :overlap] += above[:, -overlap:, columns]
    if below is not None:
        out[:, -overlap:] += below[:, :overlap, columns]
    return out
