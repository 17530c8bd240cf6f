"""The steps of PDMSR over a whole scene: step k runs one row of patches behind step k - 1.

A step re-noises what the step before made of the same ground, and that is blended first: so neighbouring
patches agree on their overlap at every step, not only in the end. A row can be blended as soon as the row
below it has taken the same step, so no more rows are begun than there are steps; between two steps they lie
on the shelf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cmcr_cli.removal.restore.blending import blend, join_rows, row_canvas
from cmcr_cli.removal.restore.steps import Restorer, batches
from cmcr_cli.removal.restore.strips import Row
from cmcr_cli.runtime.device import placed, settle, trim_heap
from cmcr_cli.runtime.spill import Shelf
from cmcr_cli.runtime.workers import Lane, Lanes
from cmcr_cli.scene.patches import edge_ramps

Canvases = dict[int, Tensor]
Running = list[tuple[Sequence[int], Future[list[Tensor]]]]


@dataclass(frozen=True, slots=True)
class Lattice:
    """First lines and columns of all patches of a scene, relative to it."""

    tops: list[int]
    lefts: list[int]
    overlap: int

    def column(self, left: int) -> int:
        """The first column of a patch in the canvas of its row."""
        return left - self.lefts[0]


@dataclass(frozen=True, slots=True)
class Wavefront:
    """Restores a scene row by row; get the rows from `run`.

    `todo` holds for each row of the lattice the patches in which something is replaced, `load` reads a row,
    and `progress` is told of every patch that took a step.
    """

    lattice: Lattice
    todo: list[list[int]]
    restorer: Restorer
    lanes: Lanes
    shelf: Shelf
    load: Callable[[int], Row]
    progress: Callable[[int], None]

    def run(self, first: int = 0) -> Iterator[tuple[int, Row, Tensor | None]]:
        """Yield (index, row, restored layers) from row `first` down; None where nothing is restored.

        The layers (n, PATCH, width of the lattice) are complete but for the overlap with the next row, and
        may be changed when the next row is asked for.
        """
        steps, count = self.restorer.steps, len(self.lattice.tops)
        canvases: list[Canvases] = [{} for _ in range(steps)]
        rows: dict[int, Row] = {}
        begin = max(first - steps + 1, 0)
        ahead: Running = []

        def takes(index: int, step: int) -> bool:
            # Above the first row asked for, each step begins a row later: the rest is not needed.
            return begin + (step if begin else 0) <= index < count

        for turn in range(begin, count + steps - 1):
            for step in range(steps):
                index = turn - step
                if not takes(index, step):
                    continue
                if step:
                    self._fetch(rows, canvases[step - 1], step, index)
                elif index not in rows:
                    rows[index] = self.load(index)
                    ahead = self._start(canvases, rows[index], 0, index)
                running = self._start(canvases, rows[index], step, index) if step else ahead
                self._collect(canvases, running, step, index)
                if step < steps - 1:
                    self._put(rows, canvases[step], step, index, takes(index, step + 1))
            # The lanes need not wait while the caller writes. With more steps that matters less than memory.
            if steps == 1 and turn + 1 < count:
                rows[turn + 1] = self.load(turn + 1)
                ahead = self._start(canvases, rows[turn + 1], 0, turn + 1)
            done = turn - steps + 1
            if done >= first:
                # Nothing here may hold on to what is handed out: a row of a whole scene is large.
                yield done, rows.pop(done), self._complete(canvases[-1], done)
            rows.pop(done, None)
            self._trim(canvases[-1], done)

    def _put(self, rows: dict[int, Row], held: Canvases, step: int, index: int, goes_on: bool) -> None:
        """Shelve what a row that `goes_on` needs for its next step; the row above sees its canvas's top."""
        if not goes_on:
            del rows[index]
            self._trim(held, index)
            return
        if step == 0:
            self.shelf.put(("row", index), rows[index].arrays)
        rows[index] = rows[index].on_shelf()
        if index in held:
            self.shelf.put(("canvas", step, index), [held[index]])
            held[index] = held[index][:, : self.lattice.overlap].clone()

    def _fetch(self, rows: dict[int, Row], held: Canvases, step: int, index: int) -> None:
        """Take from the shelf what a row needs for `step`."""
        last = step == self.restorer.steps - 1
        if last or self.todo[index]:
            rows[index] = rows[index].off_shelf(self.shelf.get(("row", index)))
        if last:
            self.shelf.drop(("row", index))
        if index in held:
            (canvas,) = self.shelf.get(("canvas", step - 1, index))
            held[index] = canvas.to(self.lanes.home)
            self.shelf.drop(("canvas", step - 1, index))

    def _start(self, canvases: list[Canvases], row: Row, step: int, index: int) -> Running:
        """Hand the patches of a row to the lanes; the step before must be done up to the next row."""
        before, home = canvases[step - 1] if step else {}, self.lanes.home
        settle(home)

        def advance(lane: Lane, lefts: Sequence[int]) -> list[Tensor]:
            def part(some: Sequence[int]) -> list[Tensor]:
                last = torch.stack([self._blended(before, index, left) for left in some]) if step else None
                return [patch.to(home) for patch in self.restorer.advance(lane, row, some, step, last)]

            return self.lanes.in_parts(part, lefts)

        return [
            (lefts, self.lanes.submit(advance, lefts))
            for lefts in batches(self.todo[index], self.lanes.batch_size)
        ]

    def _collect(self, canvases: list[Canvases], running: Running, step: int, index: int) -> None:
        """Add up what a row of patches gave, from left to right, and drop what nothing needs any more."""
        lefts, overlap, home = self.lattice.lefts, self.lattice.overlap, self.lanes.home
        down = placed(edge_ramps(len(self.lattice.tops), overlap)[index], home)
        across = dict(zip(lefts, placed(np.stack(edge_ramps(len(lefts), overlap)), home), strict=True))
        # Estimates that wait for their next step are re-noised anyway: 16 bits are more than enough.
        half = step < len(canvases) - 1
        while running:
            some, future = running.pop(0)
            for left, patch in zip(some, future.result(), strict=True):
                if index not in canvases[step]:
                    canvases[step][index] = row_canvas(len(patch), lefts, home, half=half)
                blend(canvases[step][index], self.lattice.column(left), patch, down, across[left])
            settle(home)  # before the lane uses the memory of its patches again
            self.progress(len(some))
        if step:
            canvases[step - 1].pop(index - 1, None)
            self._trim(canvases[step - 1], index)
        trim_heap()

    def _blended(self, held: Canvases, index: int, left: int) -> Tensor:
        above, below = held.get(index - 1), held.get(index + 1)
        return join_rows(above, held[index], below, self.lattice.overlap, self.lattice.column(left))

    def _complete(self, held: Canvases, index: int) -> Tensor | None:
        """The canvas of a row with the lines that the row above shares."""
        if index in held and index - 1 in held:
            held[index][:, : self.lattice.overlap] += held[index - 1]
        held.pop(index - 1, None)
        return held.get(index)

    def _trim(self, held: Canvases, index: int) -> None:
        """Keep only the lines that a row shares with the next one."""
        if index in held:
            held[index] = held[index][:, -self.lattice.overlap :].clone()
