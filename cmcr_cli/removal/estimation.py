"""`--dry-run`: what would be done, how long it would take and how much memory, without writing anything."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cmcr_cli.model.costs import RESIDENT_BYTES
from cmcr_cli.options import RemoveOptions
from cmcr_cli.output.catalogue.cover import Cover
from cmcr_cli.output.cog_spec import try_writing
from cmcr_cli.output.inputs import Inputs
from cmcr_cli.removal.opening.opened import Model
from cmcr_cli.removal.opening.session import Progress, Session, open_session
from cmcr_cli.removal.pipeline import survey_scene
from cmcr_cli.removal.restore.blending import blend, join_rows, strip_canvas
from cmcr_cli.removal.restore.budget import Budget
from cmcr_cli.removal.restore.composite import composite
from cmcr_cli.removal.restore.plan import Plan, plan_patches
from cmcr_cli.removal.restore.second_pass import expectation_of, restorer_for
from cmcr_cli.removal.restore.steps import Advanced, batches
from cmcr_cli.removal.restore.strips import Strip, StripReader
from cmcr_cli.removal.results.native import NativeBands, area_to_compute, grouped
from cmcr_cli.removal.results.notebook import html_table
from cmcr_cli.removal.results.rasters import RASTERS, Setting, image_spec
from cmcr_cli.removal.results.report import ReportedReference, left_out_references, used_references
from cmcr_cli.removal.survey.first_pass import Survey
from cmcr_cli.runtime import limits
from cmcr_cli.runtime.allocator import trim_heap
from cmcr_cli.runtime.device import to_device, to_numpy
from cmcr_cli.runtime.spill import Spilled, SpillStore
from cmcr_cli.runtime.workers import Worker
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.patches import blend_ramp
from cmcr_cli.scene.references.listing import LeftOut
from cmcr_cli.warning_kinds import CmcrWarning

PROBE = 4
"""Batches that each worker is timed on."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Plan of a run. Seconds, memory and disk are estimates, from the survey and a short probe here.

    Attributes:
        width: Columns of the scene.
        height: Rows of the scene.
        level: L1C or L2A.
        offset: Added to DN before the division by the quantification.
        offset_source: What stated the offset.
        radar: Whether there is Sentinel-1.
        device: The devices, as for `--device`.
        weights: Name of the weights and the start of their checksum.
        covered_share: Covered pixels, 0 to 1 of the valid ones; as in `cover`.
        cover: All shares.
        patches: Number of patches of the scene.
        patches_restored: Patches in which something is replaced.
        seconds: Time of the run.
        memory_mb: Largest memory of the process, MB.
        disk_mb: Room that is needed while it runs, with temporary files, MB.
        output_mb: Of `disk_mb`, what the outputs keep.
        references: The references that would be used.
        references_left_out: Those that would not, and why.
        warnings: What the run would warn of.
        inputs: The inputs as they were understood.
    """

    width: int
    height: int
    level: str
    offset: float
    offset_source: str
    radar: bool
    device: str
    weights: str
    covered_share: float
    cover: Cover
    patches: int
    patches_restored: int
    seconds: float
    memory_mb: int
    disk_mb: int
    output_mb: int
    references: tuple[ReportedReference, ...]
    references_left_out: tuple[LeftOut, ...]
    warnings: tuple[CmcrWarning, ...]
    inputs: Inputs

    def __repr__(self) -> str:
        """The plan in one line."""
        return (
            f"Estimate({self.covered_share:.0%} covered, {self.patches_restored} of {self.patches} patches, "
            f"{self.seconds:.0f} s, {self.memory_mb} MB)"
        )

    def _repr_html_(self) -> str:
        """The plan as a table, for notebooks."""
        rows = (
            ("size", f"{self.width} x {self.height} px"),
            ("covered", f"{self.covered_share:.1%}"),
            ("to restore", f"{self.patches_restored} of {self.patches} patches"),
            ("time", f"{self.seconds:.0f} s on {self.device}"),
            ("memory", f"{self.memory_mb} MB"),
            ("disk", f"{self.disk_mb} MB, of which {self.output_mb} MB stay"),
            ("level", f"{self.level}, offset {self.offset:g} DN ({self.offset_source})"),
            ("radar", "used" if self.radar else "none"),
            ("references", ", ".join(each.date or "unknown date" for each in self.references) or "none"),
        )
        return html_table("Estimate", rows, self.warnings)


def estimate(
    options: RemoveOptions, progress: Progress = lambda stage, done: None, *, model: Model | None = None
) -> Estimate:
    """Check everything that `remove` checks, survey the scene, and probe its fullest strip of patches.

    No file is written.

    Args:
        options: As for `remove`.
        progress: Called with the stage and the part of it that is done, 0 to 1.
        model: As for `remove`.

    Returns:
        What `remove` would do.

    Raises:
        CmcrError: What `remove` would raise.
    """
    started = time.monotonic()
    with open_session(options, model) as session:
        Budget.of(session).check()
        found = survey_scene(session, progress)
        plan = plan_patches(session.optical.grid, found.cloud_map, area_to_compute(session), options)
        spent = time.monotonic() - started
        optical, area = session.optical, session.area
        grid = optical.grid if area is None else area.grid
        index = max(range(len(plan.todo)), key=lambda row: len(plan.todo[row]))
        expect = expectation_of(session, found, plan)
        reader = StripReader(optical, session.radar, found.cloud_map, plan.lattice.tops, expect)
        began = time.monotonic()
        strip = reader.load(index)
        predicted = 0.0 if expect is None else time.monotonic() - began
        workers = _seconds_per_patch(session, found, plan, strip) * plan.patches_to_restore
        rows = (_seconds_to_composite(session, strip) + predicted) * len(plan.todo)
        if session.workers.on_cpu:  # where the workers take turns with this thread
            workers += rows / len(session.workers.workers)
        lines = strip.dn if area is None else strip.dn[:, : grid.height, area.left : area.left + grid.width]
        setting = Setting(options, optical, grid, {}, native=session.native)
        seconds, size = try_writing(image_spec(setting, options.output), lines)
        write, packed = seconds * grid.height / lines.shape[1], size / lines.nbytes
        del strip, lines  # counted among the rows to come
        plain = _bytes_of_rasters(session, setting)
        return Estimate(
            width=grid.width,
            height=grid.height,
            level=optical.level,
            offset=optical.radiometry.offset,
            offset_source=optical.offset_source,
            radar=session.radar is not None,
            device=session.device,
            weights=session.weights.label,
            covered_share=found.cover.covered,
            cover=found.cover,
            patches=plan.patches,
            patches_restored=plan.patches_to_restore,
            seconds=round(spent + max(workers, rows) + write, 1),
            memory_mb=_memory(session, plan),
            disk_mb=_megabytes(plain * (1 + packed) + _spilled(session, plan)),
            output_mb=_megabytes(plain * packed),
            references=used_references(session, found, []),
            references_left_out=left_out_references(session, found),
            warnings=tuple(session.warnings),
            inputs=session.inputs,
        )


def _seconds(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def _seconds_per_patch(session: Session, found: Survey, plan: Plan, strip: Strip) -> float:
    """Time of one patch through all its steps, while all workers are at work."""
    lefts = max(plan.todo, key=len)
    if not lefts:
        return 0.0
    workers, options = session.workers, session.options
    last = options.steps - 1
    probed = batches(lefts, workers.batch_size)[: PROBE * len(workers.workers)]

    with SpillStore(Budget.of(session).spill_limits(), options.output) as spill:
        restorer, cached = restorer_for(session, found, spill), dict[int, Spilled]()

        def run(step: int, batches: Sequence[Sequence[int]]) -> None:
            def once(worker: Worker, batch: Sequence[int]) -> None:
                # What a run does to a patch on its way from one canvas to the next.
                before, device = None, worker.device
                if step:
                    held = strip_canvas(len(BANDS) * options.samples, [0], device, half=True)
                    before = torch.stack([join_rows(held, held, held, options.overlap, 0) for _ in batch])
                ramp = to_device(blend_ramp(options.overlap), device)

                def part(some: Sequence[int]) -> list[Advanced]:
                    known = [cached[left] for left in some] if step else []
                    return restorer.advance(worker, strip, some, step, before, known)

                for left, patch in zip(batch, workers.in_parts(part, batch), strict=True):
                    canvas = strip_canvas(len(patch.image), [0], device, half=step < last)
                    blend(canvas, 0, patch.image, ramp, ramp)
                    if patch.cached is not None:
                        cached[left] = patch.cached

            for running in [workers.submit(once, batch) for batch in batches]:
                running.result()

        run(0, probed[: len(workers.workers)])  # the first calls warm up and are not counted
        first = _seconds(lambda: run(0, probed))
        later = _seconds(lambda: run(last, probed)) if last else 0.0
    return (first + last * later) / sum(map(len, probed))


def _seconds_to_composite(session: Session, strip: Strip) -> float:
    """Time in which one strip is put into the image."""
    home = session.workers.home
    dn, valid = strip.on(home).dn, to_device(session.optical.valid(strip.dn), home)
    image = torch.full(valid.shape, 0.1, device=home)
    return _seconds(lambda: to_numpy(composite(dn, [image] * len(dn), valid.float(), valid, session.optical)))


def _bytes_of_rasters(session: Session, setting: Setting) -> int:
    """Bytes of the pixels of all rasters, as they are in temporary files, which are not compressed."""
    rasters = session.options.outputs
    specs = [each.spec(setting, rasters[each.option]) for each in RASTERS if each.option in rasters]
    for files in grouped(session.native):
        specs += NativeBands(files, setting, session.area).specs
    return sum(
        each.count * np.dtype(each.dtype).itemsize * each.grid.width * each.grid.height for each in specs
    )


def _spilled(session: Session, plan: Plan) -> int:
    """Bytes of what waits for its next step and finds no room in memory."""
    budget = Budget.of(session)
    return max(budget.waiting(max(map(len, plan.todo))) - max(budget.spill_bytes(), 0), 0)


def _megabytes(size: float) -> int:
    return math.ceil(size / 2**20)


def _memory(session: Session, plan: Plan) -> int:
    """Peak in MB: what this process holds after the probe, and what workers and strips take up besides."""
    budget = Budget.of(session)
    waiting = min(budget.waiting(max(map(len, plan.todo))), max(budget.spill_bytes(), 0))
    trim_heap()
    held = limits.resident()
    if session.workers.on_cpu:
        held += RESIDENT_BYTES * budget.workers
    return round((held + budget.to_come + waiting) / 2**20)
