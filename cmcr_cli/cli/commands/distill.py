"""`cmcr distill`."""

from __future__ import annotations

from cmcr_cli.cli import arguments as opt
from cmcr_cli.cli.commands.train import RecipeOptions, carry_out
from cmcr_cli.cli.console import set_verbosity
from cmcr_cli.cli.from_fields import Chosen, takes_fields

EXAMPLES = """\
  cmcr distill data --teacher runs/teacher/weights.safetensors --run-dir runs/student
  cmcr distill data --teacher teacher.safetensors --run-dir runs/quick --images 2000 --batch 8"""


@takes_fields("distill", RecipeOptions)
def distill(
    data: opt.Data,
    *,
    teacher: opt.Teacher,
    run_dir: opt.RunDir,
    chosen: Chosen,
    device: opt.Device = "auto",
    dry_run: opt.TrainingDryRun = False,
    verbose: opt.Verbose = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Distil a teacher into a student of the same architecture that needs few steps.

    The recipe and the progress go to stderr, the path of the weights to stdout. A stopped run is continued
    when the same command is given again.
    """
    set_verbosity(verbose, quiet)
    from cmcr_cli.training.tasks.student import STUDENT

    carry_out(STUDENT, data, run_dir, teacher, "student", chosen, device=device, dry_run=dry_run)
