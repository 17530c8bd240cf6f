"""`--dry-run`: what would be done, how long it would take and how much memory, without writing anything."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from cmcr_cli.removal.lanes import Lane
from cmcr_cli.removal.options import RemoveOptions
from cmcr_cli.removal.patchwork import RowReader
from cmcr_cli.removal.run import Plan, Progress, Session, open_session, plan_of, restorer_for, survey_scene
from cmcr_cli.removal.survey import Survey
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.patches import PATCH

WRITE_RATE = 60e6
"""Bytes of pixels per second through the temporary file and the COG driver, on two cores."""

BASE_MB = 800
"""Interpreter, libraries, weights, activations and GDAL's caches."""

ROWS_HELD = 2300
"""Rows of 13 bands as 16-bit integers that are in memory at the worst moment, with their floats."""


PROBE = 3
"""Batches that each lane is timed on."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would do. Seconds come from the survey and a probe of a few patches, here and now."""

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
    """Check everything that `remove` checks, survey the scene, and time a few patches.

    Raises the same errors as `remove`; no file is written.
    """
    started = time.monotonic()
    with open_session(options) as session:
        found = survey_scene(session, progress)
        plan = plan_of(session, found)
        spent = time.monotonic() - started
        grid, optical = session.optical.grid, session.optical
        pixels = grid.width * grid.height * len(optical.names) * optical.dtype.itemsize
        network = plan.patches_to_restore * _seconds_per_patch(session, found, plan)
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
            seconds=round(spent + network + pixels / WRITE_RATE, 1),
            memory_mb=BASE_MB + round(ROWS_HELD * grid.width * len(BANDS) * 2 / 2**20),
            notes=session.notes,
        )


def _seconds_per_patch(session: Session, found: Survey, plan: Plan) -> float:
    """Time of one patch through all its steps, while all lanes are at work on the fullest row."""
    index = max(range(len(plan.todo)), key=lambda row: len(plan.todo[row]))
    lefts, lanes, options = plan.todo[index], session.lanes, session.options
    if not lefts:
        return 0.0
    row = RowReader(session.optical, session.radar, found.cover, plan.lattice.tops).load(index)
    restorer = restorer_for(session, found)
    batch = (lefts * lanes.batch_size)[: lanes.batch_size]
    nothing = np.zeros((len(batch), len(BANDS) * options.samples, PATCH, PATCH), np.float32)

    def timed(step: int) -> float:
        def once(lane: Lane, _: int) -> None:
            restorer.advance(lane, row, batch, step, nothing if step else None)

        def run(count: int) -> float:
            started = time.monotonic()
            for running in [lanes.submit(once, n) for n in range(count)]:
                running.result()
            return time.monotonic() - started

        run(len(lanes.lanes))  # the first calls warm up and are not counted
        calls = PROBE * len(lanes.lanes)
        return run(calls) / (calls * len(batch))

    later = (options.steps - 1) * timed(options.steps - 1) if options.steps > 1 else 0.0
    return timed(0) + later
