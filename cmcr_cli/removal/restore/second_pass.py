"""The second pass over a scene: strips are restored, and put into the image a few rows at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cmcr_cli.output.provenance import provenance_of
from cmcr_cli.removal.opening.session import Progress, Session
from cmcr_cli.removal.restore.budget import Budget
from cmcr_cli.removal.restore.composite import composite
from cmcr_cli.removal.restore.expected import Expectation
from cmcr_cli.removal.restore.patch_inputs import InputMaker
from cmcr_cli.removal.restore.plan import Plan
from cmcr_cli.removal.restore.schedule import Lattice, Schedule
from cmcr_cli.removal.restore.steps import Restorer
from cmcr_cli.removal.restore.strips import Expect, Strip, StripReader
from cmcr_cli.removal.survey.first_pass import Survey
from cmcr_cli.removal.survey.reference_rows import OtherDate, ReferenceReader
from cmcr_cli.runtime.device import to_device, to_numpy
from cmcr_cli.runtime.spill import SpillStore
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.span import Span

CHUNK = 64
"""Rows that are put into the image and written at once: images of a whole strip are large."""


@dataclass(frozen=True, slots=True)
class FinishedStrip:
    """Some rows of the scene, as they go to the outputs.

    Attributes:
        rows: Of the scene.
        before: The scene (bands, rows, width), nodata in all bands where there is no measurement.
        after: The new image, and there what the scene holds; None where an earlier run has written it.
        provenance: See `output.provenance` (rows, width).
        std: Standard deviation of the samples in reflectance (bands, rows, width), if it was asked for.
        source: Number of the reference that counts most, 0 where it is none (rows, width).
        stored: The new image as the file is stored, where that is not as `after`.
    """

    rows: Span
    before: NDArray[Any]
    after: NDArray[Any] | None
    provenance: NDArray[np.uint8]
    std: NDArray[np.float32] | None = None
    source: NDArray[np.uint8] | None = None
    stored: NDArray[Any] | None = None


def restore(
    session: Session,
    survey: Survey,
    plan: Plan,
    finished: int,
    *,
    again: bool,
    progress: Progress,
) -> Iterator[FinishedStrip]:
    """Restore a scene from the top down.

    Args:
        session: What is open.
        survey: What the first pass found.
        plan: The patches.
        finished: Rows of the scene that an earlier run has written.
        again: Whether these rows are yielded as well, as they were before and without the image.
        progress: Called with the stage "restore" and the part of it that is done.

    Yields:
        Rows of the scene; those that an earlier run has written only as far as they are asked for, or share a
        strip with others.
    """
    lattice, ends = plan.lattice, plan.ends
    whole = sum(end <= finished for end in ends)
    edges = [max(row, 0) for row in (lattice.tops[0], *ends[:whole])]
    for span in itertools.starmap(Span, itertools.pairwise(edges)) if again else ():
        yield from _known(session, survey, span)
    if whole == len(ends):
        return
    total, taken = max(sum(map(len, plan.todo[whole:])) * session.options.steps, 1), 0

    def count(patches: int) -> None:
        nonlocal taken
        taken += patches
        progress("restore", min(taken / total, 1))

    expect = expectation_of(session, survey, plan)
    load = StripReader(session.optical, session.radar, survey.cloud_map, lattice.tops, expect).load
    with SpillStore(Budget.of(session).spill_limits(), session.options.output) as spill:
        restorer = restorer_for(session, survey, spill)
        schedule = Schedule(lattice, plan.todo, restorer, session.workers, spill, load, count)
        # The strip above the first that is missing is computed again, for the rows that the two share.
        for index, strip, canvas in schedule.run(max(whole - 1, 0)):
            for rows in _chunks(Span(max(strip.top, 0), ends[index])) if index >= whole else ():
                yield _finished(session, survey, lattice, strip, rows, canvas)
            del strip, canvas  # before the next strip takes up its memory


def expectation_of(session: Session, survey: Survey, plan: Plan) -> Expect | None:
    """Make what predicts the rows of strips from the references.

    Args:
        session: What is open.
        survey: What the first pass found.
        plan: The patches.

    Returns:
        A function for `StripReader`; None where there are no references.
    """
    found = survey.references
    if found is None or found.fitted is None:
        return None
    others = [OtherDate(session.references[one.index].optical, one.cloud_map) for one in found.used]
    reader = ReferenceReader(session.optical, session.radar, survey.cloud_map, others)
    numbers = np.array([0, *(one.index + 1 for one in found.used)], np.uint8)
    context, each = survey.ground.context, session.workers.map
    return Expectation(reader, found.fitted, numbers, context, plan.todo, each).of


def restorer_for(session: Session, survey: Survey, spill: SpillStore) -> Restorer:
    """Make the restorer of a scene.

    Args:
        session: What is open.
        survey: What the first pass found.
        spill: Keeps what waits for its next step.

    Returns:
        The restorer.
    """
    options = session.options
    return Restorer(
        maker=InputMaker(session.optical, survey.ground),
        steps=options.steps,
        samples=options.samples,
        seed=options.seed,
        match_offsets=options.keep_clear,
        spill=spill,
        weights=session.weights.label,
    )


def _known(session: Session, survey: Survey, span: Span) -> Iterator[FinishedStrip]:
    """Rows that are there already, in the chunks in which they were made."""
    for rows in _chunks(span):
        dn = session.optical.read(rows.start, rows.size)
        provenance = provenance_of(session.optical.valid(dn), _strength(session, survey, rows))
        yield FinishedStrip(rows, dn, None, provenance)


def _chunks(span: Span) -> Iterator[Span]:
    for top in range(span.start, span.stop, CHUNK):
        yield Span(top, min(top + CHUNK, span.stop))


def _strength(session: Session, survey: Survey, rows: Span) -> NDArray[np.float32]:
    """Share of each pixel that is replaced, (rows, width), 0 to 1."""
    if session.options.keep_clear:
        return survey.cloud_map.strength(rows.start, rows.size)
    return np.ones((rows.size, session.optical.grid.width), np.float32)


def _finished(
    session: Session, survey: Survey, lattice: Lattice, strip: Strip, rows: Span, canvas: Tensor | None
) -> FinishedStrip:
    """Put the restored layers (n, PATCH, width of the lattice) of a strip into some rows of the image."""
    optical = session.optical
    before = strip.rows(rows)
    valid, strength = optical.valid(before), _strength(session, survey, rows)
    source = None if strip.source is None else strip.source[rows.within(strip.first)]
    provenance = provenance_of(valid, strength, source)
    sampled = session.options.uncertainty is not None
    if canvas is None:
        std = np.zeros(before.shape, np.float32) if sampled else None
        same = optical.source.as_stored(rows.start, before)
        return FinishedStrip(rows, before, same, provenance, std, source)
    left, order = -lattice.lefts[0], [BANDS.index(name) for name in optical.names]
    restored = canvas[:, rows.within(strip.top), left : left + valid.shape[1]]
    share = to_device(strength, canvas.device)
    dn = strip.on(canvas.device).dn[:, rows.within(strip.first)]
    mixed = composite(dn, [restored[band] for band in order], share, to_device(valid, canvas.device), optical)
    after = optical.source.as_stored(rows.start, to_numpy(mixed).view(before.dtype))
    std = to_numpy(restored[[len(BANDS) + band for band in order]] * share) if sampled else None
    return FinishedStrip(rows, before, after, provenance, std, source)
