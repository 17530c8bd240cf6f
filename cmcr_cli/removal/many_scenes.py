"""Many scenes, one after another on this machine or spread over an existing Dask cluster."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from cmcr_cli.addresses import public
from cmcr_cli.errors import CmcrError, InputError, OptionError, OutputError
from cmcr_cli.option_fields import absolute_paths, option_fields, value_of_text
from cmcr_cli.options import RemoveOptions
from cmcr_cli.output.catalogue.cover import Cover
from cmcr_cli.output.catalogue.stac_item import scene_time
from cmcr_cli.output.claims import Claims
from cmcr_cli.output.files import remove_parts
from cmcr_cli.output.lock import locked, restore_old
from cmcr_cli.removal.estimation import estimate
from cmcr_cli.removal.finished import unfinished
from cmcr_cli.removal.opening.opened import Model, load_model, open_s2
from cmcr_cli.removal.opening.session import Progress, claim
from cmcr_cli.removal.pipeline import remove
from cmcr_cli.removal.scene_list import NO_NAME, Scene, all_of
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.references.dates import date_of
from cmcr_cli.scene.references.placed import LEAST_OVERLAP
from cmcr_cli.warning_kinds import CmcrWarning

log = logging.getLogger("cmcr")

SUFFIXES = re.compile(r"(\.SAFE|\.zarr|\.zip|\.tiff?|\.vrt|\.(geo)?json|\.jp2)+$", re.IGNORECASE)

PRODUCT = re.compile(r".+\.(SAFE|zarr)(\.zip)?", re.IGNORECASE)
"""Name of a product; a path may lead on to a part of it."""

IN_COLLECTION = re.compile(r"(?:.+\.(?:geo)?json|\w+://[^#]+)#(.+)", re.IGNORECASE | re.DOTALL)
"""An item of an ItemCollection, by its id."""

BETWEEN = ";"
"""What stands between several references in one cell."""

CONNECT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one scene.

    Attributes:
        output: The image.
        status: What became of it; planned: nothing yet, in a dry run.
        seconds: That it took, or would take.
        covered_share: Part of the valid pixels that is covered, 0 to 1.
        cover: Shares of all kinds of cover.
        error: Why it failed.
        warnings: Of the run.
        memory_mb: Peak of the memory that it would need.
        disk_mb: Room that it would need on disk while it runs.
        output_mb: Size of the outputs that it would leave there.
    """

    output: str
    status: Literal["done", "planned", "skipped", "failed"]
    seconds: float = 0.0
    covered_share: float | None = None
    cover: Cover | None = None
    error: str | None = None
    warnings: tuple[CmcrWarning, ...] = ()
    memory_mb: int | None = None
    disk_mb: int | None = None
    output_mb: int | None = None


def jobs_of(
    scenes: Sequence[Scene], folder: Path, settings: dict[str, Any], extras: Sequence[str] = ()
) -> list[RemoveOptions]:
    """Make the options of every scene.

    Args:
        scenes: Values by column, as `read_scenes` returns them. Without a column `output` the image is called
            NAME_clear.tif, after the Sentinel-2 file, product or item.
        folder: Folder of the outputs.
        settings: Options that all scenes share; columns of a scene win over them.
        extras: Fields of further outputs to write beside each image.

    Returns:
        Options of each scene.

    Raises:
        OptionError: Two scenes have the same output, some are outside the folder, or values are not those of
            their column; all of these at once.
    """
    endings = {each.name: each.option.form.ending for each in option_fields(RemoveOptions)}
    jobs: dict[Path, RemoveOptions] = {}

    def add(number: int, scene: Scene) -> None:
        s2 = str(scene["s2"])
        output = folder / str(scene.get("output", f"{_name_of(s2)}_clear.tif"))
        if not output.resolve().is_relative_to(folder.resolve()):
            raise OptionError(
                f"{s2} would be written to {output}, which is not in {folder}; expected all outputs "
                "there. Give a name that stays there, or choose another folder with -o."
            )
        if output in jobs:
            raise OptionError(
                f"{s2} and {jobs[output].s2} would both be written to {output}; expected one output "
                "for each scene. Name them in a third column."
            )
        beside = {extra: output.with_name(f"{output.stem}_{extra}{endings[extra]}") for extra in extras}
        try:
            jobs[output] = RemoveOptions(**{**settings, **_own(scene), **beside, "output": output})
        except OptionError as error:
            if scene.keys() <= {"s2", "s1", "output"}:  # then it is what all scenes share
                raise
            raise OptionError(f"scene {number} ({s2}): {error}") from error

    all_of(partial(add, number, scene) for number, scene in enumerate(scenes, 1))
    return list(jobs.values())


def _name_of(s2: str) -> str:
    """A name for the outputs of a scene: that of its product, item or file, without suffixes."""
    if item := IN_COLLECTION.fullmatch(s2):
        return NO_NAME.sub("_", item[1])
    place = Path(public(s2).rstrip("/"))
    name = next((part for part in place.parts if PRODUCT.fullmatch(part)), place.name)
    return SUFFIXES.sub("", name)


