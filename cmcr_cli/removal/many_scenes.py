"""Many scenes, one after another on this machine or spread over an existing Dask cluster."""

from __future__ import annotations

import csv
import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from cmcr_cli.errors import CmcrError, InputError, OptionError, OutputError
from cmcr_cli.option_fields import absolute_paths, option_fields
from cmcr_cli.options import COLUMNS, UNNAMED_COLUMNS, RemoveOptions
from cmcr_cli.output.claims import Claims
from cmcr_cli.output.files import remove_parts
from cmcr_cli.output.lock import locked, restore_old
from cmcr_cli.removal.finished import unfinished
from cmcr_cli.removal.opening.opened import Model, load_model
from cmcr_cli.removal.opening.session import claim
from cmcr_cli.removal.pipeline import remove
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.references.cells import cells_of
from cmcr_cli.scene.references.dates import date_of
from cmcr_cli.scene.references.placed import LEAST_OVERLAP
from cmcr_cli.warning_kinds import CmcrWarning

log = logging.getLogger("cmcr")

SUFFIXES = re.compile(r"(\.SAFE|\.zarr|\.zip|\.tiff?|\.vrt|\.json|\.jp2)+$", re.IGNORECASE)

BETWEEN = ";"
"""What stands between several references in one cell."""

CONNECT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one scene."""

    output: str
    status: Literal["done", "skipped", "failed"]
    seconds: float = 0.0
    covered_share: float | None = None
    error: str | None = None
    warnings: tuple[CmcrWarning, ...] = ()


def read_scenes(lines: Iterable[str], source: str) -> list[dict[str, str]]:
    """Read a list of scenes.

    Args:
        lines: Lines of a CSV: columns by their heading, else s2, s1 and output. Blank lines and comments (#)
            are skipped.
        source: Name of the list, for messages.

    Returns:
        The cells of each scene by column, without those that are empty.

    Raises:
        InputError: The list is empty, has unknown columns, or a line without s2.
    """
    try:
        rows = cells_of(lines, COLUMNS)
    except csv.Error as error:
        raise InputError(
            f"{source}: is not a CSV ({error}); expected lines such as s2.tif,s1.tif."
        ) from error
    names: Sequence[str] = UNNAMED_COLUMNS
    if rows and rows[0][0].strip().lower() == "s2":
        names = [name.strip().lower() for name in rows.pop(0)]
    if not rows:
        raise InputError(
            f"{source}: lists no scenes; expected lines such as s2.tif,s1.tif or a heading first."
        )
    if unknown := set(names) - set(COLUMNS):
        raise InputError(
            f"{source}: has columns {', '.join(sorted(unknown))}; expected some of {', '.join(COLUMNS)}."
        )
    scenes = []
    for number, row in enumerate(rows, 1):
        if len(row) > len(names) or not row[0].strip():
            raise InputError(
                f"{source}: scene {number} is {','.join(row)!r}; expected at most {len(names)} values "
                f"({', '.join(names)}), s2 among them."
            )
        scenes.append({name: cell.strip() for name, cell in zip(names, row, strict=False) if cell.strip()})
    return scenes


def jobs_of(
    scenes: Sequence[dict[str, str]], folder: Path, settings: dict[str, Any], extras: Sequence[str] = ()
) -> list[RemoveOptions]:
    """Make the options of every scene.

    Args:
        scenes: Cells by column, as `read_scenes` returns them. Without a column `output` the image is called
            NAME_clear.tif, after the Sentinel-2 file.
        folder: Folder of the outputs.
        settings: Options that all scenes share; columns of a scene win over them.
        extras: Fields of further outputs to write beside each image.

    Returns:
        Options of each scene.

    Raises:
        OptionError: Two scenes have the same output, or one is outside the folder.
    """
    endings = {each.name: each.option.ending for each in option_fields(RemoveOptions)}
    lists = {each.name for each in option_fields(RemoveOptions) if each.listed}
    jobs: dict[Path, RemoveOptions] = {}
    for scene in scenes:
        name = SUFFIXES.sub("", Path(scene["s2"].rstrip("/")).name)
        output = folder / scene.get("output", f"{name}_clear.tif")
        if not output.resolve().is_relative_to(folder.resolve()):
            raise OptionError(
                f"{scene['s2']} would be written to {output}, which is not in {folder}; expected all outputs "
                "there. Give a name that stays there, or choose another folder with -o."
            )
        if output in jobs:
            raise OptionError(
                f"{scene['s2']} and {jobs[output].s2} would both be written to {output}; expected one output "
                "for each scene. Name them in a third column."
            )
        beside = {extra: output.with_name(f"{output.stem}_{extra}{endings[extra]}") for extra in extras}
        own = {
            key: _several(value) if key in lists else value for key, value in scene.items() if key != "output"
        }
        jobs[output] = RemoveOptions(**{**settings, **own, **beside, "output": output})
    return list(jobs.values())


def _several(cell: str) -> tuple[str, ...]:
    """The values of a cell that holds a list."""
    return tuple(value.strip() for value in cell.split(BETWEEN) if value.strip())


def help_each_other(jobs: Sequence[RemoveOptions], days: int) -> list[RemoveOptions]:
    """Give every scene the others of its ground as references.

    Args:
        jobs: Options of every scene.
        days: Most days between a scene and its references. Scenes of unknown date have none and are none.

    Returns:
        The jobs, with more references.

    Raises:
        OptionError: The days are negative.
    """
    if days < 0:
        raise OptionError(f"--references-from-batch {days}: expected a number of days, such as 60")
    taken: dict[str, tuple[Grid, date]] = {}
    for path in dict.fromkeys(job.s2 for job in jobs):
        try:
            with open_optical(path) as optical, open_optical(path, onto=optical.grid) as other:
                other.read(other.grid.height - 1, 1)  # a damaged scene must not stop all others
                day = date_of(optical.tags, path)
                if day is not None:
                    taken[path] = optical.grid, day
        except CmcrError as error:
            log.warning("%s: is not a reference of other scenes (%s)", path, error)
            continue
        if day is None:
            log.warning("%s: has no references and is none, as its date is not known", path)
    return [replace(job, references=(*job.references, *_others(job.s2, taken, days))) for job in jobs]


def _others(scene: str, taken: Mapping[str, tuple[Grid, date]], days: int) -> Iterator[str]:
    """Paths of the scenes that overlap one and are near in time."""
    if scene not in taken:
        return
    grid, day = taken[scene]
    for path, (other, when) in taken.items():
        if path != scene and abs((when - day).days) <= days and grid.overlap(other) > LEAST_OVERLAP:
            yield path


def check_batch(jobs: Sequence[RemoveOptions], *more: str | Path) -> None:
    """Compare the files of all jobs; call it before any work.

    Args:
        jobs: Options of each scene.
        more: Further files that are read, such as the list of the scenes.

    Raises:
        OutputError: An output meets an input or output of any job.
    """
    claims = Claims()
    claims.read(*more)
    for job in jobs:
        claim(claims, job)
    claims.check()


def run_batch(
    jobs: Sequence[RemoveOptions],
    *,
    skip_existing: bool = False,
    scheduler: str | None = None,
    retries: int = 2,
) -> Iterator[Outcome]:
    """Process scenes. One that fails does not stop the others.

    Args:
        jobs: Options of each scene; they share weights and device.
        skip_existing: Whether scenes with a complete output are skipped.
        scheduler: Address of a Dask scheduler. Scenes then go to its workers in any order, one GPU each if
            workers
            declare a resource GPU, and paths must mean the same files on every worker. None: this process.
        retries: How often a scene is repeated that was lost with a worker.

    Yields:
        The outcome of each scene when it is known.

    Raises:
        OutputError: Files of the jobs meet.
        InputError: The cluster cannot be used.
        WeightsError: The weights cannot be used.
    """
    check_batch(jobs)
    todo = []
    for job in jobs:
        restore_old(list(job.outputs.values()))
        if skip_existing and (lacking := unfinished(job)) is None:
            yield Outcome(str(job.output), "skipped")
        elif job.output.exists() and not job.overwrite:
            text = f"{job.output}: exists already; give --overwrite or --skip-existing."
            if skip_existing:
                text = (
                    f"{job.output}: is there, but {lacking}; expected all outputs of one run, or none, for "
                    "--skip-existing. Remove it, or give --overwrite to replace it."
                )
            yield Outcome(str(job.output), "failed", error=text)
        else:
            todo.append(job)
    if scheduler is not None:
        yield from _on_cluster(todo, scheduler, retries)
        return
    model = load_model(todo[0].weights, todo[0].device) if todo else None
    for job in todo:
        try:
            yield _one_scene(job, model)
        except Exception as error:
            log.debug("traceback", exc_info=error)
            yield _failed(job, error)


def _one_scene(job: RemoveOptions, model: Model | None = None) -> Outcome:
    """Do one scene; errors that would come again are an outcome, others are raised."""
    started = time.monotonic()
    try:
        report = remove(job, model=model)
    except CmcrError as error:
        return _failed(job, error)
    seconds = round(time.monotonic() - started, 1)
    return Outcome(str(job.output), "done", seconds, report.covered_share, warnings=report.warnings)


def _failed(job: RemoveOptions, error: BaseException) -> Outcome:
    text = str(error) if isinstance(error, CmcrError) else f"{type(error).__name__}: {error}"
    return Outcome(str(job.output), "failed", error=" ".join(text.split()))


def _on_cluster(jobs: Sequence[RemoveOptions], address: str, retries: int) -> Iterator[Outcome]:
    try:
        distributed: Any = import_module("distributed")
    except ImportError as error:
        raise InputError(
            "Dask is not installed; expected it for --scheduler. Install it with pip install distributed, "
            "here and on the workers."
        ) from error
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address} ({error}); expected one that runs. Start it with dask "
            "scheduler, and give the address that it prints to --scheduler."
        ) from error
    with client:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        gpus = any("GPU" in worker.get("resources", {}) for worker in workers)
        futures = {
            client.submit(
                _one_scene,
                # An attempt may have been lost after its output was complete.
                replace(_absolute(job), overwrite=True),
                pure=False,
                retries=retries,
                resources={"GPU": 1} if gpus else None,
            ): job
            for job in jobs
        }
        for future in distributed.as_completed(futures):
            job, failure = futures[future], future.exception()
            if not (failure and job.resume):
                _remove_parts(job)
            yield _failed(job, failure) if failure else replace(future.result(), output=str(job.output))


def _absolute(job: RemoveOptions) -> RemoveOptions:
    """The job with absolute paths: workers run in other folders. Addresses that only GDAL knows stay."""
    return replace(job, **absolute_paths(job))


def _remove_parts(job: RemoveOptions) -> None:
    """Remove what attempts left behind whose worker was killed; not while one still writes."""
    paths = list(job.outputs.values())
    with suppress(OSError, OutputError), locked(paths):
        remove_parts(paths)
