"""Where a cloud hides the ground, departures from the context are believed as far as they are large enough.

Under a thick cloud nothing but radar speaks for a departure, and the network's small ones there are mostly
noise. How far the context itself is usually off can be seen on the clear ground around: over open sea hardly
at all, over a town a good deal. A departure of mean square p is therefore scaled by p / (p + e), e the mean
square of what the context left unexplained nearby: what is small beside the usual error is given up, what
is large stays. This is the Wiener filter (1949) with p for the signal's power.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cmcr_cli.model.local_mean import around, level, means, spread_out

HIDES = 0.35, 0.5
"""Mean departures of the visible bands, in reflectance, between which clouds come to hide the ground."""

CONFIDENT = 0.5
"""Confidence of the context from which on it counts fully."""

AROUND = 9
"""Cells, along each side, in which clear ground tells how far the context is off."""

_FEW = 0.02  # cells of the patch's own mean that each place is given besides


def hidden(brightness: Tensor, cover: Tensor, confidence: Tensor) -> Tensor:
    """How much the context is to be believed against the network, 0 to 1; all tensors (B, 1, H, W).

    brightness is the mean departure of the visible bands in reflectance.
    """
    begins, ends = HIDES
    share = ((brightness - begins) / (ends - begins)).clamp(0, 1)
    return share * (cover > 0) * (confidence / CONFIDENT).clamp(max=1)


def unexplained(departure: Tensor, cover: Tensor) -> Tensor:
    """Mean square of the departures (B, bands, H, W) of clear ground about each cell, (B, 1, H / 8, W / 8).

    In squared spreads. Where the clear ground is far it is that of the patch, and 1 where there is none.
    """
    clear = (cover == 0).to(departure.dtype)
    share = means(clear)
    power = means(departure.square().mean(1, keepdim=True) * clear)
    whole = (power.mean((2, 3), keepdim=True) + 1e-3) / (share.mean((2, 3), keepdim=True) + 1e-3)
    return (around(power, AROUND) + _FEW * whole) / (around(share, AROUND) + _FEW)


def shrunk(estimate: Tensor, hidden: Tensor, unexplained: Tensor) -> Tensor:
    """The estimate (B, 13, H, W), in spreads, with small departures given up where the ground is hidden.

    Its level over some cells and its detail are scaled each by their own power.
    """
    smooth, shares = level(estimate), []
    for part in (smooth, estimate - smooth):
        power = around(means(part.square()).mean(1, keepdim=True), 3)
        shares.append(spread_out(power / (power + unexplained)))
    # estimate + hidden (smooth a + (estimate - smooth) b - estimate), with as few large tensors as can be
    own, kept = 1 + hidden * (shares[1] - 1), hidden * (shares[0] - shares[1])
    return torch.addcmul(estimate * own, smooth, kept)
