"""Shrinking small residuals towards the context where a cloud hides the ground.

Under a thick cloud, only the radar supports a residual, and small residuals of the network are mostly noise.
The clear ground nearby shows how wrong the context usually is: hardly at all over open sea, considerably
over a town. A residual of mean square p is therefore multiplied by p / (p + e), where e is the mean square
residual of clear ground nearby. Residuals that are small compared with e are shrunk; large ones are kept.
This is a Wiener filter (1949) with p as the power of the signal.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cmcr_cli.model.local_mean import around, level, means, repeated

HIDES = 0.35, 0.5
"""Mean residuals of the visible bands, in reflectance: below the first a cloud hides nothing, above the
second it hides the ground completely."""

CONFIDENT = 0.5
"""Confidence of the context from which on it has full weight."""

UNSUPPORTED = 0.1, 0.2
"""As HIDES, where no clear ground is near: there, only the prior and this network speak of the ground."""

FAR = 0.2
"""Confidence of the context from which on clear ground counts as near."""

PART = 0.35
"""Part of the estimate that is kept far from clear ground: a compromise. Of 0.2, 0.35, 0.5 and 1, 0.5 scored
best on val with B10, and 0.2 on nine triplets of the training."""

AROUND = 9
"""Side, in cells, of the neighbourhood in which the error of the context is measured on clear ground."""

_FEW = 0.02  # weight, in cells, of the mean of the patch at each place


def hidden(brightness: Tensor, cover: Tensor, confidence: Tensor) -> Tensor:
    """Degree to which residuals are shrunk, 0 to 1.

    Args:
        brightness: Mean residual of the visible bands, reflectance, (B, 1, H, W).
        cover: Cover (B, 1, H, W).
        confidence: Confidence of the context, 0 to 1, (B, 1, H, W).

    Returns:
        (B, 1, H, W): 0 keeps the estimate, 1 applies the filter fully.
    """
    return _opaque(brightness, cover, HIDES) * (confidence / CONFIDENT).clamp(max=1)


def kept(doubt: Tensor) -> Tensor:
    """Part of the estimate that is kept where the context is better than those of the training.

    References make the context far better than any that the network knows. What it adds has errors of the
    size that it was trained on, so the ratio of the errors decides how much of it is kept: all of it where
    the context is no better, hardly any where its error is a fifth.

    Args:
        doubt: Expected square error of the context as a part of that of a context as the network knows it,
            (B, 1, H, W).

    Returns:
        (B, 1, H, W), 0 to 1.
    """
    return doubt.square()


def supported(brightness: Tensor, cover: Tensor, confidence: Tensor) -> Tensor:
    """Part of the estimate that is kept, given how far clear ground is.

    Args:
        brightness: Mean residual of the visible bands, reflectance, (B, 1, H, W).
        cover: Cover (B, 1, H, W).
        confidence: Confidence of the context, 0 to 1, (B, 1, H, W).

    Returns:
        (B, 1, H, W): PART under opaque cloud far from clear ground, 1 elsewhere.
    """
    far = (1 - confidence / FAR).clamp(min=0)
    return 1 - (1 - PART) * _opaque(brightness, cover, UNSUPPORTED) * far


def _opaque(brightness: Tensor, cover: Tensor, limits: tuple[float, float]) -> Tensor:
    """0 where covered pixels are darker than the first limit, or not covered; 1 above the second."""
    begins, ends = limits
    return ((brightness - begins) / (ends - begins)).clamp(0, 1) * (cover > 0)


def unexplained(residual: Tensor, cover: Tensor) -> Tensor:
    """Mean square residual of the clear ground around each cell.

    Args:
        residual: Residual in scene units, (B, bands, H, W).
        cover: Cover (B, 1, H, W); 0 is clear.

    Returns:
        (B, 1, H / 8, W / 8) in squared scene units. Far from clear ground it is the mean of the patch;
        without any clear ground it is 1.
    """
    clear = (cover == 0).to(residual.dtype)
    share = means(clear)
    power = means(residual.square().mean(1, keepdim=True) * clear)
    whole = (power.mean((2, 3), keepdim=True) + 1e-3) / (share.mean((2, 3), keepdim=True) + 1e-3)
    return (around(power, AROUND) + _FEW * whole) / (around(share, AROUND) + _FEW)


def shrunk(estimate: Tensor, hidden: Tensor, unexplained: Tensor) -> Tensor:
    """Shrink small residuals where the ground is hidden; local level and detail each by their own power.

    Args:
        estimate: Estimate in scene units, (B, 13, H, W).
        hidden: See `hidden`, (B, 1, H, W).
        unexplained: See `unexplained`, (B, 1, H / 8, W / 8).

    Returns:
        The estimate in scene units, (B, 13, H, W).
    """
    smooth, shares = level(estimate), []
    for part in (smooth, estimate - smooth):
        power = around(means(part.square()).mean(1, keepdim=True), 3)
        shares.append(repeated(power / (power + unexplained)))
    # estimate + hidden (smooth a + (estimate - smooth) b - estimate), with as few large tensors as possible
    own, kept = 1 + hidden * (shares[1] - 1), hidden * (shares[0] - shares[1])
    return torch.addcmul(estimate * own, smooth, kept)
