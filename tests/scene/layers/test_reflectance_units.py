"""What is said of numbers of which nothing states scale and offset; units of files are in
test_inputs_as_they_come.py."""

from __future__ import annotations

from datetime import date

import pytest

from cmcr_cli.scene.layers.reflectance_units import Units, baseline_of, find_unstated
from cmcr_cli.scene.radiometry import Radiometry

ASSUMED = Units(Radiometry(), "assumed 0", False)


@pytest.mark.parametrize(
    ("tags", "day", "text"),
    [
        ({}, None, "If it is of 2022 or later and its offset was not removed, give --offset -1000"),
        ({}, date(2022, 1, 25), "If it is of 2022 or later"),
        ({}, date(2022, 1, 24), "DN / 10000 is assumed. State other units"),
        ({"PROCESSING_BASELINE": "03.01"}, None, "DN / 10000 is assumed. State other units"),
        (
            {"PROCESSING_BASELINE": "05.09"},
            None,
            "It is of baseline 05.09: unless its offset was removed, give",
        ),
    ],
)
def test_one_line_names_the_assumption_and_the_cure(
    tags: dict[str, str], day: date | None, text: str
) -> None:
    (warning,) = find_unstated(ASSUMED, tags, day)
    assert text in str(warning) and "\n" not in str(warning)
    assert str(warning).endswith("State other units with --scale and --offset, these with --offset 0")


def test_fractions_have_an_offset_of_their_own() -> None:
    (warning,) = find_unstated(Units(Radiometry(0, 1), "assumed 0", False), {}, None)
    assert "the pixel value is assumed" in str(warning) and "--offset -0.1." in str(warning)


def test_nothing_is_said_of_what_is_stated_or_of_references() -> None:
    assert find_unstated(Units(Radiometry(), "tag", True), {"PROCESSING_BASELINE": "05.09"}, None) == ()
    assert find_unstated(ASSUMED, {}, None, reference=True) == ()
    assert find_unstated(ASSUMED, {"PROCESSING_BASELINE": "05.09"}, None, reference=True)


def test_baselines() -> None:
    assert baseline_of({"PROCESSING_BASELINE": "04.00"}) == 4
    assert baseline_of({"PROCESSING_BASELINE": "new"}) is baseline_of({}) is None
