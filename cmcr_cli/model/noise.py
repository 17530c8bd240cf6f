"""Ground-locked noise: the Gaussian at a map pixel is a function of seed, step, band and that pixel alone.

So overlapping patches see the same noise, and a result depends neither on batch size, patch order, strip
height nor device count. Made by numpy's Philox over aligned blocks: a block's counter is its map position.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.model.condition import N_BANDS

BLOCK = 64


@lru_cache(maxsize=64)
def _block(seed: int, step: int, row: int, col: int) -> NDArray[np.float32]:
    # Negative positions are legal (map rows count downward from the equator): wrap them into 64 bits.
    counter = np.array([0, step, row % 2**64, col % 2**64], dtype=np.uint64)
    generator = np.random.Generator(np.random.Philox(key=seed, counter=counter))
    return generator.standard_normal((N_BANDS, BLOCK, BLOCK), dtype=np.float32)


def ground_noise(seed: int, step: int, top: int, left: int, height: int, width: int) -> NDArray[np.float32]:
    """Standard normal noise (13, height, width) for the window at map pixel (top, left), negative or not."""
    out = np.empty((N_BANDS, height, width), dtype=np.float32)
    for row in range(top // BLOCK, -(-(top + height) // BLOCK)):
        for col in range(left // BLOCK, -(-(left + width) // BLOCK)):
            y, x = row * BLOCK - top, col * BLOCK - left
            y0, y1, x0, x1 = max(y, 0), min(y + BLOCK, height), max(x, 0), min(x + BLOCK, width)
            block = _block(seed, step, row, col)
            out[:, y0:y1, x0:x1] = block[:, y0 - y : y1 - y, x0 - x : x1 - x]
    return out
