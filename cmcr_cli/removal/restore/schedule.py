"""The steps of PDMSR over a whole scene: step k runs one strip behind step k - 1.

A step adds noise to what the step before made of the same ground, and that is blended first: so neighbouring
patches agree on their overlap at every step, not only in the end. A strip can be blended as soon as the strip
below it has taken the same step, so no more strips are begun than there are steps; between two steps they
wait in the spill store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from cmcr_cli.removal.restore.blending import blend, join_rows, strip_canvas
from cmcr_cli.removal.restore.steps import Advanced, Restorer, batches
from cmcr_cli.removal.restore.strips import Strip
from cmcr_cli.runtime.allocator import trim_heap
from cmcr_cli.runtime.device import synchronize, to_device
from cmcr_cli.runtime.spill import Spilled, SpillStore
from cmcr_cli.runtime.workers import Worker, WorkerPool
from cmcr_cli.scene.patches import edge_ramps

Running = list[tuple[Sequence[int], Future[list[Advanced]]]]


@dataclass(frozen=True, slots=True)
class Lattice:
    """First rows and columns of all patches of a scene, relative to it.

    Attributes:
        tops: First rows, ascending; the first may be negative.
        lefts: First columns, likewise.
        overlap: Pixels that neighbouring patches share.
    """

    tops: list[int]
    lefts: list[int]
    overlap: int

    def column(self, left: int) -> int:
        """Find a patch in the canvas of its strip.

        Args:
            left: First column of the patch in the scene.

        Returns:
            First column in the canvas.
        """
        return left - self.lefts[0]


@dataclass(slots=True)
class Begun:
    """A strip between its first step and its last.

    Attributes:
        strip: As it was read; without its arrays while it waits.
        arrays: Those of the strip, once it has waited.
        canvas: The blended patches of its last step, all or only their upper rows.
        cached: For each patch, by its first column, what its next steps need again.
    """

    strip: Strip
    arrays: Spilled | None = None
    canvas: Spilled | None = None
    cached: dict[int, Spilled] = field(default_factory=dict)


class Canvases:
    """The blended patches of one step, strip by strip: whole while they are needed, else their edges."""

    def __init__(self, overlap: int) -> None:
        """Canvases of which none is begun.

        Args:
            overlap: Rows that neighbouring strips share.
        """
        self._held: dict[int, Tensor] = {}
        self._overlap = overlap

    def __contains__(self, index: int) -> bool:
        """Whether anything is held of a strip."""
        return index in self._held

    def __getitem__(self, index: int) -> Tensor:
        """Parts of a strip that are kept."""
        return self._held[index]

    def __setitem__(self, index: int, canvas: Tensor) -> None:
        """Hold the canvas of a strip."""
        self._held[index] = canvas

    def drop(self, index: int) -> None:
        """Forget a strip.

        Args:
            index: Number of the strip.
        """
        self._held.pop(index, None)

    def keep_top(self, index: int) -> None:
        """Keep only the rows that a strip shares with the one above.

        Args:
            index: Number of the strip.
        """
        self._held[index] = self._held[index][:, : self._overlap].clone()

    def keep_bottom(self, index: int) -> None:
        """Keep only the rows that a strip shares with the one below.

        Args:
            index: Number of the strip.
        """
        if index in self._held:
            self._held[index] = self._held[index][:, -self._overlap :].clone()

    def patch(self, index: int, column: int) -> Tensor:
        """Take a patch out of a strip.

        Args:
            index: Number of the strip.
            column: First column in its canvas.

        Returns:
            Blended values (layers, PATCH, PATCH).
        """
        above, below = self._held.get(index - 1), self._held.get(index + 1)
        return join_rows(above, self._held[index], below, self._overlap, column)

    def complete(self, index: int) -> Tensor | None:
        """Complete a strip with the rows that it shares with the strip above.

        Args:
            index: Number of the strip.

        Returns:
            Its canvas; None if nothing in it is restored.
        """
        if index in self._held and index - 1 in self._held:
            self._held[index][:, : self._overlap] += self._held[index - 1]
        self.drop(index - 1)
        return self._held.get(index)


class Schedule:
    """Restores a scene strip by strip; get the strips from `run`."""

    def __init__(
        self,
        lattice: Lattice,
        todo: list[list[int]],
        restorer: Restorer,
        workers: WorkerPool,
        spill: SpillStore,
        load: Callable[[int], Strip],
        progress: Callable[[int], None],
    ) -> None:
        """Schedule of which nothing has begun.

        Args:
            lattice: The patches.
            todo: For each strip the first columns of the patches in which something is replaced.
            restorer: Takes patches through their steps.
            workers: Share out the patches.
            spill: Keeps what waits for its next step.
            load: Reads a strip.
            progress: Called with the number of patches that took a step.
        """
        self._lattice, self._todo, self._restorer = lattice, todo, restorer
        self._workers, self._spill, self._load, self._progress = workers, spill, load, progress
        self._steps = restorer.steps
        self._canvases = [Canvases(lattice.overlap) for _ in range(self._steps)]
        self._begun: dict[int, Begun] = {}
        self._first = 0  # strip with which the first step begins

    def run(self, first: int = 0) -> Iterator[tuple[int, Strip, Tensor | None]]:
        """Restore the scene from a strip down.

        Args:
            first: Number of the strip.

        Yields:
            Number of the strip, the strip, and its restored layers (n, PATCH, width of the lattice); None
            where nothing is restored. The layers are complete but for the overlap with the next strip, and
            may be changed when that is asked for.
        """
        steps, count = self._steps, len(self._lattice.tops)
        self._first = max(first - steps + 1, 0)
        ahead: Running = []
        for turn in range(self._first, count + steps - 1):
            for step in range(steps):
                index = turn - step
                if not self._takes(index, step):
                    continue
                if step:
                    self._fetch(index, step)
                elif index not in self._begun:
                    ahead = self._begin(index)
                running = self._start(index, step) if step else ahead
                self._collect(index, step, running)
                if step < steps - 1:
                    self._put_by(index, step)
            # The workers need not wait while the caller writes; with more steps memory matters more.
            if steps == 1 and turn + 1 < count:
                ahead = self._begin(turn + 1)
            done = turn - steps + 1
            if done >= first:
                # Nothing here may hold on to what is handed out: a strip of a whole scene is large.
                yield done, self._begun.pop(done).strip, self._canvases[-1].complete(done)
            self._begun.pop(done, None)
            self._canvases[-1].keep_bottom(done)

    def _takes(self, index: int, step: int) -> bool:
        """Whether a strip takes a step; above the first that is asked for not all of them are needed."""
        begins = self._first + (step if self._first else 0)
        return begins <= index < len(self._lattice.tops)

    def _begin(self, index: int) -> Running:
        self._begun[index] = Begun(self._load(index))
        return self._start(index, 0)

    def _put_by(self, index: int, step: int) -> None:
        """Store what a strip needs for its next step, if it takes one. The strip above sees its upper rows"""
        canvases = self._canvases[step]
        if not self._takes(index, step + 1):
            begun = self._begun.pop(index)
            for handle in (begun.arrays, *begun.cached.values()):
                if handle is not None:
                    handle.drop()
            canvases.keep_bottom(index)
            return
        begun = self._begun[index]
        if begun.arrays is None:
            begun.arrays = self._spill.put(begun.strip.arrays)
        begun.strip = begun.strip.unloaded()
        if index in canvases:
            begun.canvas = self._spill.put([canvases[index]])
            canvases.keep_top(index)

    def _fetch(self, index: int, step: int) -> None:
        """Load what a strip needs for a step."""
        begun, last = self._begun[index], step == self._steps - 1
        if begun.arrays is not None and (last or self._todo[index]):
            begun.strip = begun.strip.loaded(begun.arrays.load())
        if begun.arrays is not None and last:
            begun.arrays.drop()
        if begun.canvas is not None:
            (canvas,) = begun.canvas.load()
            self._canvases[step - 1][index] = canvas.to(self._workers.home)
            begun.canvas.drop()
            begun.canvas = None

    def _start(self, index: int, step: int) -> Running:
        """Hand the patches of a strip to the workers; the step before must be done up to the next strip."""
        home, begun, lattice = self._workers.home, self._begun[index], self._lattice
        before = self._canvases[step - 1] if step else None
        strip = begun.strip
        synchronize(home)

        def advance(worker: Worker, lefts: Sequence[int]) -> list[Advanced]:
            def part(some: Sequence[int]) -> list[Advanced]:
                last, cached = None, list[Spilled]()
                if before is not None:
                    last = torch.stack([before.patch(index, lattice.column(left)) for left in some])
                    cached = [begun.cached[left] for left in some]
                done = self._restorer.advance(worker, strip, some, step, last, cached)
                return [Advanced(patch.image.to(home), patch.cached) for patch in done]

            return self._workers.in_parts(part, lefts)

        return [
            (lefts, self._workers.submit(advance, lefts))
            for lefts in batches(self._todo[index], self._workers.batch_size)
        ]

    def _collect(self, index: int, step: int, running: Running) -> None:
        """Add up what a strip of patches gave, from left to right, and drop what nothing needs any more."""
        lefts, overlap, home = self._lattice.lefts, self._lattice.overlap, self._workers.home
        down = to_device(edge_ramps(len(self._lattice.tops), overlap)[index], home)
        across = dict(zip(lefts, to_device(np.stack(edge_ramps(len(lefts), overlap)), home), strict=True))
        canvases, begun, last = self._canvases[step], self._begun[index], step == self._steps - 1
        while running:
            some, future = running.pop(0)
            for left, patch in zip(some, future.result(), strict=True):
                if index not in canvases:
                    # Estimates that wait for their next step get noise anyway: 16 bits are enough.
                    canvases[index] = strip_canvas(len(patch.image), lefts, home, half=not last)
                blend(canvases[index], self._lattice.column(left), patch.image, down, across[left])
                if patch.cached is not None:
                    begun.cached[left] = patch.cached
                if last and left in begun.cached:
                    begun.cached.pop(left).drop()
            synchronize(home)  # before the worker uses the memory of its patches again
            self._progress(len(some))
        if last:
            begun.strip = begun.strip.restored()
        if step:
            self._canvases[step - 1].drop(index - 1)
            self._canvases[step - 1].keep_bottom(index)
        trim_heap()
