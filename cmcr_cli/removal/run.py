"""One removal from end to end: open and check, survey, restore row by row, composite, write."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray

from cmcr_cli.errors import GridMismatchError
from cmcr_cli.model.clouds import CloudNetwork
from cmcr_cli.model.weights import Weights
from cmcr_cli.removal.beside import describe
from cmcr_cli.removal.composite import composite
from cmcr_cli.removal.masks import chosen_mask
from cmcr_cli.removal.opened import Model, load_model
from cmcr_cli.removal.options import RemoveOptions, file_name
from cmcr_cli.removal.outputs import Outputs
from cmcr_cli.removal.patchwork import Restorer, Row, batches
from cmcr_cli.removal.survey import Survey, radar_rows, survey
from cmcr_cli.scene.alignment import Alignment, measure_alignment
from cmcr_cli.scene.area import Area, area_of_bbox, area_of_file
from cmcr_cli.scene.bands import BANDS, canonical, present
from cmcr_cli.scene.cog import check_writable
from cmcr_cli.scene.context import MARGIN, constant_context
from cmcr_cli.scene.mask import CoverRows
from cmcr_cli.scene.optical import Optical, check_radiometry, open_optical
from cmcr_cli.scene.patches import PATCH, RowBlender, lattice_starts, reflected
from cmcr_cli.scene.radar import Radar, open_radar

log = logging.getLogger("cmcr")

CACHE_BYTES = 192 * 2**20
"""GDAL's block cache: two rows of blocks of a whole scene, since rows of patches straddle blocks."""

MOST_SHIFT = 30
"""Metres between radar and image beyond which there is a warning: three pixels."""

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


@dataclass(frozen=True, slots=True)
class Session:
    """Everything that is open during one removal."""

    options: RemoveOptions
    weights: Weights
    device: torch.device
    optical: Optical
    radar: Radar | None
    mask: CoverRows | CloudNetwork | None
    area: Area | None
    notes: list[str]

    @property
    def batch_size(self) -> int:
        """Patches per call of the network; on a CPU more than a few only cost memory."""
        return self.options.batch_size or (2 if self.device.type == "cpu" else 32)


def remove(
    options: RemoveOptions, progress: Progress = lambda stage, done: None, *, model: Model | None = None
) -> Report:
    """Remove the clouds of one scene and write the outputs that `options` name.

    `model` saves loading the weights for every scene, and wins over the weights and device of `options`.
    Raises a child of CmcrError, and leaves no output behind, when anything is wrong.
    """
    clock = [time.monotonic()]
    with open_session(options, model) as session:
        tops, lefts = lattice(session)
        # The outputs are opened before the long work, so that what is wrong with them shows at once.
        with Outputs(options, session.optical, _tags(session), session.area) as outputs:
            clock.append(time.monotonic())
            found, alignment = survey_scene(session, progress)
            clock.append(time.monotonic())
            todo = patches_to_restore(session, found, tops, lefts)
            _restore(session, found, tops, todo, outputs, progress)
            clock.append(time.monotonic())
            progress("write", 0.0)
        clock.append(time.monotonic())
        progress("write", 1.0)
        stages = ("open", "survey", "restore", "write")
        seconds = {
            name: round(b - a, 2) for name, (a, b) in zip(stages, itertools.pairwise(clock), strict=True)
        }
        counts = len(tops) * len(lefts), sum(len(row) for row in todo)
        report = _report(session, found, alignment, counts, seconds)
        describe(session.optical, options, report, outputs)
        return report


