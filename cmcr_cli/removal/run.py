"""One removal from end to end: open and check, survey, restore row by row, composite, write."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray

from cmcr_cli import __version__
from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.clouds import CloudNetwork
from cmcr_cli.model.device import pick_devices, tune_allocator
from cmcr_cli.model.weights import Weights
from cmcr_cli.removal.composite import composite, provenance_of
from cmcr_cli.removal.journal import file_state, open_journal
from cmcr_cli.removal.lanes import Lanes, open_lanes
from cmcr_cli.removal.options import RemoveOptions
from cmcr_cli.removal.outputs import Outputs
from cmcr_cli.removal.patchwork import Kept, Restorer, Row, RowReader
from cmcr_cli.removal.survey import Survey, survey
from cmcr_cli.removal.wavefront import Lattice, Wavefront
from cmcr_cli.scene.bands import BANDS, present
from cmcr_cli.scene.cog import check_writable
from cmcr_cli.scene.context import constant_context
from cmcr_cli.scene.mask import Mask, open_mask
from cmcr_cli.scene.optical import Optical, check_radiometry, open_optical
from cmcr_cli.scene.patches import PATCH, lattice_starts
from cmcr_cli.scene.radar import Radar, open_radar

log = logging.getLogger("cmcr")

CACHE_BYTES = 192 * 2**20
"""GDAL's block cache: two rows of blocks of a whole scene, since rows of patches straddle blocks."""

IN_FLIGHT = 512 * 2**20
"""Bytes that rows and batches may take up between two steps; narrow scenes leave room for batches."""

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
    devices: list[torch.device]
    lanes: Lanes
    optical: Optical
    radar: Radar | None
    mask: Mask | CloudNetwork | None
    notes: list[str]

    @property
    def device(self) -> str:
        """The devices that compute, as they are given to `--device`."""
        return ",".join(map(str, self.devices))


def remove(options: RemoveOptions, progress: Progress = lambda stage, done: None) -> Report:
    """Remove the clouds of one scene and write the outputs that `options` name.

    Raises a child of CmcrError, and leaves no output behind, when anything is wrong.
    """
    clock = [time.monotonic()]
    with open_session(options) as session:
        # The outputs are opened before the long work, so that what is wrong with them shows at once.
        with (
            open_journal(options.output, _about(session), session.notes, resume=options.resume) as journal,
            Outputs(options, session.optical, _tags(session), journal) as outputs,
        ):
            clock.append(time.monotonic())
            found = journal.survey or survey_scene(session, progress)
            if journal.survey is None:
                journal.keep_survey(found)
            clock.append(time.monotonic())
            plan = plan_of(session, found)
            _restore(session, found, plan, outputs, journal.rows, progress)
            clock.append(time.monotonic())
            progress("write", 0.0)
        clock.append(time.monotonic())
        progress("write", 1.0)
        stages = ("open", "survey", "restore", "write")
        seconds = {
            name: round(b - a, 2) for name, (a, b) in zip(stages, itertools.pairwise(clock), strict=True)
        }
        return _report(session, found, plan, seconds)


@contextmanager
def open_session(options: RemoveOptions) -> Iterator[Session]:
    """Check the outputs, load the weights, open and check the inputs."""
    inputs = [path for path in (options.s2, options.s1, options.mask) if path not in (None, "auto", "all")]
    for option, path in options.outputs.items():
        others = [other for name, other in options.outputs.items() if name != option]
        check_writable(path, options.overwrite, [*inputs, *others])
    tune_allocator()
    weights = weights_file.load(options.weights or weights_file.default_path())
    devices = pick_devices(options.device)
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES))
        optical = stack.enter_context(open_optical(options.s2, bands=options.bands, offset=options.offset))
        notes = [*optical.notes, *check_radiometry(optical)]
        radar = None
        if options.s1 is None:
            notes.append("no Sentinel-1: under thick cloud only the scene's own colours can be guessed")
        else:
            radar = stack.enter_context(open_radar(options.s1, optical.grid, units=options.s1_units))
            notes += radar.notes
        mask: Mask | CloudNetwork | None = weights.clouds if options.mask == "auto" else None
        if options.mask not in ("auto", "all"):
            mask = stack.enter_context(open_mask(options.mask, optical.grid))
            notes += mask.notes
        lanes = stack.enter_context(open_lanes(weights, devices, options.batch_size, notes))
        yield Session(options, weights, devices, lanes, optical, radar, mask, notes)


