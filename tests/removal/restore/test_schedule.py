from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cmcr_cli.model.weights import load
from cmcr_cli.removal.restore.blending import blend, join_rows, strip_canvas
from cmcr_cli.removal.restore.schedule import Lattice, Schedule
from cmcr_cli.removal.restore.steps import Advanced
from cmcr_cli.removal.restore.strips import Strip
from cmcr_cli.runtime.spill import Spilled, SpillStore
from cmcr_cli.runtime.workers import WorkerPool, open_workers
from cmcr_cli.scene.patches import PATCH, edge_ramps
from cmcr_cli.warning_kinds import WarningLog

OVERLAP = 64
STRIDE = PATCH - OVERLAP
TOPS = [index * STRIDE - 100 for index in range(5)]
LEFTS = [index * STRIDE - 30 for index in range(3)]
SIDES = torch.linspace(-1, 1, PATCH)
CPU = torch.device("cpu")


def step_of(top: int, left: int, step: int, last: Tensor | None) -> Tensor:
    """What a network might do: it looks at the last estimate, and no two patches agree where they overlap."""
    before = torch.zeros(13, PATCH, PATCH) if last is None else last
    slope = (top % 7 + 1) * SIDES[:, None] + left % 5 * SIDES
    return before.roll(step, -1) * 0.5 + slope + step


@dataclass
class Fake:
    """Stands in for the restorer; keeps (row, step) in the order in which rows were begun."""

    steps: int
    begun: list[tuple[int, int]]
    spill: SpillStore

    def advance(
        self,
        worker: Any,
        strip: Strip,
        lefts: Sequence[int],
        step: int,
        estimates: Tensor | None,
        cached: Sequence[Spilled],
    ) -> list[Advanced]:
        self.begun.append((TOPS.index(strip.top), step))
        if step:  # what the first step has kept comes back to the same patches
            assert [handle.load()[0].tolist() for handle in cached] == [[strip.top, left] for left in lefts]
        known = [None] * len(lefts) if estimates is None else list(estimates)
        done = []
        for left, last in zip(lefts, known, strict=True):
            keep = not step and self.steps > 1
            handle = self.spill.put([torch.tensor([strip.top, left])]) if keep else None
            done.append(Advanced(step_of(strip.top, left, step, last), handle))
        return done


def plainly(steps: int, todo: list[list[int]]) -> list[Tensor]:
    """All rows at once, step after step; the lines that two rows share are complete in the lower one."""
    down, across = ([*map(torch.from_numpy, edge_ramps(len(axis), OVERLAP))] for axis in (TOPS, LEFTS))
    canvases: list[Tensor] = []
    for step in range(steps):
        last, canvases = canvases, [strip_canvas(13, LEFTS, CPU) for _ in TOPS]
        for index, top in enumerate(TOPS):
            for left in todo[index]:
                column = left - LEFTS[0]
                around = [last[n] if 0 <= n < len(last) else None for n in (index - 1, index, index + 1)]
                before = None
                if last:
                    above, here, below = around
                    before = join_rows(above, here, below, OVERLAP, column)  # type: ignore[arg-type]
                patch = step_of(top, left, step, before)
                blend(canvases[index], column, patch, down[index], across[LEFTS.index(left)])
    for above, below in itertools.pairwise(canvases):
        below[:, :OVERLAP] += above[:, -OVERLAP:]
    return canvases


@pytest.fixture(params=[1, 3])
def workers(weights: Path, request: pytest.FixtureRequest) -> Iterator[WorkerPool]:
    with open_workers(load(weights), [CPU] * request.param, 2, WarningLog()) as workers:
        yield workers


@pytest.fixture(params=[0, 2**30], ids=["on disk", "in memory"])
def spill(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SpillStore]:
    with SpillStore({CPU: request.param}, tmp_path / "out.tif") as spill:
        yield spill


