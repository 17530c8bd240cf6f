"""`cmcr batch`."""

from __future__ import annotations

import sys
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cmcr_cli.cli import arguments as opt
from cmcr_cli.cli.console import (
    duration,
    echo,
    print_json,
    print_warnings,
    say,
    set_verbosity,
    show_batch,
)
from cmcr_cli.cli.from_fields import Chosen, takes_fields
from cmcr_cli.errors import InputError, OutputError
from cmcr_cli.option_fields import OUTPUTS, option_fields
from cmcr_cli.option_paths import check_output_folder
from cmcr_cli.options import RemoveOptions

if TYPE_CHECKING:
    from cmcr_cli.removal.many_scenes import Outcome

EXAMPLES = """\
  cmcr batch scenes.csv -o clear --steps 4 --provenance --resume
  cmcr batch - -o clear --scheduler tcp://10.0.0.1:8786 <scenes.csv"""

LARGEST_LIST = 256 * 2**20
"""Bytes; a large ItemCollection has some of 10 000 scenes."""


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
    dry_run: opt.DryRun = False,
    json: opt.Json = False,
    verbose: opt.Verbose = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Remove the clouds of many scenes.

    A scene that fails does not stop the others; the exit code is then 1.
    """
    set_verbosity(verbose, quiet)
    check_output_folder("--output", output)
    from cmcr_cli.removal.many_scenes import check_batch, check_dates, help_each_other, jobs_of, run_batch
    from cmcr_cli.removal.scene_list import read_scenes, scenes_at

    switches = {each.name for each in option_fields(RemoveOptions) if each.role in OUTPUTS}
    settings = {name: value for name, value in chosen.items() if name not in switches}
    extras = [name for name in chosen if name in switches and chosen[name]]
    remote = "://" in scenes or scenes.startswith("/vsi")
    listed = (scenes_at(scenes) if remote else None) or read_scenes(_text(scenes), scenes)
    jobs = jobs_of(listed, output, settings, extras)
    if references_from_batch is not None:
        jobs = help_each_other(jobs, references_from_batch)
    check_batch(jobs, *([] if scenes == "-" else [scenes]))
    check_dates(jobs)
    outcomes = []
    with _folder(output, kept=not dry_run), show_batch(len(jobs), quiet) as bars:
        for outcome in run_batch(
            jobs,
            skip_existing=skip_existing,
            scheduler=scheduler,
            retries=retries,
            dry_run=dry_run,
            progress=bars.show,
        ):
            outcomes.append(outcome)
            with bars.aside():
                print_warnings(outcome.warnings, f"{outcome.output}: ")
                if not (json or quiet):
                    echo(f"[{len(outcomes)}/{len(jobs)}] {_line(outcome)}")
                elif outcome.error:
                    say(f"cmcr: {outcome.error}")
    summary = _summary(outcomes, dry_run=dry_run)
    if json:
        print_json({**summary, "scenes": [asdict(outcome) for outcome in outcomes]})
    elif not quiet:
        echo(_sums(summary, dry_run=dry_run))
    if summary["failed"]:
        raise typer.Exit(1)


def _text(scenes: str) -> str:
    try:
        if scenes == "-":
            text = sys.stdin.read(LARGEST_LIST + 1)
            _check_size(text)
            return text
        _check_list(Path(scenes))
        with Path(scenes).open("rb") as file:
            content = file.read(LARGEST_LIST + 1)
        _check_size(content)
        # Spreadsheet programs call this encoding Unicode text.
        return content.decode("utf-16" if content[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a name with a zero byte
        raise InputError(
            f"{scenes}: cannot be read ({error}); expected a CSV of scenes, JSON lines, a STAC "
            "ItemCollection, or - for stdin."
        ) from error


def _check_size(content: str | bytes) -> None:
    if len(content) > LARGEST_LIST:
        raise ValueError(f"it has more than {LARGEST_LIST} bytes")


def _check_list(path: Path) -> None:
    """Raise OSError for what may have no end or no beginning; those of `<(...)` are open already."""
    opened = str(path).startswith(("/dev/fd/", "/proc/self/fd/"))
    if path.exists() and not (path.is_file() or (opened and path.is_fifo())):
        raise OSError("it is a folder, a pipe or a device")


@contextmanager
def _folder(folder: Path, *, kept: bool) -> Iterator[None]:
    """The folder of the outputs; one that is not kept is there only while the context lasts."""
    try:
        new = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be created ({error.strerror}); expected a folder. See -o."
        ) from error
    try:
        yield
    finally:
        for each in [] if kept else new:
            with suppress(OSError):
                each.rmdir()


def _line(outcome: Outcome) -> str:
    if outcome.status == "planned" and outcome.cover is not None:
        return (
            f"{outcome.output}: {outcome.cover.text()}; about {duration(outcome.seconds)}, "
            f"{outcome.memory_mb} MB of memory, {outcome.disk_mb} MB of disk"
        )
    if outcome.cover is not None:
        return f"{outcome.output}: {outcome.cover.text()}; {outcome.seconds:.0f} s"
    return f"{outcome.output}: {outcome.status}" + (f": {outcome.error}" if outcome.error else "")


def _summary(outcomes: Sequence[Outcome], *, dry_run: bool) -> dict[str, Any]:
    """How many scenes have which outcome; of a dry run also what all of them together need.

    Scenes follow each other, so that memory and temporary files are those of the largest.
    """
    counts = Counter(outcome.status for outcome in outcomes)
    summary: dict[str, Any] = {
        status: counts[status] for status in ("planned" if dry_run else "done", "skipped", "failed")
    }
    if dry_run:
        planned = [each for each in outcomes if each.status == "planned"]
        left = [each.output_mb or 0 for each in planned]
        summary["seconds"] = round(sum(each.seconds for each in planned), 1)
        summary["memory_mb"] = max((each.memory_mb or 0 for each in planned), default=0)
        summary["output_mb"] = sum(left)
        summary["disk_mb"] = sum(left) + max(
            ((each.disk_mb or 0) - own for each, own in zip(planned, left, strict=True)), default=0
        )
    return summary


def _sums(summary: Mapping[str, Any], *, dry_run: bool) -> str:
    text = ", ".join(f"{summary[status]} {status}" for status in list(summary)[:3])
    if dry_run and summary["planned"]:
        text += (
            f"; one after another about {duration(summary['seconds'])}, {summary['memory_mb']} MB of memory, "
            f"{summary['disk_mb']} MB of disk, of which {summary['output_mb']} MB stay"
        )
    return text
