"""One removal from end to end: open and check, survey, restore row by row, composite, write."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cmcr_cli.ground.context import constant_context
from cmcr_cli.ground.coregistration import Alignment
from cmcr_cli.option_fields import decisive
from cmcr_cli.options import RemoveOptions, file_name
from cmcr_cli.output.claims import files_behind
from cmcr_cli.output.cog import rows_of
from cmcr_cli.output.files import FileSet
from cmcr_cli.output.lock import locked
from cmcr_cli.removal.opened import Model
from cmcr_cli.removal.restore.budget import shelf_rooms
from cmcr_cli.removal.restore.composite import composite, provenance_of
from cmcr_cli.removal.restore.patch_inputs import InputMaker
from cmcr_cli.removal.restore.plan import Plan, plan_of
from cmcr_cli.removal.restore.schedule import Lattice, Wavefront
from cmcr_cli.removal.restore.steps import Restorer
from cmcr_cli.removal.restore.strips import Row, RowReader
from cmcr_cli.removal.results.outputs import Outputs
from cmcr_cli.removal.results.resume import file_state, open_journal
from cmcr_cli.removal.results.sidecars import describe
from cmcr_cli.removal.session import Session, open_session
from cmcr_cli.removal.survey.first_pass import Survey, survey
from cmcr_cli.removal.survey.radar_check import checked_alignment
from cmcr_cli.runtime.device import fetched, placed, trim_heap
from cmcr_cli.runtime.spill import Shelf
from cmcr_cli.scene.bands import BANDS, present
from cmcr_cli.version import __version__

log = logging.getLogger("cmcr")

PIECE = 64
"""Lines that are put together and written at once."""

Progress = Callable[[str, float], None]
"""Called with the name of the stage and the part of it that is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was done, for people and for `--json`."""

    output: str
    weights: str
    device: str
    steps: int
    samples: int
    seed: int
    level: str
    offset: float
    offset_source: str
    radar: bool
    radar_shift: tuple[float, float] | None  # measured, metres to the east and north; None: not measured
    width: int
    height: int
    valid_share: float
    covered_share: float
    patches: int
    patches_restored: int
    seconds: dict[str, float]
    notes: list[str]


def remove(
    options: RemoveOptions, progress: Progress = lambda stage, done: None, *, model: Model | None = None
) -> Report:
    """Remove the clouds of one scene and write the outputs that `options` name.

    `model` saves loading the weights for every scene, and wins over the weights and device of `options`.
    Raises a child of CmcrError, and leaves no output behind, when anything is wrong.
    """
    clock = [time.monotonic()]
    paths = list(options.outputs.values())
    with (
        open_session(options, model) as session,
        locked(paths),
        FileSet(paths, overwrite=options.overwrite, kept=options.resume) as files,
    ):
        rasters = {name: rows_of(files, path) for name, path in options.rasters.items()}
        folder = files.part(options.output).parent
        journal = open_journal(folder, _about(session), rasters, session.notes, resume=options.resume)
        # The outputs are opened before the long work, so that what is wrong with them shows at once.
        with Outputs(options, session.optical, _tags(session), journal, files, session.area) as outputs:
            clock.append(time.monotonic())
            found = journal.survey or survey_scene(session, progress)
            if journal.survey is None:
                journal.keep_survey(found)
            alignment = checked_alignment(session, found)
            trim_heap()
            clock.append(time.monotonic())
            plan = plan_of(session, found)
            above = 0 if session.area is None else session.area.top
            known = journal.rows and above + journal.rows
            _restore(session, found, plan, outputs, known, progress)
            clock.append(time.monotonic())
            progress("write", 0.0)
        clock.append(time.monotonic())
        progress("write", 1.0)
        stages = ("open", "survey", "restore", "write")
        seconds = {
            name: round(b - a, 2) for name, (a, b) in zip(stages, itertools.pairwise(clock), strict=True)
        }
        report = _report(session, found, alignment, plan, seconds)
        describe(session.optical, options, report, outputs, files)
        return report


def survey_scene(session: Session, progress: Progress) -> Survey:
    """The first pass, and what there is to say about it."""
    if session.radar is None:
        session.notes.append("no Sentinel-1: under thick cloud only the scene's own colours can be guessed")
    found = survey(
        session.optical,
        session.radar,
        session.mask,
        with_context=session.options.context,
        each=session.lanes.map,
        progress=lambda done: progress("survey", done),
    )
    log.info("%.1f %% of the scene is covered by cloud or shadow", 100 * found.covered_share)
    if found.covered_share > 0.98 and session.options.context:
        session.notes.append("hardly any clear ground: colours come from the training, not from this scene")
    return found


def restorer_for(session: Session, found: Survey, shelf: Shelf) -> Restorer:
    """The network with the scene's context, or with the colours of the training where that is not wanted."""
    options, weights = session.options, session.weights
    names = present(session.optical.names)
    context = found.context or constant_context(names, weights.mean.numpy(), weights.spread.numpy())
    return Restorer(
        maker=InputMaker(session.optical, context, found.visible, found.unmixing),
        steps=options.steps,
        samples=options.samples,
        seed=options.seed,
        harmonised=options.keep_clear,
        shelf=shelf,
        weights=weights.label,
    )


