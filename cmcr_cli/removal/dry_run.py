"""`--dry-run`: what would be done, how long it would take and how much memory, without writing anything."""

from __future__ import annotations

import time
from dataclasses import dataclass

from cmcr_cli.removal.options import RemoveOptions
from cmcr_cli.removal.run import (
    Progress,
    Session,
    lattice,
    open_session,
    patches_to_restore,
    restorer_for,
    row_of_patches,
    rows_under,
    survey_scene,
)
from cmcr_cli.removal.survey import Survey
from cmcr_cli.scene.bands import BANDS

WRITE_RATE = 60e6
"""Bytes of pixels per second through the temporary file and the COG driver, on two cores."""

BASE_MB = 800
"""Interpreter, libraries, weights, activations and GDAL's caches."""

ROWS_HELD = 2300
"""Rows of 13 bands as 16-bit integers that are in memory at the worst moment, with their floats."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would do. Seconds come from the survey and a probe of one batch, on this machine and now."""

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
    """Check everything that `remove` checks, survey the scene, and time one batch of patches.

    Raises the same errors as `remove`; no file is written.
    """
    started = time.monotonic()
    with open_session(options) as session:
        found, _ = survey_scene(session, progress)
        tops, lefts = lattice(session)
        todo = patches_to_restore(session, found, tops, lefts)
        spent = time.monotonic() - started
        count = sum(map(len, todo))
        grid, optical = session.optical.grid, session.optical
        pixels = grid.width * grid.height * len(optical.names) * optical.dtype.itemsize
        return Estimate(
            width=grid.width,
            height=grid.height,
            level=optical.level,
            offset=optical.radiometry.offset,
            offset_source=optical.offset_source,
            radar=session.radar is not None,
            device=str(session.device),
            weights=session.weights.label,
            covered_share=found.covered_share,
            patches=len(tops) * len(lefts),
            patches_to_restore=count,
            seconds=round(
                spent + count * _seconds_per_patch(session, found, tops, todo) + pixels / WRITE_RATE, 1
            ),
            memory_mb=BASE_MB + round(ROWS_HELD * grid.width * len(BANDS) * 2 / 2**20),
            notes=session.notes,
        )


def _seconds_per_patch(session: Session, found: Survey, tops: list[int], todo: list[list[int]]) -> float:
    """Time of one patch in the fullest row of patches; the first call warms up and is not counted."""
    top, lefts = max(zip(tops, todo, strict=True), key=lambda row: len(row[1]))
    if not lefts:
        return 0.0
    row = row_of_patches(session, found, top, *rows_under(session.optical, top))
    restorer, batch = restorer_for(session, found), lefts[: session.batch_size]
    list(restorer.restore(row, batch))
    started = time.monotonic()
    list(restorer.restore(row, batch))
    return (time.monotonic() - started) / len(batch)