def survey_scene(session: Session, progress: Progress) -> Survey:
    """The first pass, and what there is to say about it."""
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


@dataclass(frozen=True, slots=True)
class Plan:
    """The lattice of patches, and for each of its rows the patches in which something is replaced."""

    lattice: Lattice
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
    """Which patches there are, and which of them show anything that is replaced."""
    grid, overlap = session.optical.grid, session.options.overlap
    row0, col0 = grid.origin
    tops, lefts = (lattice_starts(*axis, overlap) for axis in ((row0, grid.height), (col0, grid.width)))
    todo = [
        [left for left in lefts if not session.options.keep_clear or found.cover.touches(top, left, PATCH)]
        for top in tops
    ]
    return Plan(Lattice(tops, lefts, overlap), todo)


def row_bytes(session: Session, lattice: Lattice) -> int:
    """Bytes of all rows in flight: their DN and radar, and the canvases of all steps."""
    options, optical = session.options, session.optical
    line = len(optical.names) * optical.dtype.itemsize + (0 if session.radar is None else 9)
    canvas = len(BANDS) * options.samples * 2
    last = len(BANDS) * (2 if options.samples > 1 else 1) * 4
    width = lattice.lefts[-1] + PATCH - lattice.lefts[0]
    return width * PATCH * (max(options.steps, 2) * line + options.steps * canvas + last)


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
        kept=Kept(IN_FLIGHT - row_bytes(session, lattice) if len(session.devices) == 1 else 0),
    )


def _restore(
    session: Session, found: Survey, plan: Plan, outputs: Outputs, known: int, progress: Progress
) -> None:
    """Restore row by row; what is finished is put into the image and handed to the outputs.

    The first `known` rows of the scene are there already.
    """
    lattice, height = plan.lattice, session.optical.grid.height
    ends = [min(top, height) for top in [*lattice.tops[1:], height]]
    # The row above the first that is missing is computed again, for the lines that the two share.
    whole = sum(end <= known for end in ends)
    _show_again(session, found, [0, *(max(end, 0) for end in ends[:whole])], outputs)
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
        if session.options.quicklook is not None and first < stop:
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
        "inputs": [file_state(path) for path in (options.s2, options.s1, options.mask)],
        "grid": [optical.grid.describe(), optical.grid.transform, optical.grid.crs],
    }


def _tags(session: Session) -> dict[str, str]:
    """What the output says about itself."""
    options, optical = session.options, session.optical
    return {
        "CMCR_WEIGHTS": session.weights.label,
        "CMCR_WEIGHTS_SHA256": session.weights.sha256,
        "CMCR_STEPS": str(options.steps),
        "CMCR_SAMPLES": str(options.samples),
        "CMCR_SEED": str(options.seed),
        "CMCR_OFFSET": f"{optical.radiometry.offset:g} ({optical.offset_source})",
        "CMCR_MASK": options.mask if options.mask in ("auto", "all") else Path(options.mask).name,
        "CMCR_S2": Path(options.s2).name,
        "CMCR_S1": "none" if options.s1 is None else Path(options.s1).name,
    }


def _report(session: Session, found: Survey, plan: Plan, seconds: dict[str, float]) -> Report:
    options, optical = session.options, session.optical
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
        width=optical.grid.width,
        height=optical.grid.height,
        valid_share=found.valid_share,
        covered_share=found.covered_share,
        patches=plan.patches,
        patches_restored=plan.patches_to_restore,
        seconds=seconds,
        notes=session.notes,
    )
