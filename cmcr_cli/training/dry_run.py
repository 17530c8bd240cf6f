"""Estimate the cost of a training from a few updates."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from cmcr_cli.model.network import parameters
from cmcr_cli.runtime.device import usable_cores
from cmcr_cli.training.loop import Updates
from cmcr_cli.training.recipe import Recipe, with_knobs
from cmcr_cli.training.run import Run, Training, start

TIMED = 4
"""Updates that are timed, after one warm-up update."""

PERIOD = 3
"""Batches of the cloud network after which their kinds repeat."""


@dataclass(frozen=True, slots=True)
class TrainingEstimate:
    """Estimate of a training.

    Attributes:
        places: Places with clear images.
        pairs: Pairs of a cloudy and a clear image.
        checks: Validation samples.
        device: Device of this process.
        processes: Number of processes.
        parameters: Parameters of the network.
        gflop_per_patch: GFLOP of a patch of 256 x 256 px at one step.
        update_s: Seconds per update.
        sample_s: Seconds per sample, with all workers of a process.
        validation_s: Seconds per validation.
        start_s: Seconds until the first update, in which the data are read.
        total_s: Seconds in total.
    """

    places: int
    pairs: int
    checks: int
    device: str
    processes: int
    parameters: int
    gflop_per_patch: float
    update_s: float
    sample_s: float
    validation_s: float
    start_s: float
    total_s: float


def estimate_training(
    training: Training, data: Path, folder: Path, recipe: Recipe, init: Path | None, device: str = "auto"
) -> TrainingEstimate:
    """Start a training, time a few updates, and write nothing.

    Args:
        training: Which training.
        data: Folder of training data, or the word `simulated`.
        folder: Run folder.
        recipe: Settings.
        init: Weights to start from.
        device: Device, as for `--device`.

    Returns:
        The estimate.

    Raises:
        CmcrError: As `run_training` does.
    """
    began = time.monotonic()
    with start(training, data, folder, recipe, init, device) as run:
        loop, process = run.recipe.loop, run.process
        task = training.task(run)
        loaded_s = time.monotonic() - began
        batch, sample_s, total, opened_s = _timed_samples(training, run)
        updates = Updates(task, loop, process)
        float(updates.update(batch, 0))
        tick = time.monotonic()
        for _ in range(TIMED):
            float(updates.update(batch, 0))
        update_s = (time.monotonic() - tick) / TIMED
        tick = time.monotonic()
        training.scores(updates.average.module, run.checks)
        validation_s = time.monotonic() - tick
        total_s = max(loop.images / loop.batch * update_s, total * sample_s)
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
            start_s=loaded_s + opened_s,
            total_s=loaded_s + opened_s + total_s + loop.images / loop.snapshot * validation_s,
        )


def _timed_samples(training: Training, run: Run) -> tuple[Any, float, float, float]:
    """Make samples as the training does.

    The denoiser cuts crops from a buffer of samples, which the first batch fills. The cloud network sees
    several views of each sample, and keeps the skies and clouds that it has drawn; so its batches are made
    twice, by this process alone, and the second time counts.

    Args:
        training: Which training.
        run: The run.

    Returns:
        A batch, the seconds per sample with all workers, the samples that this process makes in total, and
        the seconds before the first of them.
    """
    recipe, processes = run.recipe, run.process.world_size
    crops, config = recipe.loop.images / processes, recipe.data
    if training.name != "clouds":
        began = time.monotonic()
        batches = training.batches(run)(0)  # opens the images, which is not part of the time of a sample
        tick = time.monotonic()
        batch = next(batches)
        seconds = (time.monotonic() - tick) / config.buffer
        return batch, seconds, config.buffer + crops / config.crops_per_sample, tick - began
    began = time.monotonic()
    alone = training.batches(replace(run, recipe=with_knobs(recipe, workers=0)))
    per_batch, views = max(recipe.loop.batch // processes // recipe.mask.views, 1), recipe.mask.views
    batch = list(islice(alone(0), PERIOD))[-1]
    tick = time.monotonic()
    list(islice(alone(0), PERIOD))
    again = time.monotonic() - tick
    seconds = again / (PERIOD * per_batch) / max(min(config.workers, usable_cores()), 1)
    return batch, seconds, crops / views, max(tick - began - again, 0.0)
