"""Processes of a training: one, or those that torchrun has started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn

from cmcr_cli.runtime.device import pick_device

PATIENCE = timedelta(hours=1)
"""Longest time that the other processes wait while the first one validates."""


@dataclass(frozen=True, slots=True)
class Process:
    """This process. Only the one of rank 0 writes files and log messages.

    Attributes:
        rank: Number of this process, from 0.
        world_size: Number of processes.
        device: Device of this process.
    """

    rank: int
    world_size: int
    device: torch.device


@contextmanager
def joined(device: str) -> Iterator[Process]:
    """Join the processes that torchrun has started, if any; each uses the GPU of its local rank.

    Args:
        device: Device, as for `--device`.

    Yields:
        This process.

    Raises:
        OptionError: The device is not available.
    """
    chosen = pick_device(device)
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Process(0, 1, chosen)
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Process(distributed.get_rank(), world_size, chosen)
    finally:
        distributed.destroy_process_group()


def average_gradients(network: nn.Module, process: Process) -> None:
    """Replace the gradients of a network by their mean over all processes.

    DistributedDataParallel cannot be used because it hooks into `forward`, and the losses call parts of the
    network.

    Args:
        network: Network with gradients.
        process: This process.
    """
    if process.world_size == 1:
        return
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    joint = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(joint)
    joint /= process.world_size
    for gradient, mean in zip(gradients, torch.split(joint, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view(gradient.shape))
