"""The training loop shared by all networks: averaged weights, gradient clipping, status line, resume."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from cmcr_cli.errors import InputError

CHECKPOINT = "checkpoint.safetensors"

Loss = Callable[[nn.Module], Tensor]
"""The network to a scalar, drawing its own batch."""

Snapshot = Callable[[nn.Module, int], dict[str, float]]
"""(averaged copy, images seen) to figures for the status line; validates and saves what it likes."""


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """Progress is counted in images (crops seen), so that runs of different batch size compare."""

    images: int = 100_000  # length of the run; the learning rate falls along a cosine to zero at its end
    batch: int = 16
    crop: int = 128  # pixels
    learning_rate: float = 4e-4
    warmup: int = 4_000  # images of linear warm-up
    clip: float = 1.0  # largest norm of the gradient
    average: float = 0.999  # decay per update of the averaged weights
    weight_decay: float = 0.01
    snapshot: int = 8_000  # images between validations and checkpoints
    seed: int = 0


def train(network: nn.Module, loss: Loss, snapshot: Snapshot, config: LoopConfig, run_dir: Path) -> nn.Module:
    """Train `network` in place and return its averaged copy; goes on from the checkpoint in `run_dir`."""
    run_dir.mkdir(parents=True, exist_ok=True)
    state = _State(network, config)
    images = state.load(run_dir / CHECKPOINT)
    losses: list[float] = []
    tick = time.monotonic()
    with tqdm(total=config.images, initial=images, unit="img", disable=None) as bar:
        while images < config.images:
            losses.append(state.update(loss, _learning_rate(images, config)))
            images += config.batch
            bar.update(config.batch)
            if images % config.snapshot < config.batch or images >= config.images:
                rate = len(losses) * config.batch / (time.monotonic() - tick)
                figures = {"images": images, "loss": sum(losses) / len(losses), "images_per_s": rate}
                figures |= snapshot(state.average.module, images)
                state.save(run_dir / CHECKPOINT, images)
                with (run_dir / "stats.jsonl").open("a") as file:
                    file.write(json.dumps(figures) + "\n")
                bar.write("  ".join(f"{name} {value:.5g}" for name, value in figures.items()))
                losses, tick = [], time.monotonic()
    return state.average.module


def _learning_rate(images: int, config: LoopConfig) -> float:
    ramp = min(1.0, (images + config.batch) / config.warmup)
    return config.learning_rate * ramp * 0.5 * (1 + math.cos(math.pi * min(images / config.images, 1)))


class _State:
    """What a checkpoint holds: the network, its average and the optimizer's moments, as plain tensors."""

    def __init__(self, network: nn.Module, config: LoopConfig) -> None:
        self.network = network
        self.config = config
        self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.average))  # type: ignore[no-untyped-call]
        self.optimizer = AdamW(network.parameters(), betas=(0.9, 0.99), weight_decay=config.weight_decay)

    def update(self, loss: Loss, learning_rate: float) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        value = loss(self.network)
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.optimizer.step()
        self.average.update_parameters(self.network)
        return float(value.detach())

    def save(self, path: Path, images: int) -> None:
        moments = self.optimizer.state_dict()["state"]
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        tensors |= {f"moment.{i}.{k}": v for i, state in moments.items() for k, v in state.items()}
        tensors["images"] = torch.tensor(images)
        part = path.with_name(path.name + ".part")
        save_file({k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}, part)
        part.replace(path)

    def load(self, path: Path) -> int:
        """Take up a checkpoint if there is one; returns the images seen so far.

        Raises InputError when it is damaged or that of another network.
        """
        if not path.is_file():
            return 0
        try:
            tensors = load_file(path)
            self.network.load_state_dict(_under(tensors, "network."))
            self.average.load_state_dict(_under(tensors, "average."))
        except (SafetensorError, RuntimeError) as error:
            raise InputError(
                f"{path}: not a checkpoint of this network ({str(error).splitlines()[0]}); expected that of "
                "an interrupted run of the same training. Begin a new one with another --run-dir"
            ) from error
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _under(tensors, "moment.").items():
            index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        return int(tensors["images"])


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
