"""Canvases: the blended patches of one row of the lattice, on the device on which rows are put together.

Patches are blended by the raised-cosine ramps of `scene.patches`, whose sum over a full lattice is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cmcr_cli.scene.patches import PATCH


def strip_canvas(bands: int, lefts: Sequence[int], device: torch.device, *, half: bool = False) -> Tensor:
    """Zeros (bands, PATCH, width) for one row of patches, of 32 bits or of 16.

    Its columns begin at the first of `lefts`.
    """
    shape = bands, PATCH, lefts[-1] + PATCH - lefts[0]
    return torch.zeros(shape, dtype=torch.float16 if half else torch.float32, device=device)


def blend(canvas: Tensor, column: int, patch: Tensor, down: Tensor, across: Tensor) -> None:
    """Add `patch` (bands, PATCH, PATCH), weighted by two ramps (PATCH,), to the canvas of its row."""
    part = canvas[:, :, column : column + PATCH]
    # Not `+=`: of mixed types that makes large tensors, which tear holes into a CPU's heap.
    sums = part.float().addcmul_(patch, down[:, None] * across)
    if sums.dtype != part.dtype:
        part.copy_(sums)


def join_rows(above: Tensor | None, here: Tensor, below: Tensor | None, overlap: int, column: int) -> Tensor:
    """Blended float32 values (bands, PATCH, PATCH) of one row of patches from a column of its canvas.

    Where patches of the next rows overlap it, their canvases are added; of `above` the last `overlap` lines
    are enough. None stands for a row without patches, and counts as zero.
    """
    columns = slice(column, column + PATCH)
    out = here[:, :, columns].to(torch.float32, copy=True)
    if above is not None:
        out[:, :overlap] += above[:, -overlap:, columns]
    if below is not None:
        out[:, -overlap:] += below[:, :overlap, columns]
    return out