@contextmanager
def open_session(options: RemoveOptions, model: Model | None = None) -> Iterator[Session]:
    """Check the outputs, load the weights, open and check the inputs."""
    for option, path in options.outputs.items():
        others = [other for name, other in options.outputs.items() if name != option]
        check_writable(path, options.overwrite, [*options.inputs, *others])
    model = model or load_model(options.weights, options.device)
    weights, device = model.weights, model.device
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES))
        optical = stack.enter_context(open_optical(options.s2, bands=options.bands, offset=options.offset))
        notes = [*optical.notes, *check_radiometry(optical)]
        area = None
        if options.aoi is not None:
            area = area_of_file(options.aoi, optical.grid)
        elif options.bbox is not None:
            area = area_of_bbox(options.bbox, optical.grid)
        radar = None
        if options.radar is not None:
            radar = stack.enter_context(open_radar(options.radar, optical.grid, units=options.s1_units))
            notes += radar.notes
        mask, mask_notes = stack.enter_context(chosen_mask(options, optical, weights.clouds))
        notes += mask_notes
        yield Session(options, weights, device, optical, radar, mask, area, notes)


def lattice(session: Session) -> tuple[list[int], list[int]]:
    """Tops and lefts of all patches of the scene, relative to it."""
    grid, overlap = session.optical.grid, session.options.overlap
    row0, col0 = grid.origin
    return lattice_starts(row0, grid.height, overlap), lattice_starts(col0, grid.width, overlap)


def patches_to_restore(session: Session, found: Survey, tops: list[int], lefts: list[int]) -> list[list[int]]:
    """For every row of the lattice the lefts of the patches in which something is replaced."""

    def wanted(top: int, left: int) -> bool:
        if session.area is not None and not session.area.touches(top, left, PATCH):
            return False
        return not session.options.keep_clear or found.cover.touches(top, left, PATCH)

    return [[left for left in lefts if wanted(top, left)] for top in tops]


def survey_scene(session: Session, progress: Progress) -> tuple[Survey, Alignment | None]:
    """The first pass, and what there is to say about it."""
    if session.radar is None:
        session.notes.append("no Sentinel-1: under thick cloud only the scene's own colours can be guessed")
    found = survey(
        session.optical,
        session.radar,
        session.mask,
        with_context=session.options.context,
        progress=lambda done: progress("survey", done),
    )
    log.info("%.1f %% of the scene is covered by cloud or shadow", 100 * found.covered_share)
    alignment = _alignment(session, found)
    if found.covered_share > 0.98 and session.options.context:
        session.notes.append("hardly any clear ground: colours come from the training, not from this scene")
    return found, alignment


def _alignment(session: Session, found: Survey) -> Alignment | None:
    """The measured shift of the radar; a large one is noted, or refused as `--align strict` asks."""
    if session.radar is None:
        return None

    def clear(top: int, dn: NDArray[Any]) -> NDArray[np.bool_]:
        return session.optical.valid(dn) & ~found.cover.pixels(top, dn.shape[1])

    alignment = measure_alignment(session.optical, session.radar, clear)
    if alignment is None:
        log.info("too little clear ground to measure whether Sentinel-1 and the image are aligned")
    elif alignment.metres <= MOST_SHIFT:
        log.info("%s", alignment.describe())
    else:
        text = f"{alignment.describe()}, as measured on clear ground in {alignment.windows} windows"
        if session.options.align == "strict":
            raise GridMismatchError(
                f"{session.radar.path}: {text}; expected at most {MOST_SHIFT} m. Give a scene that is "
                "terrain-corrected and geocoded well, or go on all the same with --align warn."
            )
        session.notes.append(f"{text}: it is used as it is, and blurs what is reconstructed")
    return alignment


def restorer_for(session: Session, found: Survey) -> Restorer:
    """The network with the scene's context, or with the colours of the training where that is not wanted."""
    options, weights = session.options, session.weights
    names = present(session.optical.names)
    context = found.context or constant_context(names, weights.mean.numpy(), weights.spread.numpy())
    return Restorer(
        weights=weights,
        context=context,
        optical=session.optical,
        steps=options.steps,
        samples=options.samples,
        seed=options.seed,
        harmonised=options.keep_clear,
        device=session.device,
    )


