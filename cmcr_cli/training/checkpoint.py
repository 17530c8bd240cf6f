"""What an interrupted training needs to go on to the last bit: one file of plain tensors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import AdamW

from cmcr_cli.errors import InputError

NAME = "checkpoint.safetensors"

Modules = Mapping[str, nn.Module]
"""Everything with tensors that change during the run, by name; `network` is the one that is optimised."""


def save(path: Path, modules: Modules, optimizer: AdamW, images: int, signature: dict[str, str]) -> None:
    """Write all tensors; whole or not at all, whenever the power fails."""
    tensors = {f"{name}.{k}": v for name, module in modules.items() for k, v in module.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"moment.{index}.{k}": v for k, v in moments.items()}
    part = path.with_name(path.name + ".part")
    plain = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
    save_file(plain, part, metadata={"images": str(images), **signature})
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


def signature_of(path: Path) -> dict[str, str]:
    """What was given to `save` as the signature; InputError when the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise _refused(path, error) from error


def load(path: Path, modules: Modules, optimizer: AdamW) -> int:
    """Take up a checkpoint if there is one; returns the images seen so far.

    Raises InputError when it is damaged or that of another network.
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
        # In the layout of the parameter: another order of memory may be summed in another order.
        like = value if value.ndim == 0 else torch.empty_like(parameters[int(index)]).copy_(value)
        state.setdefault(int(index), {})[name] = like
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return images


def trim(stats: Path, images: int) -> None:
    """Drop the lines of a `stats.jsonl` that lie beyond the checkpoint, and one that was cut off."""
    if not stats.is_file():
        return
    kept = [line for line in stats.read_text().splitlines() if _images(line) <= images]
    part = stats.with_name(stats.name + ".part")
    part.write_text("".join(line + "\n" for line in kept))
    part.replace(stats)


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
        "training. Begin a new one with another --run-dir"
    )
