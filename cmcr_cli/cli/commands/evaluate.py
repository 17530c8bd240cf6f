"""`cmcr evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cmcr_cli.cli import arguments as opt
from cmcr_cli.cli.console import echo, print_json, set_verbosity, show_progress

if TYPE_CHECKING:
    from cmcr_cli.evaluation.tables import Table

EXAMPLES = """\
  cmcr evaluate data
  cmcr evaluate data --only masks --held-out fold1.safetensors --held-out fold2.safetensors
  cmcr evaluate SEN12MSCR --split test --limit 500 --weights runs/student/weights.safetensors --json"""


def evaluate(
    data: opt.Data,
    *,
    weights: opt.Weights = None,
    split: opt.Split = "val",
    split_rule: opt.SplitRule = "exact",
    steps: opt.StepList = "1,2,4,8",
    samples: opt.MeanSamples = 4,
    limit: opt.Limit = None,
    only: opt.Only = None,
    held_out: opt.HeldOut = None,
    device: opt.Device = "auto",
    json: opt.Json = False,
    verbose: opt.Verbose = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Score a weights file and compare it with baselines.

    A, other date: the whole reconstructed image against the clear date, as published for SEN12MS-CR. B, same
    date: real clouds placed over clear images, scored on covered pixels. C: the same by how much clear ground
    is left, with the true mask and with that of the network. Then images under thin cirrus or haze, and the
    cloud network alone. If the data have a folder labels/: masks of labelled images, compared
    with the networks from which the labels come. R, references: clear dates of real series under painted
    cloud, restored with other dates of the place, compared with other ways to use these.
    """
    set_verbosity(verbose, quiet)
    from cmcr_cli.evaluation.protocols import EvaluateOptions
    from cmcr_cli.evaluation.protocols import evaluate as run

    options = EvaluateOptions(
        data=data,
        weights=weights,
        split=split,
        split_rule=split_rule,
        steps=opt.numbers(steps),
        samples=samples,
        limit=limit,
        device=device,
        only=only,
        held_out=tuple(held_out or ()),
    )
    with show_progress(quiet) as progress:
        evaluation = run(options, progress)
    if json:
        print_json(evaluation)
        return
    echo(f"weights {evaluation.weights}, {evaluation.device}")
    for table in evaluation.tables:
        _print_table(table)


def _print_table(table: Table) -> None:
    """Print a table in Markdown, its columns as wide as what is in them."""
    lines = [["", *table.columns]]
    lines += [[title, *(_cell(row.get(name)) for name in table.columns)] for title, row in table.rows.items()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    echo(f"\n**{table.title}**\n")
    if table.note:
        echo(f"{table.note}\n")
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        echo(f"| {' | '.join(cells)} |")


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    if float(value).is_integer():
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.4f}" if abs(value) < 0.1 else f"{value:.3f}"
