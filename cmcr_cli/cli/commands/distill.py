"""`cmcr distill`."""

from __future__ import annotations

from cmcr_cli.cli import arguments as opt
from cmcr_cli.cli.commands.train import carry_out
from cmcr_cli.cli.console import set_verbosity

EXAMPLES = """\
  cmcr distill data --teacher runs/teacher/weights.safetensors --run-dir runs/student
  cmcr distill data --teacher teacher.safetensors --run-dir runs/quick --images 2000 --batch 8"""


def distill(
    data: opt.Data,
    *,
    teacher: opt.Teacher,
    run_dir: opt.RunDir,
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
    """Distil a teacher into a student of the same architecture that needs few steps.

    The recipe and the progress go to stderr, the path of the weights to stdout. A stopped run is continued
    when the same command is given again.
    """
    set_verbosity(verbose, quiet)
    from cmcr_cli.training.tasks.student import STUDENT

    chosen = {
        "images": images,
        "batch": batch,
        "crop": crop,
        "learning_rate": learning_rate,
        "seed": seed,
        "split_rule": split_rule,
    }
    carry_out(STUDENT, data, run_dir, teacher, config or "student", chosen, device=device, dry_run=dry_run)
