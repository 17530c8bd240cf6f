"""What the networks cost: floating-point operations, two per multiply-add, and memory.

The constants belong to the architecture, and must be measured again when it changes.
"""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from cmcr_cli.model.cloud_network import CloudNetwork, squares_of
from cmcr_cli.model.condition import CHANNELS, N_BANDS, VECTOR, Condition
from cmcr_cli.model.diffusion import Denoiser
from cmcr_cli.model.local_mean import CELL
from cmcr_cli.model.network import NetworkConfig
from cmcr_cli.model.pdmsr import sample

PATCH = 256

WORKING_BYTES = 300 * 2**20
"""What the networks of one worker take up at most while they compute. Measured with the released weights."""

RESIDENT_BYTES = 110 * 2**20
"""What one worker on a CPU adds to the peak: a run on two cores takes 104 MB more than one on one core."""


@torch.inference_mode()
def gflop_per_patch(denoiser: Denoiser, steps: int) -> float:
    """GFLOP for one 256x256 patch at `steps` steps, counted on the operations that really run."""
    device = next(denoiser.parameters()).device
    image = torch.zeros(1, N_BANDS, PATCH, PATCH, device=device)
    plane, cells = image[:, :1], image[:, :1, ::CELL, ::CELL]
    planes = torch.zeros(1, CHANNELS, PATCH, PATCH, device=device)
    vector = torch.zeros(1, VECTOR, device=device)
    condition = Condition(planes, vector, image, image, image, image, plane, plane, cells)
    with FlopCounterMode(display=False) as counter:
        sample(denoiser, condition, steps, lambda step: image)
    return float(counter.get_total_flops() / 1e9)


@torch.inference_mode()
def gflop_of_mask(network: CloudNetwork) -> float:
    """GFLOP to find the clouds of one 256x256 patch, which is 128x128 cells of 20 m, without its margins."""
    device = next(network.parameters()).device
    cells = torch.zeros(1, N_BANDS, PATCH // 2, PATCH // 2, device=device)
    present, sun = torch.ones(1, N_BANDS, device=device), torch.ones(1, 4, device=device)
    with FlopCounterMode(display=False) as counter:
        network.look_near(cells, present, network.look_far(squares_of(cells), present, sun))
    return float(counter.get_total_flops() / 1e9)


def feature_bytes(config: NetworkConfig, size: int) -> int:
    """Bytes of the encoder's features of a patch, in 16 bits, as they wait for the next step.

    Args:
        config: Of the network.
        size: Rows and columns of the patch.
    """
    levels = enumerate(config.widths, 1)
    return sum(2 * width * (size >> level) ** 2 for level, width in levels)
