"""`--dry-run`: what would be done, how long it would take and how much memory, without writing anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from cmcr_cli.options import RemoveOptions
from cmcr_cli.output.cog import try_writing
from cmcr_cli.removal.pipeline import Progress, restorer_for, survey_scene
from cmcr_cli.removal.restore.blending import blend, join_rows, row_canvas
from cmcr_cli.removal.restore.budget import (
    LANE_RESIDENT,
    bytes_to_come,
    resident,
    shelf_bytes,
    shelf_rooms,
    waiting_bytes,
)
from cmcr_cli.removal.restore.composite import composite
from cmcr_cli.removal.restore.plan import Plan, plan_of
from cmcr_cli.removal.restore.steps import batches
from cmcr_cli.removal.restore.strips import Row, RowReader
from cmcr_cli.removal.results.outputs import image_spec
from cmcr_cli.removal.session import Session, open_session
from cmcr_cli.removal.survey.first_pass import Survey
from cmcr_cli.runtime.device import fetched, placed, trim_heap
from cmcr_cli.runtime.spill import Shelf
from cmcr_cli.runtime.workers import Lane
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.patches import blend_ramp

PROBE = 4
"""Batches that each lane is timed on."""

USUAL_BYTES = 600 * 2**20
"""Of a process that has loaded its libraries and surveyed a scene."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would do. Seconds and memory follow from the survey and a short probe, here and now."""

    width: int
    height: int
    level: str
    offset: float
    offset_source: str
    radar: bool
    device: str
    weights: str
    covered_share: float
    patches: int
    patches_to_restore: int
    seconds: float
    memory_mb: int
    notes: list[str]


def estimate(options: RemoveOptions, progress: Progress = lambda stage, done: None) -> Estimate:
    """Check everything that `remove` checks, survey the scene, and probe its fullest row of patches.

    Raises the same errors as `remove`; no file is written.
    """
    started = time.monotonic()
    with open_session(options) as session:
        found = survey_scene(session, progress)
        plan = plan_of(session, found)
        spent = time.monotonic() - started
        optical, area = session.optical, session.area
        grid = optical.grid if area is None else area.grid
        index = max(range(len(plan.todo)), key=lambda row: len(plan.todo[row]))
        row = RowReader(optical, session.radar, found.cover, plan.lattice.tops).load(index)
        lanes = _seconds_per_patch(session, found, plan, row) * plan.patches_to_restore
        rows = _seconds_to_composite(session, row) * len(plan.todo)
        if session.lanes.on_cpu:  # where the lanes take turns with this thread
            lanes += rows / len(session.lanes.lanes)
        lines = row.dn if area is None else row.dn[:, : grid.height, area.left : area.left + grid.width]
        write = try_writing(image_spec(options, optical, grid, {}), lines) * grid.height / lines.shape[1]
        del row, lines  # counted among the rows to come
        return Estimate(
            width=grid.width,
            height=grid.height,
            level=optical.level,
            offset=optical.radiometry.offset,
            offset_source=optical.offset_source,
            radar=session.radar is not None,
            device=session.device,
            weights=session.weights.label,
            covered_share=found.covered_share,
            patches=plan.patches,
            patches_to_restore=plan.patches_to_restore,
            seconds=round(spent + max(lanes, rows) + write, 1),
            memory_mb=_memory(session, plan),
            notes=session.notes,
        )


def _seconds(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def _seconds_per_patch(session: Session, found: Survey, plan: Plan, row: Row) -> float:
    """Time of one patch through all its steps, while all lanes are at work."""
    lefts = max(plan.todo, key=len)
    if not lefts:
        return 0.0
    lanes, options = session.lanes, session.options
    last = options.steps - 1
    probed = batches(lefts, lanes.batch_size)[: PROBE * len(lanes.lanes)]

    with Shelf(shelf_rooms(session, plan.lattice.lefts), options.output) as shelf:
        restorer = restorer_for(session, found, shelf)

        def run(step: int, batches: Sequence[Sequence[int]]) -> None:
            def once(lane: Lane, batch: Sequence[int]) -> None:
                # What a run does to a patch on its way from one canvas to the next.
                before, device = None, lane.device
                if step:
                    held = row_canvas(len(BANDS) * options.samples, [0], device, half=True)
                    before = torch.stack([join_rows(held, held, held, options.overlap, 0) for _ in batch])
                ramp = placed(blend_ramp(options.overlap), device)
                for patch in lanes.in_parts(
                    lambda part: restorer.advance(lane, row, part, step, before), batch
                ):
                    canvas = row_canvas(len(patch), [0], device, half=step < last)
                    blend(canvas, 0, patch, ramp, ramp)

            for running in [lanes.submit(once, batch) for batch in batches]:
                running.result()

        run(0, probed[: len(lanes.lanes)])  # the first calls warm up and are not counted
        first = _seconds(lambda: run(0, probed))
        later = _seconds(lambda: run(last, probed)) if last else 0.0
    return (first + last * later) / sum(map(len, probed))


def _seconds_to_composite(session: Session, row: Row) -> float:
    """Time in which one row of patches is put into the image."""
    home = session.lanes.home
    dn, valid = row.on(home).dn, placed(session.optical.valid(row.dn), home)
    image = torch.full(valid.shape, 0.1, device=home)
    return _seconds(lambda: fetched(composite(dn, [image] * len(dn), valid.float(), valid, session.optical)))


def _memory(session: Session, plan: Plan) -> int:
    """Peak in MB: what this process holds after the probe, and what lanes and rows take up besides."""
    lefts = plan.lattice.lefts
    waiting = waiting_bytes(session, lefts, max(map(len, plan.todo)))
    waiting = min(waiting, max(shelf_bytes(session, lefts), 0))
    trim_heap()
    held = resident() or USUAL_BYTES
    if session.lanes.on_cpu:
        held += LANE_RESIDENT * len(session.lanes.lanes)
    return round((held + bytes_to_come(session, lefts) + waiting) / 2**20)
