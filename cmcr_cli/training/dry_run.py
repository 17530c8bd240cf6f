"""What a training would be, and how long it would take, by a few updates of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from cmcr_cli.model.network import parameters
from cmcr_cli.training.loop import Updates
from cmcr_cli.training.recipe import Recipe
from cmcr_cli.training.run import Training, start

TIMED = 4
"""Updates that are timed, after one that is not."""


@dataclass(frozen=True, slots=True)
class TrainingEstimate:
    """Data found, the network that would be trained, and times in seconds."""

    places: int
    pairs: int
    checks: int
    device: str
    processes: int
    parameters: int
    gflop_per_patch: float  # of 256 x 256 px, at 1 step
    update_s: float
    sample_s: float  # to make a sample, with all workers of a process
    validation_s: float
    total_s: float


def estimate_training(
    training: Training, data: Path, folder: Path, recipe: Recipe, init: Path | None, device: str = "auto"
) -> TrainingEstimate:
    """Start as `run_training` does, with its errors, and time a few updates; writes nothing."""
    with start(training, data, folder, recipe, init, device) as run:
        loop, config, process = run.recipe.loop, run.recipe.data, run.process
        task = training.task(run)
        tick = time.monotonic()
        batch = next(training.batches(run)(0))
        sample_s = (time.monotonic() - tick) / config.buffer
        updates = Updates(task, loop, process)
        float(updates.update(batch, 0))
        tick = time.monotonic()
        for _ in range(TIMED):
            float(updates.update(batch, 0))
        update_s = (time.monotonic() - tick) / TIMED
        tick = time.monotonic()
        training.scores(updates.average.module, run.checks)
        validation_s = time.monotonic() - tick
        samples = config.buffer + loop.images / process.world_size / config.crops_per_sample
        total_s = max(loop.images / loop.batch * update_s, samples * sample_s)
        return TrainingEstimate(
            places=len(run.library.places),
            pairs=len(run.library.pairs),
            checks=len(run.checks),
            device=str(process.device),
            processes=process.world_size,
            parameters=parameters(task.network),
            gflop_per_patch=training.gflop(task.network),
            update_s=update_s,
            sample_s=sample_s,
            validation_s=validation_s,
            total_s=total_s + loop.images / loop.snapshot * validation_s,
        )
