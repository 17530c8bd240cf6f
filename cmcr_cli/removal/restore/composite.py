"""Putting reconstructed pixels into the image: matched to the clear ground nearby, with feathered edges."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from cmcr_cli.removal.restore.stored_bits import reflectance, stored
from cmcr_cli.scene.optical import Optical

COARSE = 8
"""Pixels per cell at the finest scale of the offset matching: lower than any detail, finer than a field."""

LINES = 16
"""Lines that are mixed at once."""

FAITH = 0.15
"""Share of clear pixels in a cell at which its own offset counts as much as that of the coarser scale."""


def match_offsets(restored: Tensor, observed: Tensor, clear: Tensor) -> Tensor:
    """Remove the low-frequency offset between restored patches and their clear ground.

    The differences on clear ground are carried into the holes by a pyramid of normalised convolutions, from
    coarse to fine. Without a clear pixel in a patch, nothing changes.

    Args:
        restored: Reflectance (B, 13, H, W).
        observed: Reflectance (B, 13, H, W).
        clear: Clear pixels (B, 1, H, W).

    Returns:
        Restored reflectance.
    """
    weight = F.avg_pool2d(clear, COARSE)
    offset = F.avg_pool2d((observed - restored) * clear, COARSE)
    levels = [(offset, weight)]
    while min(offset.shape[-2:]) > 1:
        offset, weight = F.avg_pool2d(offset, 2), F.avg_pool2d(weight, 2)
        levels.append((offset, weight))
    offset, weight = levels.pop()
    field = offset / (weight + 0.02)  # fades to no change where hardly anything is clear
    for offset, weight in reversed(levels):
        coarse = F.interpolate(field, size=offset.shape[-2:], mode="bilinear", align_corners=False)
        field = (offset + FAITH * coarse) / (weight + FAITH)
    return restored + F.interpolate(field, size=restored.shape[-2:], mode="bilinear", align_corners=False)


def composite(
    dn: Tensor, restored: Sequence[Tensor], strength: Tensor, valid: Tensor, optical: Optical
) -> Tensor:
    """Mix restored reflectance into DN. Pixels that are not replaced never become floats.

    Args:
        dn: Bits of the stored integers as int16 (bands, rows, width).
        restored: Reflectance (rows, width) of each band; not needed if `strength` is 0 throughout.
        strength: How much of each pixel is replaced (rows, width), 0 to 1.
        valid: Where there is a measurement (rows, width); others are not replaced.
        optical: The scene.

    Returns:
        Bits of the new integers (bands, rows, width).
    """
    replaced = valid & (strength > 0)
    out = dn.clone()
    # A few lines of one band at a time stay in the processor's cache.
    for first in range(0, len(valid), LINES):
        lines = slice(first, first + LINES)
        if not replaced[lines].any():
            continue
        share, rest = strength[lines], 1 - strength[lines]
        bits = -replaced[lines].short()  # all, or none: choosing by them is much faster than torch.where
        for band, image in zip(out, restored, strict=True):
            seen = band[lines]
            new = stored((share * image[lines]).add_(reflectance(seen, optical).mul_(rest)), optical)
            seen.bitwise_xor_(new.bitwise_xor_(seen).bitwise_and_(bits))
    return out
