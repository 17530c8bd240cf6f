"""`cmcr train`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cmcr_cli.cli import arguments as opt
from cmcr_cli.cli.console import echo, set_verbosity

if TYPE_CHECKING:
    from cmcr_cli.training.run import Training

EXAMPLES = """\
  cmcr train clouds data --run-dir runs/clouds
  cmcr train teacher data --run-dir runs/teacher --init runs/clouds/weights.safetensors"""


def train(
    network: Annotated[Literal["clouds", "teacher"], typer.Argument(help="The network to train.")],
    data: opt.Data,
    *,
    run_dir: opt.RunDir,
    init: opt.Init = None,
    config: opt.Config = None,
    images: opt.Images = None,
    batch: opt.Batch = None,
    crop: opt.Crop = None,
    learning_rate: opt.LearningRate = None,
    seed: opt.TrainingSeed = None,
    split_rule: opt.TrainingSplitRule = None,
    device: opt.Device = "auto",
    dry_run: opt.TrainingDryRun = False,
    verbose: opt.Verbose = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Train the cloud network or the teacher.

    The recipe and the progress go to stderr, the path of the weights to stdout. A stopped run is continued
    when the same command is given again.
    """
    set_verbosity(verbose, quiet)
    from cmcr_cli.training.tasks.cloud_masks import CLOUDS
    from cmcr_cli.training.tasks.teacher import TEACHER

    training = CLOUDS if network == "clouds" else TEACHER
    chosen = {
        "images": images,
        "batch": batch,
        "crop": crop,
        "learning_rate": learning_rate,
        "seed": seed,
        "split_rule": split_rule,
    }
    carry_out(training, data, run_dir, init, config or network, chosen, device=device, dry_run=dry_run)


def carry_out(
    training: Training,
    data: Path,
    run_dir: Path,
    init: Path | None,
    config: str,
    chosen: Mapping[str, object],
    *,
    device: str,
    dry_run: bool,
) -> None:
    """Train by the recipe `config`, with what was `chosen` put into it; or say what that would be."""
    from cmcr_cli.training.dry_run import estimate_training
    from cmcr_cli.training.recipe import load_recipe, with_knobs
    from cmcr_cli.training.run import run_training

    given = {name: value for name, value in chosen.items() if value is not None}
    recipe = with_knobs(load_recipe(config), **given)
    if not dry_run:
        echo(str(run_training(training, data, run_dir, recipe, init, device)))
        return
    found = estimate_training(training, data, run_dir, recipe, init, device)
    echo(
        f"data        {found.places} clear places, {found.pairs} cloudy/clear pairs, {found.checks} checks\n"
        f"network     {found.parameters:,} values, {found.gflop_per_patch:.1f} GFLOP per patch at 1 step\n"
        f"device      {found.device}, {found.processes} process{'es' * (found.processes > 1)}\n"
        f"times       {found.update_s:.2f} s an update, {found.sample_s:.3f} s a sample, "
        f"{found.validation_s:.0f} s a validation\n"
        f"run time    about {found.total_s / 60:.0f} minutes"
    )
