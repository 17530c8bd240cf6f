"""`cmcr train`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cmcr_cli.cli import arguments as opt
from cmcr_cli.cli.console import duration, echo, set_verbosity
from cmcr_cli.cli.from_fields import Chosen, takes_fields
from cmcr_cli.option_fields import Command, Option

if TYPE_CHECKING:
    from cmcr_cli.training.run import Training

EXAMPLES = """\
  cmcr train clouds data --run-dir runs/clouds
  cmcr train teacher data --run-dir runs/teacher --init runs/clouds/weights.safetensors"""


TRAINING: tuple[Command, ...] = ("train", "distill")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeOptions:
    """The recipe of a training, and values that replace its own; None: as in the recipe."""

    config: Annotated[
        str | None,
        Option(
            "Packaged recipe, or a .toml file; default: the recipe of the network.",
            commands=TRAINING,
            metavar="NAME|PATH",
        ),
    ] = None
    images: Annotated[int | None, Option("Crops in total, counting repetitions.", commands=TRAINING)] = None
    batch: Annotated[int | None, Option("Crops per update.", commands=TRAINING)] = None
    crop: Annotated[int | None, Option("Pixels along each side of a crop.", commands=TRAINING)] = None
    learning_rate: Annotated[float | None, Option("Highest learning rate.", commands=TRAINING)] = None
    seed: Annotated[
        int | None, Option("Seed of the initial weights and of the crops.", commands=TRAINING)
    ] = None
    split_rule: Annotated[
        Literal["exact", "legacy"] | None,
        Option("Split of SEN12MS-CR, as for data check.", commands=TRAINING),
    ] = None


@takes_fields("train", RecipeOptions)
def train(
    network: Annotated[Literal["clouds", "teacher"], typer.Argument(help="The network to train.")],
    data: opt.Data,
    *,
    run_dir: opt.RunDir,
    init: opt.Init = None,
    chosen: Chosen,
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
    carry_out(training, data, run_dir, init, network, chosen, device=device, dry_run=dry_run)


def carry_out(
    training: Training,
    data: Path,
    run_dir: Path,
    init: Path | None,
    usual: str,
    chosen: Chosen,
    *,
    device: str,
    dry_run: bool,
) -> None:
    """Train a network, or print what that would be.

    Args:
        training: The network's task.
        data: Training data.
        run_dir: Folder of the run.
        init: Weights to start from.
        usual: Recipe to use where the command line names none.
        chosen: Values of `RecipeOptions`.
        device: Where to compute.
        dry_run: Whether to print only.
    """
    from cmcr_cli.training.dry_run import estimate_training
    from cmcr_cli.training.recipe import load_recipe, with_knobs
    from cmcr_cli.training.run import run_training

    given = {name: value for name, value in chosen.items() if value is not None}
    recipe = with_knobs(load_recipe(given.pop("config", usual)), **given)
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
        f"run time    about {duration(found.total_s)}, of which {duration(found.start_s)} until the data are "
        "read"
    )
