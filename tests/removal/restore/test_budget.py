from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from cmcr_cli.errors import CmcrError
from cmcr_cli.options import RemoveOptions
from cmcr_cli.removal.opening.session import open_session
from cmcr_cli.removal.restore import budget
from cmcr_cli.removal.restore.budget import Budget
from cmcr_cli.runtime import limits

CPU = torch.device("cpu")

SMALL = Budget(
    columns=1000, scene_columns=900, written_columns=900, stored=26, read=35, kept=26, canvas=26,
    last_canvas=52, cached=10**6, deviation=0, steps=4, overlap=32, workers=2, devices=(CPU,),
)  # fmt: skip


def test_it_is_that_of_the_session(options: Any, tmp_path: Any) -> None:
    def of(chosen: RemoveOptions) -> Budget:
        with open_session(chosen) as session:
            return Budget.of(session)

    plain = of(options())
    assert (plain.scene_columns, plain.written_columns, plain.stored, plain.read) == (333, 333, 26, 35)
    assert plain.columns >= 333 and (plain.columns - 256) % (256 - plain.overlap) == 0
    assert (plain.canvas, plain.last_canvas, plain.deviation) == (0, 13 * 4, 0)
    without = of(options(s1=None, steps=2, samples=3, uncertainty=tmp_path / "std.tif"))
    assert (without.read, without.canvas, without.last_canvas) == (26, 13 * 3 * 2, 13 * 2 * 4)
    assert without.deviation == 13 * 4


def test_nothing_waits_where_there_is_one_step() -> None:
    assert replace(SMALL, steps=1, canvas=0).waiting(50) == 0
    assert SMALL.waiting(50) - SMALL.waiting(49) == 3 * 10**6
    assert SMALL.waiting(0) == 3 * 1000 * 256 * (35 + 26)


def test_strips_take_more_with_width_steps_and_radar() -> None:
    for changes in ({"columns": 2000}, {"steps": 5}, {"read": 44}, {"kept": 27}, {"last_canvas": 104}):
        assert replace(SMALL, **changes).strips > SMALL.strips  # type: ignore[arg-type]
    assert replace(SMALL, columns=2000).strips == 2 * SMALL.strips
    assert replace(SMALL, deviation=52).to_come > SMALL.to_come > SMALL.strips


def test_a_run_that_needs_more_than_the_limits_leave_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = SMALL.to_come + 2 * budget.WORKING_BYTES + budget.CACHE_BYTES
    for left in (None, needed):
        monkeypatch.setattr(limits, "available", lambda left=left: left)
        SMALL.check()
    monkeypatch.setattr(limits, "available", lambda: needed - 1)
    with pytest.raises(CmcrError, match=rf"{needed >> 20} MB more.*900 columns.*{(needed - 1) >> 20} MB"):
        SMALL.check()


def test_what_waits_gets_what_the_work_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    work = SMALL.to_come + 2 * budget.WORKING_BYTES
    for left, expected in (
        (None, budget.IN_FLIGHT - SMALL.strips),
        (2**40, budget.IN_FLIGHT - SMALL.strips),
        (work + 1000, 1000),
    ):
        monkeypatch.setattr(limits, "available", lambda left=left: left)
        assert SMALL.spill_bytes() == expected
        assert SMALL.spill_limits() == {CPU: expected}
    monkeypatch.setattr(limits, "available", lambda: 0)
    assert SMALL.spill_bytes() < 0