def _own(scene: Scene) -> dict[str, Any]:
    """Options that a scene states itself."""
    fields = {field.name: field for field in option_fields(RemoveOptions)}
    own: dict[str, Any] = {}
    for name, value in scene.items():
        if not isinstance(value, str):
            own[name] = value
        elif fields[name].listed:
            own[name] = tuple(each.strip() for each in value.split(BETWEEN) if each.strip())
        elif name != "output":
            own[name] = value_of_text(fields[name], value)
    return own


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
    stated = {job.s2: job.datetime for job in jobs}
    for path in stated:
        try:
            with (
                open_optical(path, time=stated[path]) as optical,
                open_optical(path, onto=optical.grid) as other,
            ):
                other.read(other.grid.height - 1, 1)  # a damaged scene must not stop all others
                day = date_of(optical.tags, path)
                if day is not None:
                    taken[path] = optical.grid, day
        except CmcrError as error:
            log.warning("%s: is not a reference of other scenes (%s)", path, error)
            continue
        if day is None:
            log.warning("%s: has no references and is none, as its date is not known", path)
    named = {path: path if when is None else f"{path}@{when[:10]}" for path, when in stated.items()}
    return [
        replace(job, references=(*job.references, *(named[path] for path in _others(job.s2, taken, days))))
        for job in jobs
    ]


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


def check_dates(jobs: Sequence[RemoveOptions]) -> None:
    """Look for the date of every scene of which a STAC item is to be written; call it before any work.

    Args:
        jobs: Options of each scene. One that cannot be opened fails in its turn.

    Raises:
        InputError: Scenes state no date.
    """
    undated = []
    for job in jobs:
        if job.stac is not None and job.datetime is None:
            with suppress(CmcrError), open_s2(job) as optical:
                try:
                    scene_time(optical.tags, optical.path)
                except InputError as error:
                    undated.append(error)
    if undated:
        raise InputError(
            f"{undated[0]} {len(undated)} of {len(jobs)} scenes lack a date; a list may have a column for it."
        )


def run_batch(
    jobs: Sequence[RemoveOptions],
    *,
    skip_existing: bool = False,
    scheduler: str | None = None,
    retries: int = 2,
    dry_run: bool = False,
    progress: Progress = lambda stage, done: None,
) -> Iterator[Outcome]:
    """Process scenes. One that fails does not stop the others.

    Args:
        jobs: Options of each scene; they share weights and device.
        skip_existing: Whether scenes with a complete output are skipped. Those that resume are, unless they
            overwrite.
        scheduler: Address of a Dask scheduler. Scenes then go to its workers in any order, one GPU each if
            workers declare a resource GPU, and paths must mean the same files on every worker. None: this
            process.
        retries: How often a scene is repeated that was lost with a worker.
        dry_run: Whether scenes are only checked and estimated; nothing is written.
        progress: Called with the stage of the scene at work and the part of it that is done, in this process.

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
        skips = skip_existing or (job.resume and not job.overwrite)
        if skips and (lacking := unfinished(job)) is None:
            yield Outcome(str(job.output), "skipped")
        elif os.path.lexists(job.output) and not job.overwrite:
            text = f"{job.output}: exists already; give --overwrite or --skip-existing."
            if skips:
                text = (
                    f"{job.output}: is there, but {lacking}; expected all outputs of one run, or none, for "
                    "--skip-existing and --resume. Remove it, or give --overwrite to replace it."
                )
            yield Outcome(str(job.output), "failed", error=text)
        else:
            todo.append(job)
    work = _planned if dry_run else _one_scene
    if scheduler is not None:
        yield from _on_cluster(todo, scheduler, retries, work)
        return
    model = load_model(todo[0].weights, todo[0].device) if todo else None
    for job in todo:
        try:
            yield work(job, model, progress)
        except Exception as error:
            log.debug("traceback", exc_info=error)
            yield _failed(job, error)


def _one_scene(
    job: RemoveOptions, model: Model | None = None, progress: Progress = lambda stage, done: None
) -> Outcome:
    """Do one scene; errors that would come again are an outcome, others are raised."""
    started = time.monotonic()
    try:
        report = remove(job, progress, model=model)
    except CmcrError as error:
        return _failed(job, error)
    seconds = round(time.monotonic() - started, 1)
    shares = report.covered_share, report.cover
    return Outcome(str(job.output), "done", seconds, *shares, warnings=report.warnings)


def _planned(
    job: RemoveOptions, model: Model | None = None, progress: Progress = lambda stage, done: None
) -> Outcome:
    """Check and estimate one scene; its errors are an outcome, as of `_one_scene`."""
    try:
        plan = estimate(job, progress, model=model)
    except CmcrError as error:
        return _failed(job, error)
    return Outcome(
        str(job.output),
        "planned",
        plan.seconds,
        plan.covered_share,
        plan.cover,
        warnings=plan.warnings,
        memory_mb=plan.memory_mb,
        disk_mb=plan.disk_mb,
        output_mb=plan.output_mb,
    )


def _failed(job: RemoveOptions, error: BaseException) -> Outcome:
    text = str(error) if isinstance(error, CmcrError) else f"{type(error).__name__}: {error}"
    return Outcome(str(job.output), "failed", error=" ".join(text.split()))


def _on_cluster(
    jobs: Sequence[RemoveOptions], address: str, retries: int, work: Callable[..., Outcome]
) -> Iterator[Outcome]:
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
                work,
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
        if job.native is not None:
            job.native.rmdir()  # unless something is in it