def _restore(
    session: Session,
    found: Survey,
    tops: list[int],
    todo: list[list[int]],
    outputs: Outputs,
    progress: Progress,
) -> None:
    """Restore, blend and composite row by row; rows are handed to the outputs as they are finished."""
    optical, options = session.optical, session.options
    restorer = restorer_for(session, found)
    layers = len(BANDS) * (2 if options.samples > 1 else 1)
    blender = RowBlender(layers, optical.grid.height, optical.grid.width, options.overlap)
    total, done = max(sum(map(len, todo)), 1), 0

    def restore_row(top: int, first: int, dn: NDArray[Any], lefts: list[int]) -> None:
        # A function of its own, so that the floats of one row are gone before the next one is read.
        nonlocal done
        row = row_of_patches(session, found, top, first, dn)
        for batch in batches(lefts, session.batch_size):
            for left, image in restorer.restore(row, batch):
                blender.add(top, left, image)
            done += len(batch)
            progress("restore", done / total)

    for (top, below), lefts in zip(itertools.pairwise([*tops, optical.grid.height]), todo, strict=True):
        if session.area is not None and not lefts and not session.area.wants(max(top, 0), below):
            for _ in blender.finish(below):
                pass
            continue
        first, dn = rows_under(optical, top)
        if lefts:
            restore_row(top, first, dn, lefts)
        for start, restored in blender.finish(below):
            rows = slice(start - first, start - first + restored.shape[1])
            _finish(session, found, start, dn[:, rows], restored, outputs)


def rows_under(optical: Optical, top: int) -> tuple[int, NDArray[Any]]:
    """The scene's rows that patches at `top` show, also by reflection: the first of them, and their DN."""
    lines = reflected(top, PATCH, optical.grid.height)
    first = int(lines.min())
    return first, optical.read(first, int(lines.max()) + 1 - first)


def row_of_patches(session: Session, found: Survey, top: int, first: int, dn: NDArray[Any]) -> Row:
    """Gather what the row of patches at `top` needs; `dn` are the scene's rows from `first`."""
    optical, height = session.optical, session.optical.grid.height
    lines = reflected(top, PATCH, height) - first
    dn = dn[:, lines]
    reflectance = canonical(optical.radiometry.reflectance(dn), optical.names)
    radar = radar_valid = None
    if session.radar is not None:
        radar, radar_valid = radar_rows(session.radar, reflected(top - MARGIN, PATCH + 2 * MARGIN, height))
    covered = found.cover.pixels(first, int(lines.max()) + 1)[lines]
    return Row(top, reflectance, optical.valid(dn), covered, radar, radar_valid)


def _finish(
    session: Session,
    found: Survey,
    top: int,
    dn: NDArray[Any],
    restored: NDArray[np.float32],
    outputs: Outputs,
) -> None:
    """Composite finished rows and hand them to the outputs."""
    optical, rows = session.optical, dn.shape[1]
    strength = np.ones((rows, dn.shape[2]), np.float32)
    if session.options.keep_clear:
        strength = found.cover.strength(top, rows)
    order = [BANDS.index(name) for name in optical.names]
    bands = [restored[index] for index in order]
    valid = optical.valid(dn)
    image, provenance = composite(dn, bands, strength, valid, optical.radiometry, optical.nodata)
    deviation = restored[len(BANDS) :][order] * strength if session.options.samples > 1 else None
    outputs.write(top, dn, image, provenance, deviation)


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
    session: Session,
    found: Survey,
    alignment: Alignment | None,
    counts: tuple[int, int],
    seconds: dict[str, float],
) -> Report:
    options, optical = session.options, session.optical
    grid = optical.grid if session.area is None else session.area.grid
    return Report(
        output=str(options.output),
        weights=session.weights.label,
        device=str(session.device),
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
        patches=counts[0],
        patches_restored=counts[1],
        seconds=seconds,
        notes=session.notes,
    )
