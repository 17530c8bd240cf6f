"""`cmcr batch`."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cmcr_cli.cli import arguments as opt
from cmcr_cli.cli.console import echo, print_json, print_warnings, say, set_verbosity
from cmcr_cli.cli.from_fields import Chosen, takes_fields
from cmcr_cli.errors import InputError, OutputError
from cmcr_cli.option_fields import OUTPUTS, option_fields
from cmcr_cli.option_paths import check_output_folder
from cmcr_cli.options import RemoveOptions

if TYPE_CHECKING:
    from cmcr_cli.removal.many_scenes import Outcome

EXAMPLES = """\
  cmcr batch scenes.csv -o clear --steps 4 --provenance --skip-existing --resume
  cmcr batch - -o clear --scheduler tcp://10.0.0.1:8786 <scenes.csv"""


@takes_fields("batch")
def batch(
    scenes: opt.Scenes,
    *,
    output: opt.Folder,
    references_from_batch: opt.FromBatch = None,
    skip_existing: opt.SkipExisting = False,
    scheduler: opt.Scheduler = None,
    retries: opt.Retries = 2,
    chosen: Chosen,
    json: opt.Json = False,
    verbose: opt.Verbose = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Remove the clouds of many scenes.

    A scene that fails does not stop the others; the exit code is then 1.
    """
    set_verbosity(verbose, quiet)
    check_output_folder("--output", output)
    from cmcr_cli.removal.many_scenes import (
        check_batch,
        check_dates,
        help_each_other,
        jobs_of,
        read_scenes,
        run_batch,
    )

    switches = {each.name for each in option_fields(RemoveOptions) if each.role in OUTPUTS}
    settings = {name: value for name, value in chosen.items() if name not in switches}
    extras = [name for name in chosen if name in switches and chosen[name]]
    jobs = jobs_of(read_scenes(_lines(scenes), scenes), output, settings, extras)
    if references_from_batch is not None:
        jobs = help_each_other(jobs, references_from_batch)
    check_batch(jobs, *([] if scenes == "-" else [scenes]))
    check_dates(jobs)
    _make_folder(output)
    outcomes = []
    for outcome in run_batch(jobs, skip_existing=skip_existing, scheduler=scheduler, retries=retries):
        outcomes.append(outcome)
        print_warnings(outcome.warnings, f"{outcome.output}: ")
        if not (json or quiet):
            echo(f"[{len(outcomes)}/{len(jobs)}] {_line(outcome)}")
        elif outcome.error:
            say(f"cmcr: {outcome.error}")
    counts = Counter(outcome.status for outcome in outcomes)
    summary = {status: counts[status] for status in ("done", "skipped", "failed")}
    if json:
        print_json({**summary, "scenes": [asdict(outcome) for outcome in outcomes]})
    elif not quiet:
        echo(", ".join(f"{count} {status}" for status, count in summary.items()))
    if counts["failed"]:
        raise typer.Exit(1)


def _lines(scenes: str) -> list[str]:
    if scenes == "-":
        return sys.stdin.read().splitlines()
    try:
        _check_list(Path(scenes))
        return Path(scenes).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a name with a zero byte
        raise InputError(
            f"{scenes}: cannot be read ({error}); expected a CSV of scenes, or - for stdin."
        ) from error


def _check_list(path: Path) -> None:
    """Raise OSError for what may have no end or no beginning; those of `<(...)` are open already."""
    opened = str(path).startswith(("/dev/fd/", "/proc/self/fd/"))
    if path.exists() and not (path.is_file() or (opened and path.is_fifo())):
        raise OSError("it is a folder, a pipe or a device")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be created ({error.strerror}); expected a folder. See -o."
        ) from error


def _line(outcome: Outcome) -> str:
    if outcome.cover is not None:
        return f"{outcome.output}: {outcome.cover.text()}; {outcome.seconds:.0f} s"
    return f"{outcome.output}: {outcome.status}" + (f": {outcome.error}" if outcome.error else "")
