"""Cost of the networks: floating-point operations (two per multiply-add) and memory.

The constants depend on the architecture and must be measured again when it changes.
"""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from cmcr_cli.model.cloud_network import CloudNetwork, squares_of
from cmcr_cli.model.condition import CHANNELS, N_BANDS, VECTOR, Condition
from cmcr_cli.model.diffusion import Denoiser
from cmcr_cli.model.local_mean import MEAN_CELL
from cmcr_cli.model.network import NetworkConfig
from cmcr_cli.model.pdmsr import sample

PATCH = 256

WORKING_BYTES = 300 * 2**20
"""Largest memory of the networks of one worker during computation, measured with the released weights."""

RESIDENT_BYTES = 110 * 2**20
"""Memory that one worker on a CPU adds to the peak. A run on two cores takes 104 MB more than on one core."""


@torch.inference_mode()
def gflop_per_patch(denoiser: Denoiser, steps: int) -> float:
    """Count the operations of a patch of 256 x 256 px, as they are executed; a multiply-add counts two.

    Args:
        denoiser: The network.
        steps: Number of steps.

    Returns:
        GFLOP.
    """
    device = next(denoiser.parameters()).device
    image = torch.zeros(1, N_BANDS, PATCH, PATCH, device=device)
    plane, cells = image[:, :1], image[:, :1, ::MEAN_CELL, ::MEAN_CELL]
    planes = torch.zeros(1, CHANNELS, PATCH, PATCH, device=device)
    vector = torch.zeros(1, VECTOR, device=device)
    condition = Condition(planes, vector, image, image, image, image, plane, plane, cells, plane, plane)
    with FlopCounterMode(display=False) as counter:
        sample(denoiser, condition, steps, lambda step: image)
    return float(counter.get_total_flops() / 1e9)


@torch.inference_mode()
def gflop_of_mask(network: CloudNetwork) -> float:
    """Count the operations of the mask of a patch of 256 x 256 px (128 x 128 cells of 20 m), without margins.

    Args:
        network: The cloud network.

    Returns:
        GFLOP.
    """
    device = next(network.parameters()).device
    cells = torch.zeros(1, N_BANDS, PATCH // 2, PATCH // 2, device=device)
    present, sun = torch.ones(1, N_BANDS, device=device), torch.ones(1, 4, device=device)
    with FlopCounterMode(display=False) as counter:
        network.look_near(cells, present, network.look_far(squares_of(cells), present, sun))
    return float(counter.get_total_flops() / 1e9)


def feature_bytes(config: NetworkConfig, size: int) -> int:
    """Compute the memory of the features of a patch between two steps.

    Args:
        config: Sizes of the network.
        size: Side of the patch in pixels.

    Returns:
        Bytes, of numbers of 16 bits.
    """
    levels = enumerate(config.widths, 1)
    return sum(2 * width * (size >> level) ** 2 for level, width in levels)
