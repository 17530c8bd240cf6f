"""One removal from end to end: open and check, survey, restore row by row, composite, write."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli import __version__
from cmcr_cli.errors import GridMismatchError
from cmcr_cli.model.clouds import CloudNetwork
from cmcr_cli.model.device import tune_allocator
from cmcr_cli.model.weights import Weights
from cmcr_cli.removal.beside import describe
from cmcr_cli.removal.composite import composite, provenance_of
from cmcr_cli.removal.journal import file_state, open_journal
from cmcr_cli.removal.lanes import Lanes, open_lanes
from cmcr_cli.removal.masks import chosen_mask
from cmcr_cli.removal.memory import CACHE_BYTES, check_memory, spare_bytes
from cmcr_cli.removal.opened import Model, load_model
from cmcr_cli.removal.options import RemoveOptions, file_name
from cmcr_cli.removal.outputs import Outputs
from cmcr_cli.removal.patchwork import Kept, Restorer, Row, RowReader
from cmcr_cli.removal.survey import Survey, survey
from cmcr_cli.removal.wavefront import Lattice, Wavefront
from cmcr_cli.scene.alignment import Alignment, measure_alignment
from cmcr_cli.scene.area import Area, area_of_bbox, area_of_file
from cmcr_cli.scene.bands import BANDS, present
from cmcr_cli.scene.cog import check_writable
from cmcr_cli.scene.context import constant_context
from cmcr_cli.scene.lock import locked
from cmcr_cli.scene.mask import CoverRows
from cmcr_cli.scene.optical import Optical, check_radiometry, open_optical
from cmcr_cli.scene.patches import PATCH, lattice_starts
from cmcr_cli.scene.radar import Radar, open_radar
from cmcr_cli.scene.raster import Source

log = logging.getLogger("cmcr")

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
    devices: tuple[torch.device, ...]
    lanes: Lanes
    optical: Optical
    radar: Radar | None
    mask: CoverRows | CloudNetwork | None
    area: Area | None
    notes: list[str]

    @property
    def device(self) -> str:
        """The devices that compute, as they are given to `--device`."""
        return ",".join(map(str, self.devices))


def remove(
    options: RemoveOptions, progress: Progress = lambda stage, done: None, *, model: Model | None = None
) -> Report:
    """Remove the clouds of one scene and write the outputs that `options` name.

    `model` saves loading the weights for every scene, and wins over the weights and device of `options`.
    Raises a child of CmcrError, and leaves no output behind, when anything is wrong.
    """
    clock = [time.monotonic()]
    with open_session(options, model) as session, locked(options.outputs.values()):
        # The outputs are opened before the long work, so that what is wrong with them shows at once.
        with (
            open_journal(options.output, _about(session), session.notes, resume=options.resume) as journal,
            Outputs(options, session.optical, _tags(session), journal, session.area) as outputs,
        ):
            clock.append(time.monotonic())
            found = journal.survey or survey_scene(session, progress)
            if journal.survey is None:
                journal.keep_survey(found)
            alignment = _alignment(session, found)
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
        describe(session.optical, options, report, outputs)
        return report


@contextmanager
def open_session(options: RemoveOptions, model: Model | None = None) -> Iterator[Session]:
    """Check the outputs, load the weights, open and check the inputs."""
    for option, path in options.outputs.items():
        others = [other for name, other in options.outputs.items() if name != option]
        check_writable(path, options.overwrite, [*options.inputs, *others])
    tune_allocator()
    model = model or load_model(options.weights, options.device)
    weights, devices = model.weights, model.devices
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES))
        optical = stack.enter_context(open_optical(options.s2, bands=options.bands, offset=options.offset))
        _check_not_read(options, optical.source)
        notes = [*optical.notes, *check_radiometry(optical)]
        area = None
        if options.aoi is not None:
            area = area_of_file(options.aoi, optical.grid)
        elif options.bbox is not None:
            area = area_of_bbox(options.bbox, optical.grid)
        radar = None
        if options.radar is not None:
            radar = stack.enter_context(open_radar(options.radar, optical.grid, units=options.s1_units))
            _check_not_read(options, radar.source)
            notes += radar.notes
        mask, mask_notes = stack.enter_context(chosen_mask(options, optical, weights.clouds))
        notes += mask_notes
        lanes = stack.enter_context(open_lanes(weights, devices, options.batch_size, notes))
        session = Session(options, weights, devices, lanes, optical, radar, mask, area, notes)
        check_memory(session)
        yield session


def _check_not_read(options: RemoveOptions, source: Source) -> None:
    """Raise OutputError when an output is a file that a product, a STAC item or a VRT is made of."""
    for path in options.outputs.values():
        check_writable(path, options.overwrite, source.files)


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


def _alignment(session: Session, found: Survey) -> Alignment | None:
    """The measured shift of the radar; a large one is noted, or refused as `--align strict` asks."""
    if session.radar is None:
        return None

    def clear(top: int, dn: NDArray[Any]) -> NDArray[np.bool_]:
        seen = found.cover.pixels(top, dn.shape[1]) == 0
        return np.asarray(session.optical.valid(dn) & seen)

    alignment = measure_alignment(session.optical, session.radar, clear)
    strict = session.options.align == "strict"
    if alignment is None:
        text = "its shift against the image cannot be measured: too little clear ground or no distinct match"
        if strict:
            raise GridMismatchError(
                f"{session.radar.path}: {text}; expected at most {MOST_SHIFT} m. "
                "Go on all the same with --align warn."
            )
        log.info("Sentinel-1: %s", text)
    elif alignment.metres <= MOST_SHIFT:
        log.info("%s", alignment.describe())
    else:
        text = f"{alignment.describe()}, as measured on clear ground in {alignment.windows} windows"
        if strict:
            raise GridMismatchError(
                f"{session.radar.path}: {text}; expected at most {MOST_SHIFT} m. Give a scene that is "
                "terrain-corrected and geocoded well, or go on all the same with --align warn."
            )
        session.notes.append(f"{text}: it is used as it is, and blurs what is reconstructed")
    return alignment


@dataclass(frozen=True, slots=True)
class Plan:
    """The lattice of patches, and for each of its rows the patches in which something is replaced.

    `ends` says for each row the line of the scene up to which it is finished when the next one is.
    """

    lattice: Lattice
    ends: list[int]
    todo: list[list[int]]

    @property
    def patches(self) -> int:
        """All patches of the lattice."""
        return len(self.lattice.tops) * len(self.lattice.lefts)

    @property
    def patches_to_restore(self) -> int:
        """Those that go through the network."""
        return sum(map(len, self.todo))


def plan_of(session: Session, found: Survey) -> Plan:
    """Which patches there are, and which of them show anything that is replaced.

    For an area of interest only the patches that bear on it are taken: those that show it and, since patches
    are blended before every further step, a ring around them for each.
    """
    grid, options, area = session.optical.grid, session.options, session.area
    row0, col0 = grid.origin
    axes = (row0, grid.height), (col0, grid.width)
    tops, lefts = (lattice_starts(*axis, options.overlap) for axis in axes)
    ends = [min(top, grid.height) for top in [*tops[1:], grid.height]]
    rows, wanted = range(len(tops)), np.ones((len(tops), len(lefts)), bool)
    if area is not None:
        wanted = np.array([[area.touches(top, left, PATCH) for left in lefts] for top in tops])
        if options.steps > 1:
            wanted = ndimage.binary_dilation(wanted, np.ones((3, 3)), iterations=options.steps - 1)
        needed = [n for n in rows if wanted[n].any() or area.wants(tops[n], tops[n] + PATCH)]
        rows = range(needed[0], needed[-1] + 1)
    todo = [
        [
            left
            for left in itertools.compress(lefts, wanted[n])
            if not options.keep_clear or found.cover.touches(tops[n], left, PATCH)
        ]
        for n in rows
    ]
    lattice = Lattice([tops[n] for n in rows], lefts, options.overlap)
    return Plan(lattice, [ends[n] for n in rows], todo)


def restorer_for(session: Session, found: Survey, lattice: Lattice) -> Restorer:
    """The network with the scene's context, or with the colours of the training where that is not wanted."""
    options, weights = session.options, session.weights
    names = present(session.optical.names)
    context = found.context or constant_context(names, weights.mean.numpy(), weights.spread.numpy())
    return Restorer(
        context=context,
        visible=found.visible,
        unmixing=found.unmixing,
        optical=session.optical,
        steps=options.steps,
        samples=options.samples,
        seed=options.seed,
        harmonised=options.keep_clear,
        # A batch that one GPU made would have to be moved to another one.
        kept=Kept(spare_bytes(session, lattice.lefts) if len(session.devices) == 1 else 0),
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
    wavefront = Wavefront(
        lattice, plan.todo, restorer_for(session, found, lattice), session.lanes, load, count
    )
    for index, row, canvas in wavefront.run(max(whole - 1, 0)) if whole < len(ends) else ():
        lines = slice(max(row.top, 0), ends[index])
        if index >= whole and lines.start < lines.stop:
            _finish(session, found, lattice, row, lines, canvas, outputs)
        del row, canvas  # before the next row takes up its memory


def _show_again(session: Session, found: Survey, edges: Sequence[int], outputs: Outputs) -> None:
    """Hand the rows that are there already to the outputs, in the pieces in which they were made."""
    for first, stop in itertools.pairwise(edges):
        if outputs.quicklook is not None and first < stop:
            dn = session.optical.read(first, stop - first)
            strength = _strength(session, found, first, stop)
            outputs.show_again(first, dn, provenance_of(session.optical.valid(dn), strength))


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
    canvas: NDArray[np.float32] | None,
    outputs: Outputs,
) -> None:
    """Composite the finished `lines` of the scene and hand them to the outputs."""
    optical = session.optical
    dn = row.dn[:, lines.start - row.first : lines.stop - row.first]
    valid, strength = optical.valid(dn), _strength(session, found, lines.start, lines.stop)
    order = [BANDS.index(name) for name in optical.names]
    bands, spreads = dn[:0].astype(np.float32), dn[:0].astype(np.float32)
    if canvas is not None:
        left = -lattice.lefts[0]
        restored = canvas[:, lines.start - row.top : lines.stop - row.top, left : left + valid.shape[1]]
        bands, spreads = restored[: len(BANDS)], restored[len(BANDS) :]
    image, provenance = composite(
        dn, [bands[index] for index in order] if len(bands) else [], strength, valid,
        optical.radiometry, optical.nodata,
    )  # fmt: skip
    deviation = None
    if session.options.uncertainty is not None:
        deviation = np.zeros(dn.shape, np.float32)
        if len(spreads):
            np.multiply(spreads[order], strength, out=deviation)
    outputs.write(lines.start, dn, image, provenance, deviation)


def _about(session: Session) -> dict[str, Any]:
    """All that the pixels depend on, for the journal."""
    options, optical = session.options, session.optical
    machine = ("overwrite", "resume", "batch_size", "device", "weights")
    return {
        **{name: value for name, value in asdict(options).items() if name not in machine},
        "cmcr": __version__,
        "weights": session.weights.sha256,
        "devices": sorted({device.type for device in session.devices}),
        "inputs": [file_state(path) for path in options.inputs],
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
