"""Counting what the network costs: floating-point operations, two per multiply-add."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from cmcr_cli.model.cloud_network import CloudNetwork, squares_of
from cmcr_cli.model.condition import CHANNELS, N_BANDS, VECTOR, Condition
from cmcr_cli.model.diffusion import Denoiser
from cmcr_cli.model.local_mean import CELL
from cmcr_cli.model.pdmsr import sample

PATCH = 256


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
