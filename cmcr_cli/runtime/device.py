"""Where networks compute."""

from __future__ import annotations

import os
import re
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from cmcr_cli.errors import OptionError

KNOWN = re.compile(r"auto|cpu|(cuda|mps)(:\d+)?|meta")
"""Names of devices; `meta` computes nothing, which shows what a GPU would be asked for."""


def pick_device(name: str) -> torch.device:
    """Choose a device.

    Args:
        name: Name of the device. `auto` is CUDA if available, else Apple's MPS, else the CPU.

    Returns:
        The device.

    Raises:
        OptionError: It is not available.
    """
    if "," in name:
        raise OptionError(
            f"--device {name}: names several devices; expected one. A training takes several GPUs when it is "
            "started with torchrun."
        )
    if not KNOWN.fullmatch(name):
        raise OptionError(
            f"--device {name}: is not a device; expected auto, cpu, cuda, cuda:N or mps, where a GPU of "
            "NVIDIA or AMD is cuda and one of Apple mps"
        )
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
    """Choose several devices.

    Args:
        names: A list such as `cuda:0,cuda:1`.

    Returns:
        The devices.

    Raises:
        OptionError: One is not available.
    """
    return [pick_device(name.strip()) for name in names.split(",")]


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Copy an array to a device.

    On its way to a GPU it passes pinned memory, which is much faster.

    Args:
        array: The array.
        device: The device.

    Returns:
        On the CPU a view of the array, else a complete copy.
    """
    tensor = torch.from_numpy(array)
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device)


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    """Copy a tensor to the CPU.

    Args:
        tensor: The tensor.

    Returns:
        A view of a tensor on the CPU, else a complete copy.
    """
    if tensor.is_cuda:
        tensor = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor)
    found: NDArray[Any] = tensor.cpu().numpy()
    return found


def synchronize(device: torch.device) -> None:
    """Wait until a device has finished the work of this thread. Only then may others use or free its memory.

    Args:
        device: The device.
    """
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def usable_cores() -> int:
    """Count the cores that this process may use.

    Returns:
        The cores of its affinity mask, at most OMP_NUM_THREADS.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min(allowed, torch.get_num_threads()), 1)
