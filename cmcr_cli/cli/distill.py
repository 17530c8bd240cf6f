"""`cmcr distill`."""

from __future__ import annotations

import typer

from cmcr_cli.cli import options as opt
from cmcr_cli.cli.talk import set_verbosity
from cmcr_cli.cli.train import chosen_recipe

EXAMPLES = """\
  cmcr distill data --teacher runs/teacher/weights.safetensors --run-dir runs/student
  cmcr distill data --teacher teacher.safetensors --run-dir runs/quick --images 2000 --batch 8"""


def distill(
    data: opt.Data,
    *,
    teacher: opt.Teacher,
    run_dir: opt.RunDir,
    images: opt.Images = None,
    batch: opt.Batch = None,
    crop: opt.Crop = None,
    learning_rate: opt.LearningRate = None,
    seed: opt.TrainingSeed = None,
    verbose: opt.Verbose = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Distil the student, which needs few steps.

    The recipe goes to stderr, the path of the weights to stdout; options not given take the recipe's value.
    """
    set_verbosity(verbose, quiet)
    from cmcr_cli.training import distillation

    recipe = chosen_recipe(
        distillation.RECIPE, images=images, batch=batch, crop=crop, learning_rate=learning_rate, seed=seed
    )
    typer.echo(distillation.distill(data, run_dir, recipe, teacher))
