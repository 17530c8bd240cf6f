"""The training loop of all networks: averaged weights, gradient clipping, status line, checkpoints."""

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

from cmcr_cli.model.weights import writing
from cmcr_cli.training import checkpoint
from cmcr_cli.training.processes import Process, average_gradients
from cmcr_cli.training.recipe import LoopConfig

log = logging.getLogger("cmcr")

STATS = "stats.jsonl"

Loss = Callable[[Any, torch.Generator], Tensor]
"""Computes the loss (a scalar) of a batch; the generator is the only source of randomness."""

Batches = Callable[[int], Iterator[Any]]
"""Yields batches from a given number on. A batch must not depend on the number that it starts from."""

Snapshot = Callable[[nn.Module, int], dict[str, float]]
"""Called with the averaged network and the crops seen; validates, saves, and returns metrics."""


@dataclass(frozen=True, slots=True)
class Task:
    """A network and all that its training needs.

    Attributes:
        network: The network that is optimised.
        loss: Its loss.
        companions: Further networks that the loss changes, by name.
    """

    network: nn.Module
    loss: Loss
    companions: Mapping[str, nn.Module] = field(default_factory=dict)


class Updates:
    """The network in training, its averaged copy and its optimizer."""

    def __init__(self, task: Task, config: LoopConfig, process: Process) -> None:
        """Updates of which none is done yet.

        Args:
            task: What is trained, and its loss.
            config: Settings of the loop.
            process: This process among those that train together.
        """
        self.task, self.config, self.process = task, config, process
        average_fn = get_ema_multi_avg_fn(config.average)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(task.network, multi_avg_fn=average_fn)
        parameters = task.network.parameters()
        self.optimizer = AdamW(parameters, betas=(0.9, 0.99), weight_decay=config.weight_decay)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Modules that a checkpoint must contain, by name."""
        return {"network": self.task.network, "average": self.average, **self.task.companions}

    def update(self, batch: Any, images: int) -> Tensor:
        """Make one update.

        Args:
            batch: Batch of this process.
            images: Crops seen before the update.

        Returns:
            Loss of this process, detached.
        """
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
) -> tuple[nn.Module, int]:
    """Train a network in place, from the checkpoint in the run folder if there is one.

    A run that was killed at any moment and started again ends with the same weights as an uninterrupted one.
    They are bit-identical on a CPU with the same number of threads.

    Args:
        task: What is trained.
        batches: Batches.
        snapshot: Called at every snapshot, in the process of rank 0.
        config: Settings of the loop.
        run_dir: Run folder.
        process: This process.
        signature: Values that identify the training, for the checkpoints.

    Returns:
        The averaged copy of the network, and the crops seen.
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
                loss = float(torch.stack(losses).mean())  # waits for the device, so before the clock
                rate = len(losses) * config.batch / (time.monotonic() - tick)
                figures = {"images": images, "loss": loss, "images_per_s": rate}
                figures |= snapshot(updates.average.module, images)
                with writing(run_dir / STATS), (run_dir / STATS).open("a") as file:
                    file.write(json.dumps(figures) + "\n")
                # After the line of statistics: if the run is killed in between, `trim` removes the line.
                checkpoint.save(
                    run_dir / checkpoint.NAME, updates.modules, updates.optimizer, images, signature
                )
                with tqdm.external_write_mode(file=sys.stderr):
                    log.warning("  ".join(f"{name} {value:.5g}" for name, value in figures.items()))
            losses, tick = [], time.monotonic()
    return updates.average.module, images


def _learning_rate(images: int, config: LoopConfig) -> float:
    ramp = min(1.0, (images + config.batch) / config.warmup)
    return config.learning_rate * ramp * 0.5 * (1 + math.cos(math.pi * min(images / config.images, 1)))
