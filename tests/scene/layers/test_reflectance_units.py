"""Units of two bands, and what is said where nothing states scale and offset."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cmcr_cli.errors import RadiometryError
from cmcr_cli.scene.layers.reflectance_units import Units, baseline_of, find_units, find_unstated
from cmcr_cli.scene.radiometry import Radiometry

ASSUMED = Units(Radiometry(), "assumed 0", False)


def units(
    dtype: str = "uint16",
    tags: tuple[tuple[float, float], ...] = ((1.0, 0.0),) * 2,
    pixels: float = 0.2,
    **options: float | None,
) -> Units:
    """Units of two bands, all of whose pixels have one value."""

    def read(indexes: Any, window: Any = None, **_: Any) -> Any:
        shape = (int(window.height), int(window.width)) if window else (64, 64)
        return np.full((len(indexes), *shape) if np.ndim(indexes) else shape, pixels, dtype)

    dataset = SimpleNamespace(
        dtypes=(dtype,) * 2, scales=[a for a, _ in tags], offsets=[b for _, b in tags], nodata=None,
        count=2, indexes=(1, 2), width=64, height=64, read=read, tags=lambda *_, **__: {},
    )  # fmt: skip
    return find_units(dataset, (1, 2), "s2.tif", **{"scale": None, "offset": None, **options})


@pytest.mark.parametrize(
    ("found", "radiometry", "source", "stated"),
    [
        ({}, Radiometry(), "assumed 0", False),
        ({"offset": -1000.0}, Radiometry(-1000), "option", True),
        ({"tags": ((1e-4, -0.1),) * 2}, Radiometry(-1000, 10_000), "tag", True),
        ({"scale": 1e-4, "dtype": "uint8"}, Radiometry(0, 10_000), "assumed 0", True),
        ({"dtype": "float32"}, Radiometry(0, 1), "assumed 0", False),
        ({"dtype": "float32", "pixels": 900.0}, Radiometry(0, 10_000), "assumed 0", False),
    ],
)
def test_options_then_tags_then_type(
    found: dict[str, Any], radiometry: Radiometry, source: str, stated: bool
) -> None:
    got = units(**found)
    assert (got.radiometry, got.source, got.stated, got.warnings) == (radiometry, source, stated, ())


@pytest.mark.parametrize("options", [{"offset": 0.0}, {"scale": 1e-4}])
def test_options_that_contradict_the_tags_win_aloud(options: dict[str, float]) -> None:
    got = units(tags=((2e-4, -0.1),) * 2, **options)
    (warning,) = got.warnings
    assert got.radiometry.offset == 0 and "is used; the file's tags say" in str(warning)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"dtype": "complex64"}, "has complex64 pixels; expected DN as uint16"),
        ({"dtype": "uint8"}, "State the reflectance of one DN with --scale"),
        ({"tags": ((1e-4, 0.0), (1e-4, -0.1))}, "different scale or offset tags"),
        ({"tags": ((0.5, 0.0),) * 2}, "expected a scale near 0.0001"),
        ({"dtype": "float32", "tags": ((1e-4, 0.0),) * 2}, "give --scale 1"),
        ({"dtype": "float32", "pixels": 15.0}, r"--scale 0\.01 for per cent"),
    ],
)
def test_what_cannot_be_is_refused(found: dict[str, Any], message: str) -> None:
    with pytest.raises(RadiometryError, match=message):
        units(**found)


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
