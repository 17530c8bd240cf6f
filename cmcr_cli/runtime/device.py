"""Where networks compute."""

from __future__ import annotations

import os
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from cmcr_cli.errors import OptionError


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA, else Apple's MPS, else the CPU. Raises OptionError for one that is not there."""
    if name == "auto":
        others = "mps" if torch.backends.mps.is_available() else "cpu"
        name = "cuda" if torch.cuda.is_available() else others
    try:
        # A tensor says which of several devices it is on, as all others will.
        return torch.zeros(1, device=torch.device(name)).device
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise OptionError(f"--device {name}: not available here ({first}); try auto or cpu") from error


def pick_devices(names: str) -> list[torch.device]:
    """The devices of a list such as `cuda:0,cuda:1`; OptionError as `pick_device` raises it."""
    return [pick_device(name.strip()) for name in names.split(",")]


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on a device: on the CPU the array itself, else a copy that is complete.

    On its way to a GPU it passes memory that the system may not move, which is much faster.
    """
    tensor = torch.from_numpy(array)
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device)


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    """A tensor as an array: on the CPU the tensor itself, else a copy that is complete."""
    if tensor.is_cuda:
        tensor = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor)
    found: NDArray[Any] = tensor.cpu().numpy()
    return found


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what this thread asked of it: then others may use, or free, its memory."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def usable_cores() -> int:
    """Cores that this process may use: those of its affinity mask, and no more than OMP_NUM_THREADS says."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min(allowed, torch.get_num_threads()), 1)