def _restore(
    session: Session, found: Survey, plan: Plan, outputs: Outputs, known: int, progress: Progress
) -> None:
    """Restore row by row; what is finished is put into the image and handed to the outputs.

    The first `known` rows of the scene are there already.
    """
    lattice, ends = plan.lattice, plan.ends
    # The row above the first that is missing is computed again, for the lines that the two share.
    whole = sum(end <= known for end in ends)
    edges = [max(line, 0) for line in (lattice.tops[0], *ends[:whole])]
    _show_again(session, found, edges, outputs)
    total, taken = max(sum(map(len, plan.todo[whole:])) * session.options.steps, 1), 0

    def count(patches: int) -> None:
        nonlocal taken
        taken += patches
        progress("restore", min(taken / total, 1))

    load = RowReader(session.optical, session.radar, found.cover, lattice.tops).load
    with Shelf(shelf_rooms(session, lattice.lefts), session.options.output) as shelf:
        restorer = restorer_for(session, found, shelf)
        wavefront = Wavefront(lattice, plan.todo, restorer, session.lanes, shelf, load, count)
        for index, row, canvas in wavefront.run(max(whole - 1, 0)) if whole < len(ends) else ():
            for lines in _pieces(max(row.top, 0), ends[index]) if index >= whole else ():
                _finish(session, found, lattice, row, lines, canvas, outputs)
            del row, canvas  # before the next row takes up its memory


def _show_again(session: Session, found: Survey, edges: Sequence[int], outputs: Outputs) -> None:
    """Hand the rows that are there already to the outputs, in the pieces in which they were made."""
    for first, stop in itertools.pairwise(edges):
        for lines in _pieces(first, stop) if outputs.quicklook is not None else ():
            dn = session.optical.read(lines.start, lines.stop - lines.start)
            strength = _strength(session, found, lines.start, lines.stop)
            outputs.show_again(lines.start, dn, provenance_of(session.optical.valid(dn), strength))


def _pieces(first: int, stop: int) -> Iterator[slice]:
    """The lines in which a row of patches is finished, a few at once: images of a whole row are large."""
    for top in range(first, stop, PIECE):
        yield slice(top, min(top + PIECE, stop))


def _strength(session: Session, found: Survey, first: int, stop: int) -> NDArray[np.float32]:
    """How much of each pixel is replaced, (rows, width), 0 to 1."""
    if session.options.keep_clear:
        return found.cover.strength(first, stop - first)
    return np.ones((stop - first, session.optical.grid.width), np.float32)


def _finish(
    session: Session,
    found: Survey,
    lattice: Lattice,
    row: Row,
    lines: slice,
    canvas: Tensor | None,
    outputs: Outputs,
) -> None:
    """Composite the finished `lines` of the scene and hand them to the outputs."""
    optical = session.optical
    here = slice(lines.start - row.first, lines.stop - row.first)
    image = dn = row.dn[:, here]
    valid, strength = optical.valid(dn), _strength(session, found, lines.start, lines.stop)
    deviation = None if session.options.uncertainty is None else np.zeros(dn.shape, np.float32)
    if canvas is not None:
        left, order = -lattice.lefts[0], [BANDS.index(name) for name in optical.names]
        restored = canvas[:, lines.start - row.top : lines.stop - row.top, left : left + valid.shape[1]]
        share = placed(strength, canvas.device)
        bands = [restored[band] for band in order]
        seen = row.on(canvas.device).dn[:, here]
        image = fetched(composite(seen, bands, share, placed(valid, canvas.device), optical)).view(dn.dtype)
        if deviation is not None:
            deviation = fetched(restored[[len(BANDS) + band for band in order]] * share)
    outputs.write(lines.start, dn, image, provenance_of(valid, strength), deviation)


def _about(session: Session) -> dict[str, Any]:
    """All that the pixels depend on, for the journal."""
    options, optical = session.options, session.optical
    # What only GDAL knows to be behind an input, and what is known without it.
    read = {*optical.source.files, *(() if session.radar is None else session.radar.source.files)}
    read |= {str(file) for named in options.inputs for file in files_behind(named)}
    return {
        **decisive(options),
        "cmcr": __version__,
        "sun": str(optical.sun),  # as it is used, whoever stated it
        "weights": session.weights.sha256,
        "devices": sorted({device.type for device in session.devices}),
        "inputs": [file_state(path) for path in sorted(read)],
        "grid": [optical.grid.describe(), optical.grid.transform, optical.grid.crs],
    }


def _tags(session: Session) -> dict[str, str]:
    """What the output says about itself."""
    options, optical = session.options, session.optical
    radar = [file_name(path) for path in (options.s1, options.s1_vv, options.s1_vh) if path is not None]
    return {
        "CMCR_WEIGHTS": session.weights.label,
        "CMCR_WEIGHTS_SHA256": session.weights.sha256,
        "CMCR_STEPS": str(options.steps),
        "CMCR_SAMPLES": str(options.samples),
        "CMCR_SEED": str(options.seed),
        "CMCR_OFFSET": f"{optical.radiometry.offset:g} ({optical.offset_source})",
        "CMCR_MASK": file_name(options.mask),
        "CMCR_DILATE": f"{options.dilate:g}",
        "CMCR_S2": file_name(options.s2),
        **({} if session.area is None else {"CMCR_AREA": session.area.name}),
        "CMCR_S1": ", ".join(radar) or "none",
    }


def _report(
    session: Session, found: Survey, alignment: Alignment | None, plan: Plan, seconds: dict[str, float]
) -> Report:
    options, optical = session.options, session.optical
    grid = optical.grid if session.area is None else session.area.grid
    return Report(
        output=str(options.output),
        weights=session.weights.label,
        device=session.device,
        steps=options.steps,
        samples=options.samples,
        seed=options.seed,
        level=optical.level,
        offset=optical.radiometry.offset,
        offset_source=optical.offset_source,
        radar=session.radar is not None,
        radar_shift=None if alignment is None else (round(alignment.east, 1), round(alignment.north, 1)),
        width=grid.width,
        height=grid.height,
        valid_share=found.valid_share,
        covered_share=found.covered_share,
        patches=plan.patches,
        patches_restored=plan.patches_to_restore,
        seconds=seconds,
        notes=session.notes,
    )
