"""Checkpoints: everything that a training needs to continue bit-identically, in one file of plain tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import AdamW

from cmcr_cli.errors import InputError
from cmcr_cli.model.weights import replacing

NAME = "checkpoint.safetensors"

Modules = Mapping[str, nn.Module]
"""Modules whose tensors change during the run, by name; `network` is the one that is optimised."""


def save(path: Path, modules: Modules, optimizer: AdamW, images: int, signature: dict[str, str]) -> None:
    """Write a checkpoint; the file is replaced atomically and synchronized to disk.

    Args:
        path: File to write.
        modules: Modules of the run.
        optimizer: Optimizer of `network`.
        images: Crops seen so far.
        signature: Values that identify the training; `signature_of` returns them.

    Raises:
        OutputError: The file cannot be written.
    """
    tensors = {f"{name}.{k}": v for name, module in modules.items() for k, v in module.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"moment.{index}.{k}": v for k, v in moments.items()}
    plain = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
    with replacing(path) as part:
        save_file(plain, part, metadata={"images": str(images), **signature})


def signature_of(path: Path) -> dict[str, str]:
    """Read what a checkpoint says of the run that wrote it.

    Args:
        path: File to read.

    Returns:
        Texts by name.

    Raises:
        InputError: The file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise _refused(path, error) from error


def load(path: Path, modules: Modules, optimizer: AdamW) -> int:
    """Restore modules and optimizer from a checkpoint, if there is one.

    Args:
        path: File to read; it need not exist.
        modules: Modules to restore.
        optimizer: Optimizer to restore.

    Returns:
        Crops seen so far; 0 without a checkpoint.

    Raises:
        InputError: The file is damaged or belongs to another network.
    """
    if not path.is_file():
        return 0
    try:
        images = int(signature_of(path)["images"])
        tensors = load_file(path)
        for name, module in modules.items():
            module.load_state_dict(_under(tensors, f"{name}."))
    except (SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise _refused(path, error) from error
    parameters = list(modules["network"].parameters())
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _under(tensors, "moment.").items():
        index, name = key.split(".")
        # Use the memory layout of the parameter: another layout could change the order of summation.
        like = value if value.ndim == 0 else torch.empty_like(parameters[int(index)]).copy_(value)
        state.setdefault(int(index), {})[name] = like
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return images


def trim(stats: Path, images: int) -> None:
    """Remove lines of a `stats.jsonl` that are newer than the checkpoint, and an incomplete line.

    Args:
        stats: The file; it need not exist.
        images: Crops seen at the checkpoint.
    """
    if not stats.is_file():
        return
    kept = [line for line in stats.read_text().splitlines() if _images(line) <= images]
    with replacing(stats) as part:
        part.write_text("".join(line + "\n" for line in kept))


def _images(line: str) -> float:
    try:
        return int(json.loads(line)["images"])
    except ValueError:
        return float("inf")


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _refused(path: Path, error: Exception) -> InputError:
    first = (str(error).splitlines() or [""])[0]
    return InputError(
        f"{path}: not a checkpoint of this network ({first}); expected that of an interrupted run of this "
        "training. Start a new one with another --run-dir"
    )
