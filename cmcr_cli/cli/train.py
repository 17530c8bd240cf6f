"""`cmcr train`."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cmcr_cli.cli import options as opt
from cmcr_cli.cli.talk import set_verbosity

if TYPE_CHECKING:
    from cmcr_cli.training.recipe import Recipe

log = logging.getLogger("cmcr")

EXAMPLES = """\
  cmcr train clouds data --run-dir runs/clouds
  cmcr train teacher data --run-dir runs/teacher --init runs/clouds/weights.safetensors"""


def train(
    network: Annotated[Literal["clouds", "teacher"], typer.Argument(help="The network to train.")],
    data: opt.Data,
    *,
    run_dir: opt.RunDir,
    init: opt.Init = None,
    images: opt.Images = None,
    batch: opt.Batch = None,
    crop: opt.Crop = None,
    learning_rate: opt.LearningRate = None,
    seed: opt.TrainingSeed = None,
    verbose: opt.Verbose = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Train the cloud network or the teacher.

    The recipe goes to stderr, the path of the weights to stdout; options not given take the recipe's value.
    """
    set_verbosity(verbose, quiet)
    from cmcr_cli.training import clouds, teacher

    base = clouds.RECIPE if network == "clouds" else teacher.RECIPE
    recipe = chosen_recipe(
        base, images=images, batch=batch, crop=crop, learning_rate=learning_rate, seed=seed
    )
    run = clouds.train_clouds if network == "clouds" else teacher.train_teacher
    typer.echo(run(data, run_dir, recipe, init))


def chosen_recipe(base: Recipe, **chosen: Any) -> Recipe:
    """`base` with what was `chosen` put into its loop; says it aloud."""
    given = {name: value for name, value in chosen.items() if value is not None}
    recipe = replace(base, loop=replace(base.loop, **given))
    log.warning("recipe: %s", json.dumps(asdict(recipe)))
    return recipe
