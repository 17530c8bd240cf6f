"""Removing the weave: lines that repeat every 4 pixels, which real ground hardly has.

The network halves the resolution and doubles it again, so that the 4 x 4 pixels of a cell are drawn by
weights of their own. Where a cloud hides the ground, the network knows little, and the differences between
these weights show as a fine weave. What a line has in common with the lines 4, 8, 12 and 16 pixels away,
beyond the local level and slope, is subtracted, along rows and along columns. This is a comb filter, with
narrow notches at periods of 4 and 2 pixels.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

PERIOD = 4
"""Period of the weave, in pixels."""

LINES = 9
"""Number of lines, `PERIOD` apart, whose mean is subtracted. More make the notch narrower: structures of the
ground are kept, but a weave that varies from place to place, too."""

SHOWS = 0.1, 0.2
"""Mean residuals of the visible bands, in reflectance: below the first the ground shows through and is not
filtered, above the second the filter is applied fully."""


def woven(brightness: Tensor, cover: Tensor) -> Tensor:
    """Degree to which the weave is removed.

    Args:
        brightness: Mean residual of the visible bands, reflectance, (B, 1, H, W).
        cover: Cover (B, 1, H, W).

    Returns:
        (B, 1, H, W): 0 keeps the estimate, 1 filters it.
    """
    begins, ends = SHOWS
    return ((brightness - begins) / (ends - begins)).clamp(0, 1) * (cover > 0)


def without_weave(estimate: Tensor, woven: Tensor) -> Tensor:
    """Remove the weave of an estimate.

    Args:
        estimate: Estimate in scene units, (B, 13, H, W), H and W multiples of 4, in channels_last.
        woven: See `woven`, (B, 1, H, W).

    Returns:
        The estimate in scene units, (B, 13, H, W), in channels_last.
    """
    filtered = estimate
    for axis in (2, 3):
        filtered = filtered - _repeated(filtered, axis)
    return estimate.lerp(filtered, woven)


def _repeated(image: Tensor, axis: int) -> Tensor:
    """Part of `image` (B, C, H, W) that repeats along an axis, without its level and slope."""
    cell = (PERIOD, 1) if axis == 2 else (1, PERIOD)
    factors = [float(size) for size in cell]
    level = F.interpolate(F.avg_pool2d(image, cell), scale_factor=factors, mode="bilinear")
    detail = (image - level).permute(0, 2, 3, 1).contiguous()
    batch, height, width, bands = detail.shape
    # Lines that are PERIOD apart become neighbours, by a view.
    before, size, after = (batch, height, width * bands) if axis == 2 else (batch * height, width, bands)
    lines = detail.view(before, size // PERIOD, 1, PERIOD * after).permute(0, 3, 1, 2)
    means = F.avg_pool2d(lines, (LINES, 1), 1, (LINES // 2, 0), count_include_pad=False)
    return means.permute(0, 2, 3, 1).reshape(detail.shape).permute(0, 3, 1, 2)
