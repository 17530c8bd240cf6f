"""The tables of docs/scripting.md, against the code."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cmcr_cli import Estimate, MaskReport, Report, errors
from cmcr_cli.cli.commands import batch
from cmcr_cli.cli.main import app
from cmcr_cli.cli.stopping import INTERRUPTED
from cmcr_cli.evaluation.protocols import Evaluation
from cmcr_cli.option_fields import option_fields
from cmcr_cli.options import RemoveOptions
from cmcr_cli.output.validation import Finding
from cmcr_cli.removal.many_scenes import Outcome
from cmcr_cli.removal.results.report import ReportedReference
from cmcr_cli.scene.raster import NETWORK
from cmcr_cli.scene.references.listing import LeftOut
from cmcr_cli.simulate.write import SimulatedDate, SimulatedScene
from cmcr_cli.training.data.data_check import DataReport

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/scripting.md").read_text()

LIBRARIES = {"OMP_NUM_THREADS", "NO_COLOR", "FORCE_COLOR"}
"""Variables that only libraries read."""

USED = re.compile(r'(?:environ(?:\.get|\.setdefault)?[(\[]|_setting\()\s*"([A-Z_]+)"')
"""A variable in the code."""


def rows(heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, without its head."""
    section = PAGE.split(f" {heading}\n", 1)[1]
    table = re.findall(r"^\|(.*)\|$", re.split(r"^##", section, maxsplit=1, flags=re.M)[0], re.M)
    return [[cell.strip() for cell in line.split(" | ")] for line in table[2:]]


def quoted(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def names(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("remove", names(Report)),
        ("remove --dry-run", names(Estimate)),
        ("mask", names(MaskReport)),
        ("batch", {"scenes", *batch._summary([], dry_run=False), *batch._summary([], dry_run=True)}),
        ("validate", {"output", "ok", "findings"}),
        ("simulate", names(SimulatedScene)),
        ("evaluate", names(Evaluation)),
        ("data check", names(DataReport)),
    ],
)
def test_fields_of_json(command: str, fields: set[str]) -> None:
    found = [name for first, _ in rows(f"`cmcr {command}`") for name in quoted(first)]
    assert sorted(found) == sorted(fields)


@pytest.mark.parametrize(
    ("command", "field", "kind"),
    [
        ("remove", "references", ReportedReference),
        ("remove", "references_left_out", LeftOut),
        ("batch", "scenes", Outcome),
        ("validate", "findings", Finding),
        ("simulate", "dates", SimulatedDate),
    ],
)
def test_fields_of_what_is_in_them(command: str, field: str, kind: Any) -> None:
    (text,) = (text for first, text in rows(f"`cmcr {command}`") if f"`{field}`" in first)
    assert names(kind) == {name for name in quoted(text) if not name.startswith("--")}


def test_environment_variables() -> None:
    stated = {name for row in rows("Environment variables") for name in quoted(row[0])}
    ours = {field.option.environment for field in option_fields(RemoveOptions)} - {None}
    code = {name for path in (ROOT / "cmcr_cli").rglob("*.py") for name in USED.findall(path.read_text())}
    assert {"CPL_TMPDIR", "WORLD_SIZE", "OPENBLAS_NUM_THREADS"} < code
    assert stated == ours | code | NETWORK.keys() | LIBRARIES
    for name, value in NETWORK.items():
        assert next(row[2] for row in rows("Environment variables") if name in row[0]).endswith(f"; {value}")


def test_exit_codes() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.CmcrError)}
    assert {int(row[0]) for row in rows("Exit codes")} == {0, INTERRUPTED} | codes
    assert set(map(int, re.findall(r"\d+", str(app.info.epilog)))) == {0, INTERRUPTED} | codes


def test_completion() -> None:
    asked = {"_CMCR_COMPLETE": "complete_bash", "COMP_WORDS": "cmcr remove --s1-units ", "COMP_CWORD": "3"}
    found = CliRunner().invoke(app, [], prog_name="cmcr", env=asked)
    assert found.output.split() == ["auto", "db", "linear"]
