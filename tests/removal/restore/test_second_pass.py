from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from cmcr_cli.options import RemoveOptions
from cmcr_cli.output.provenance import OBSERVED, RECONSTRUCTED
from cmcr_cli.removal.opening.session import Session, open_session
from cmcr_cli.removal.pipeline import survey_scene
from cmcr_cli.removal.restore.plan import Plan, plan_patches
from cmcr_cli.removal.restore.second_pass import CHUNK, FinishedStrip, restore
from cmcr_cli.removal.survey.first_pass import Survey

Options = Callable[..., RemoveOptions]


@dataclass
class Opened:
    """A scene after its first pass."""

    session: Session
    survey: Survey
    plan: Plan

    def rows(self, finished: int = 0, *, again: bool = False) -> list[FinishedStrip]:
        told: list[tuple[str, float]] = []
        found = list(
            restore(
                self.session,
                self.survey,
                self.plan,
                finished,
                again=again,
                progress=lambda *args: told.append(args),
            )
        )
        assert {stage for stage, _ in told} <= {"restore"}
        assert all(one <= other for (_, one), (_, other) in itertools.pairwise(told))
        return found


@pytest.fixture
def opened(options: Options) -> Iterator[Opened]:
    chosen = options(steps=2)
    with open_session(chosen) as session:
        found = survey_scene(session, lambda stage, done: None)
        yield Opened(
            session, found, plan_patches(session.optical.grid, found.cloud_map, session.area, chosen)
        )


def _whole(strips: list[FinishedStrip], name: str) -> Any:
    return np.concatenate([getattr(strip, name) for strip in strips], axis=-2)


def test_rows_come_from_the_top_down_each_once_and_few_at_a_time(opened: Opened) -> None:
    strips, optical = opened.rows(), opened.session.optical
    assert strips[0].rows.start == 0 and strips[-1].rows.stop == optical.grid.height
    assert all(one.rows.stop == other.rows.start for one, other in itertools.pairwise(strips))
    assert max(strip.rows.size for strip in strips) <= CHUNK
    before, after, provenance = (_whole(strips, name) for name in ("before", "after", "provenance"))
    assert np.array_equal(before, optical.read(0, optical.grid.height))
    assert after.dtype == before.dtype and all(strip.std is None for strip in strips)
    strength = opened.survey.cloud_map.strength(0, optical.grid.height)
    assert np.array_equal(provenance == RECONSTRUCTED, strength > 0)
    assert np.array_equal(after[:, provenance == OBSERVED], before[:, provenance == OBSERVED])
    assert (after != before).any(axis=0)[strength == 1].mean() > 0.99


def test_after_finished_rows_the_rest_is_the_same(opened: Opened) -> None:
    whole, end = opened.rows(), next(row for row in opened.plan.ends if row > 0)
    rest = opened.rows(end)
    assert rest[0].rows.start == end < opened.session.optical.grid.height
    for name in ("after", "provenance"):
        assert np.array_equal(_whole(rest, name), _whole(whole, name)[..., end:, :])


def test_finished_rows_are_shown_again_as_they_were_before(opened: Opened) -> None:
    whole, height = opened.rows(), opened.session.optical.grid.height
    shown = opened.rows(height, again=True)
    assert all(strip.after is None for strip in shown) and opened.rows(height) == []
    for name in ("before", "provenance"):
        assert np.array_equal(_whole(shown, name), _whole(whole, name))


def test_where_nothing_is_covered_the_scene_is_passed_on(options: Options, make_scene: Any) -> None:
    files = make_scene(90, 80)
    chosen = options(
        s2=str(files.s2), s1=None, mask=str(files.mask), samples=2, steps=2, uncertainty="std.tif"
    )
    with open_session(chosen) as session:
        found = survey_scene(session, lambda stage, done: None)
        found.cloud_map.planes[:] = 0
        plan = plan_patches(session.optical.grid, found.cloud_map, None, chosen)
        strips = Opened(session, found, plan).rows()
        assert plan.patches_to_restore == 0
    assert all(strip.after is strip.before for strip in strips)
    assert not _whole(strips, "std").any() and (_whole(strips, "provenance") == OBSERVED).all()