def run(
    workers: WorkerPool, spill: SpillStore, steps: int, todo: list[list[int]], first: int = 0
) -> tuple[Fake, dict[int, Any]]:
    fake, taken, found = Fake(steps, [], spill), [], {}
    none = np.zeros((1, 1), np.uint8)

    def load_row(index: int) -> Strip:
        return Strip(TOPS[index], 0, np.full((1, 1, 1), index, np.uint16), none, 0, None, None)

    lattice = Lattice(TOPS, LEFTS, OVERLAP)
    schedule = Schedule(lattice, todo, fake, workers, spill, load_row, taken.append)  # type: ignore[arg-type]
    for index, row, canvas in schedule.run(first):
        assert (row.top, row.dn.item()) == (TOPS[index], index)
        found[index] = None if canvas is None else canvas.clone()
    assert sum(taken) == sum(len(todo[row]) for row, _ in set(fake.begun))
    return fake, found


@pytest.mark.parametrize("steps", [1, 2, 6])  # fewer and more than there are rows
def test_every_step_sees_what_the_whole_scene_was_at_the_step_before(
    workers: WorkerPool, spill: SpillStore, steps: int
) -> None:
    todo = [LEFTS for _ in TOPS]
    _, found = run(workers, spill, steps, todo)
    assert list(found) == list(range(len(TOPS)))
    for canvas, expected in zip(found.values(), plainly(steps, todo), strict=True):
        np.testing.assert_allclose(canvas[:, :-OVERLAP], expected[:, :-OVERLAP], atol=0.02)


def test_rows_wait_for_no_more_than_their_neighbours(workers: WorkerPool, spill: SpillStore) -> None:
    fake, _ = run(workers, spill, 3, [LEFTS for _ in TOPS])
    order = list(dict.fromkeys(fake.begun))
    for row, step in order:
        if step:
            for near in {max(row - 1, 0), row, min(row + 1, len(TOPS) - 1)}:
                assert order.index((near, step - 1)) < order.index((row, step))
    # Rows far below must not be begun before the first is done: that is what bounds the memory.
    assert order.index((0, 2)) < order.index((4, 0))


def test_patches_and_rows_without_cloud_are_left_out(workers: WorkerPool, spill: SpillStore) -> None:
    todo = [LEFTS[:1], [], LEFTS, LEFTS[1:], []]
    fake, found = run(workers, spill, 3, todo)
    assert {row for row, _ in fake.begun} == {0, 2, 3}
    assert found[1] is None and found[4] is None
    for index in (0, 2, 3):
        expected = plainly(3, todo)[index]
        np.testing.assert_allclose(
            found[index][:, OVERLAP:-OVERLAP], expected[:, OVERLAP:-OVERLAP], atol=0.02
        )


@pytest.fixture(scope="module")
def whole(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[int, Any]]:
    """All rows after so many steps, by one worker and in memory; made once for each number."""

    @cache
    def made(steps: int) -> dict[int, Any]:
        output = tmp_path_factory.mktemp("whole") / "out.tif"
        with (
            open_workers(load(weights), [CPU], 2, WarningLog()) as workers,
            SpillStore({CPU: 2**30}, output) as spill,
        ):
            return run(workers, spill, steps, [LEFTS for _ in TOPS])[1]

    return made


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("first", [1, 3, 4])
def test_a_later_start_gives_the_same_bits_from_the_second_row_on(
    workers: WorkerPool, spill: SpillStore, whole: Callable[[int], dict[int, Any]], steps: int, first: int
) -> None:
    todo = [LEFTS for _ in TOPS]
    fake, found = run(workers, spill, steps, todo, first)
    assert list(found) == list(range(first, len(TOPS)))
    assert min(row for row, _ in fake.begun) == max(first - steps + 1, 0)
    for index in range(first, len(TOPS)):
        lines = slice(OVERLAP if index == first else 0, -OVERLAP)
        assert torch.equal(found[index][:, lines], whole(steps)[index][:, lines])


def test_rows_are_put_together_on_the_first_device_whichever_made_the_patches(
    weights: Path, spill: SpillStore
) -> None:
    meta = torch.device("meta")
    with open_workers(load(weights), [CPU], 2, WarningLog()) as workers:
        workers.workers = [
            replace(worker, device=meta) for worker in workers.workers
        ]  # those that work stay on the CPU
        _, found = run(workers, spill, 1, [LEFTS for _ in TOPS])
    assert {canvas.device for canvas in found.values()} == {meta}
