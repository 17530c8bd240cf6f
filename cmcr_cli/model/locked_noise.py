"""Ground-locked noise: the Gaussian at a map pixel is a function of seed, step, band and that pixel alone.

So overlapping patches see the same noise, and a result depends neither on batch size, patch order, strip
height nor device count. Counter-based (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"):
map row and column are scrambled, each with keys of its own for every band, and their sum once more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cmcr_cli.model.condition import N_BANDS

PAIRS = (N_BANDS + 1) // 2
"""Normal numbers come in pairs (Box and Muller 1958)."""

_FACTORS = 0x7FEB352D, 0x846CA68B - 2**32
"""Of the mixer of 32 bits with the least bias that Wellons found by search ("Prospecting for hash functions",
2018)."""


def ground_noise(
    seed: int, step: int, corners: Sequence[tuple[int, int]], size: int, device: torch.device
) -> Tensor:
    """Standard normal noise (B, 13, size, size), channels_last, for windows with their `corners` there.

    Corners are map pixels (row, column), negative or not; they count modulo 2^32.
    """
    state = np.random.SeedSequence((seed, step)).generate_state(4 * 2 * PAIRS)
    keys = torch.from_numpy(state.view(np.int32)).to(device).view(4, 2 * PAIRS)
    rows, columns = (
        torch.stack([_positions(corner[axis], size) for corner in corners]).to(device)[..., None]
        for axis in (0, 1)
    )
    down, across = (
        _scrambled(_scrambled(places ^ first) + second)
        for places, first, second in ((rows, keys[0], keys[1]), (columns, keys[2], keys[3]))
    )
    # Each half in a tensor of its own: of strided ones logarithm and cosine take several times as long.
    first, second = (
        _uniform(down[:, :, None, half] + across[:, None, :, half])
        for half in (slice(None, PAIRS), slice(PAIRS, None))
    )
    radius, angle = first.log_().mul_(-2).sqrt_(), second.mul_(2 * math.pi)
    odd = N_BANDS - PAIRS
    noise = torch.cat([radius * angle.cos(), (radius * angle.sin())[..., :odd]], dim=-1)
    return noise.permute(0, 3, 1, 2)


def _uniform(bits: Tensor) -> Tensor:
    """Whole numbers of 32 bits, not mixed yet, to numbers between 0 and 1, without the two."""
    return ((_scrambled(bits) >> 8) & 0xFFFFFF).float().add_(0.5).mul_(2.0**-24)


def _positions(start: int, size: int) -> Tensor:
    """Map pixels from `start`, as the 32 bits that they end in."""
    return torch.from_numpy((np.arange(size) + start % 2**32).astype(np.uint32).view(np.int32))


def _scrambled(bits: Tensor) -> Tensor:
    """Whole numbers of 32 bits, each to another one; `>>` fills up with the sign, which is masked."""
    bits = bits ^ ((bits >> 16) & 0xFFFF)
    bits *= _FACTORS[0]
    bits ^= (bits >> 15) & 0x1FFFF
    bits *= _FACTORS[1]
    bits ^= (bits >> 16) & 0xFFFF
    return bits
