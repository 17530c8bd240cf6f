"""The training loop shared by all networks: averaged weights, gradient clipping, status line, resume."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from cmcr_cli.training import checkpoint
from cmcr_cli.training.processes import Process, average_gradients
from cmcr_cli.training.recipe import LoopConfig

log = logging.getLogger("cmcr")

STATS = "stats.jsonl"

Loss = Callable[[Any, torch.Generator], Tensor]
"""A batch, and the source of all that is random about it, to a scalar."""

Batches = Callable[[int], Iterator[Any]]
"""The batches from that of the given number on, which must not depend on where it begins."""

Snapshot = Callable[[nn.Module, int], dict[str, float]]
"""(averaged copy, images seen) to figures for the status line; validates and saves what it likes."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is trained, by which loss; `companions` are further networks that the loss changes."""

    network: nn.Module
    loss: Loss
    companions: Mapping[str, nn.Module] = field(default_factory=dict)


class Updates:
    """The network under training, its average and its optimizer."""

    def __init__(self, task: Task, config: LoopConfig, process: Process) -> None:
        self.task, self.config, self.process = task, config, process
        average_fn = get_ema_multi_avg_fn(config.average)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(task.network, multi_avg_fn=average_fn)
        parameters = task.network.parameters()
        self.optimizer = AdamW(parameters, betas=(0.9, 0.99), weight_decay=config.weight_decay)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """All that a checkpoint has to hold beside the optimizer."""
        return {"network": self.task.network, "average": self.average, **self.task.companions}

    def update(self, batch: Any, images: int) -> Tensor:
        """One update after `images` images; returns the loss of this process, detached."""
        for group in self.optimizer.param_groups:
            group["lr"] = _learning_rate(images, self.config)
        with torch.autocast(self.process.device.type, torch.bfloat16, enabled=self._reduced()):
            value = self.task.loss(batch, self._generator(images))
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        average_gradients(self.task.network, self.process)
        nn.utils.clip_grad_norm_(self.task.network.parameters(), self.config.clip)
        self.optimizer.step()
        self.average.update_parameters(self.task.network)
        return value.detach()

    def _reduced(self) -> bool:
        wanted = self.config.precision == "bfloat16"
        return wanted and (self.process.device.type != "cuda" or torch.cuda.is_bf16_supported())

    def _generator(self, images: int) -> torch.Generator:
        key = np.random.SeedSequence([self.config.seed, self.process.rank, 2, images])
        seed = int(key.generate_state(1, np.uint64)[0])
        return torch.Generator(self.process.device).manual_seed(seed)


def train(
    task: Task,
    batches: Batches,
    snapshot: Snapshot,
    config: LoopConfig,
    run_dir: Path,
    process: Process,
    signature: dict[str, str],
) -> nn.Module:
    """Train the task's network in place and return its averaged copy; goes on from a checkpoint in `run_dir`.

    `signature` is written into the checkpoints. A run that was killed at any moment and started again ends
    with the weights of one that was not, bit for bit on a CPU with the same number of threads.
    """
    updates = Updates(task, config, process)
    images = checkpoint.load(run_dir / checkpoint.NAME, updates.modules, updates.optimizer)
    leads = process.rank == 0
    if leads:
        checkpoint.trim(run_dir / STATS, images)
    source = batches(images // config.batch)
    losses: list[Tensor] = []
    tick = time.monotonic()
    hidden = None if leads and log.isEnabledFor(logging.WARNING) else True
    with tqdm(total=config.images, initial=images, unit="img", disable=hidden) as bar:
        while images < config.images:
            losses.append(updates.update(next(source), images))
            images += config.batch
            if bar.update(config.batch):
                bar.set_postfix(loss=f"{float(losses[-1]):.3g}", refresh=False)
            if images % config.snapshot >= config.batch and images < config.images:
                continue
            if leads:
                loss = float(torch.stack(losses).mean())  # waits for the device, so before the clock is read
                rate = len(losses) * config.batch / (time.monotonic() - tick)
                figures = {"images": images, "loss": loss, "images_per_s": rate}
                figures |= snapshot(updates.average.module, images)
                with (run_dir / STATS).open("a") as file:
                    file.write(json.dumps(figures) + "\n")
                # After the line: a kill between the two drops the line again, and loses nothing.
                checkpoint.save(
                    run_dir / checkpoint.NAME, updates.modules, updates.optimizer, images, signature
                )
                with tqdm.external_write_mode(file=sys.stderr):
                    log.warning("  ".join(f"{name} {value:.5g}" for name, value in figures.items()))
            losses, tick = [], time.monotonic()
    return updates.average.module


def _learning_rate(images: int, config: LoopConfig) -> float:
    ramp = min(1.0, (images + config.batch) / config.warmup)
    return config.learning_rate * ramp * 0.5 * (1 + math.cos(math.pi * min(images / config.images, 1)))
