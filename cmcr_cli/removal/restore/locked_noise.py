"""Ground-locked noise: a Gaussian that is a function of seed, step, band and map pixel alone.

Overlapping patches therefore see the same noise, and a result depends neither on batch size, patch order,
strip height nor number of devices. The generator is counter-based (Salmon et al. 2011, "Parallel random
numbers: as easy as 1, 2, 3"): map row and column are hashed with keys of their own for every band, and so is
their sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cmcr_cli.model.condition import N_BANDS

PAIRS = (N_BANDS + 1) // 2
"""Pairs of normal numbers per pixel (Box and Muller 1958)."""

_FACTORS = 0x7FEB352D, 0x846CA68B - 2**32
"""Factors of the 32-bit integer hash of lowest bias in Wellons 2018, "Prospecting for hash functions"."""


def ground_noise(
    seed: int, step: int, corners: Sequence[tuple[int, int]], size: int, device: torch.device
) -> Tensor:
    """Standard normal noise for windows at given map positions.

    Args:
        seed: Seed of the run.
        step: Number of the step; samples use step numbers far apart.
        corners: Upper left map pixel (row, column) of each window. May be negative; taken modulo 2^32.
        size: Side of the windows in pixels.
        device: Device to compute on.

    Returns:
        Noise (B, 13, size, size), channels_last.
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
    # Each half in a tensor of its own: logarithm and cosine of strided tensors take several times as long.
    first, second = (
        _uniform(down[:, :, None, half] + across[:, None, :, half])
        for half in (slice(None, PAIRS), slice(PAIRS, None))
    )
    radius, angle = first.log_().mul_(-2).sqrt_(), second.mul_(2 * math.pi)
    odd = N_BANDS - PAIRS
    noise = torch.cat([radius * angle.cos(), (radius * angle.sin())[..., :odd]], dim=-1)
    return noise.permute(0, 3, 1, 2)


def _uniform(bits: Tensor) -> Tensor:
    """Hash 32-bit integers and convert them to floats in the open interval (0, 1)."""
    return ((_scrambled(bits) >> 8) & 0xFFFFFF).float().add_(0.5).mul_(2.0**-24)


def _positions(start: int, size: int) -> Tensor:
    """Lowest 32 bits of the map pixels from `start`, (size,)."""
    return torch.from_numpy((np.arange(size) + start % 2**32).astype(np.uint32).view(np.int32))


def _scrambled(bits: Tensor) -> Tensor:
    """Hash 32-bit integers, one to one. `>>` extends the sign, so the result is masked."""
    bits = bits ^ ((bits >> 16) & 0xFFFF)
    bits *= _FACTORS[0]
    bits ^= (bits >> 15) & 0x1FFFF
    bits *= _FACTORS[1]
    bits ^= (bits >> 16) & 0xFFFF
    return bits
