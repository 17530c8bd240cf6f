"""`cmcr data check`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from cmcr_cli.cli import arguments as opt
from cmcr_cli.cli.console import echo, print_json, set_verbosity, show_progress

EXAMPLES = """\
  cmcr data check SEN12MS-CR --split-rule legacy
  cmcr data check data --full --json"""

NAMES = 3
"""Names that are printed of each kind; --json has all."""


def check(
    data: opt.Data,
    *,
    split_rule: opt.SplitRule = "exact",
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Read every pixel, not only headers, dates, labels and the end of each file."
        ),
    ] = False,
    json: opt.Json = False,
    verbose: opt.Verbose = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Report the contents, broken files and splits of training data; exit code 1 if files are broken.

    Reads SEN12MS-CR as published, or a folder with triplets/, pairs_s2/, places/, optical/ and scenes/. The
    split rule legacy is the one of most published results. It trains on test places; use it only for
    comparisons with those results.
    """
    set_verbosity(verbose, quiet)
    from cmcr_cli.training.data.data_check import check_data

    with show_progress(quiet) as progress:
        report = check_data(data, split_rule, full=full, progress=lambda done: progress("check", done))
    if json:
        print_json(report)
    elif not quiet:
        echo(f"{data}: {report.layout} layout, {'pixels' if full else 'headers'} read")
        _echo("contents", {name: str(count) for name, count in report.contents.items()})
        _echo("files", {name: str(count) for name, count in report.files.items()})
        splits = {
            name: ", ".join(f"{count} {what}" for what, count in counts.items())
            for name, counts in report.splits.items()
        }
        _echo(f"splits, by the rule {split_rule}" if report.layout == "SEN12MS-CR" else "splits", splits)
        _echo("remarks", {kind: _some(names) for kind, names in report.remarks.items()})
        _echo("BROKEN", {kind: _some(names) for kind, names in report.broken.items()})
    if report.broken:
        raise typer.Exit(1)


def _echo(topic: str, values: Mapping[str, str]) -> None:
    if values:
        echo("\n".join([topic, *(f"  {name}: {value}" for name, value in values.items())]))


def _some(names: list[str]) -> str:
    return f"{len(names)} ({', '.join(names[:NAMES])}{', ...' if len(names) > NAMES else ''})"
