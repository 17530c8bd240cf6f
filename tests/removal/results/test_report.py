from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cmcr_cli.cli.console import print_json
from cmcr_cli.ground.coregistration import Alignment
from cmcr_cli.options import RemoveOptions
from cmcr_cli.removal.restore.plan import Plan
from cmcr_cli.removal.restore.schedule import Lattice
from cmcr_cli.removal.results.report import Report, ReportedReference
from cmcr_cli.scene.references.listing import LeftOut
from cmcr_cli.warning_kinds import MaskWarning, WarningLog
from tests.support.strips import HEIGHT, WIDTH, optical

SURVEY: Any = SimpleNamespace(valid_share=0.75, covered_share=0.5, references=None)
PLAN = Plan(Lattice([0, 224], [0, 224, 448], 32), [224, HEIGHT], [[0], [0, 448]])


@pytest.fixture
def session() -> Any:
    warnings = WarningLog()
    warnings.add(MaskWarning("read as SCL"), MaskWarning("read as SCL"))
    options = RemoveOptions(s2="s2.tif", output=Path("out/clear.tif"), steps=4, samples=2, seed=7)
    return SimpleNamespace(
        options=options, optical=optical(("B02",), np.uint16, 0), radar=None, area=None,
        weights=SimpleNamespace(label="tiny 1234"), device="cpu", warnings=warnings,
        references=(), references_left_out=(), inputs=None, native=(),
    )  # fmt: skip


def test_it_states_what_was_done(session: Any) -> None:
    report = Report.of(session, SURVEY, None, PLAN, {"open": 1.5}, [])
    assert (report.output, report.weights, report.device) == ("out/clear.tif", "tiny 1234", "cpu")
    assert (report.steps, report.samples, report.seed) == (4, 2, 7)
    assert (report.width, report.height) == (WIDTH, HEIGHT)
    assert (report.level, report.offset, report.offset_source) == ("L2A", -1000, "tag")
    assert (report.patches, report.patches_restored) == (6, 3)
    assert (report.valid_share, report.covered_share, report.seconds) == (0.75, 0.5, {"open": 1.5})
    assert (report.radar, report.radar_shift) == (False, None)


def test_size_is_that_of_the_area_and_the_shift_is_rounded(session: Any) -> None:
    session.area = SimpleNamespace(grid=SimpleNamespace(width=20, height=30))
    session.radar = object()
    report = Report.of(session, SURVEY, Alignment(12.345e-4, -0.06e-4, 4, (1e4, 1e4)), PLAN, {}, [])
    assert (report.width, report.height) == (20, 30)
    assert (report.radar, report.radar_shift) == (True, (12.3, -0.1))


def test_warnings_stay_as_they_were_and_become_json(session: Any, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report.of(session, SURVEY, None, PLAN, {}, [])
    session.warnings.add(MaskWarning("later"))
    assert [str(each) for each in report.warnings] == ["read as SCL"]
    print_json(replace(report, seconds={"write": 0.1}))
    printed = json.loads(capsys.readouterr().out)
    assert printed["warnings"] == [{"kind": "MaskWarning", "text": "read as SCL"}]
    assert printed["seconds"] == {"write": 0.1}


def test_references_are_listed_in_the_order_of_their_fit_and_the_rest_with_reasons(session: Any) -> None:
    taken = SimpleNamespace(path="may.tif", date=date(2025, 5, 2), days=-30, shift=(12.345, -0.06))
    unfit = SimpleNamespace(path="elsewhere.tif", date=None, days=None, shift=None)
    session.references, session.references_left_out = (unfit, taken), (LeftOut("s2.tif", "is the scene"),)
    found = SimpleNamespace(index=1, clear_share=0.61234, error=0.41234)
    survey: Any = SimpleNamespace(
        **vars(SURVEY) | {"references": SimpleNamespace(used=(found,), unfit=((0, "is not of this place"),))}
    )
    report = Report.of(session, survey, None, PLAN, {}, [25, 0, 75])
    assert report.references == (
        ReportedReference("may.tif", "2025-05-02", -30, (12.3, -0.1), 0.6123, 0.75, 0.412),
    )
    assert report.references_left_out == (
        LeftOut("s2.tif", "is the scene"),
        LeftOut("elsewhere.tif", "is not of this place"),
    )
