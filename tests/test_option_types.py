from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import xarray as xr

from cmcr_cli.errors import OptionError
from cmcr_cli.option_types import checked, kind_of
from cmcr_cli.scene.sun import Sun


@pytest.mark.parametrize(
    ("kind", "value", "taken"),
    [
        (str, Path("a.tif"), "a.tif"),
        (Path, "a.tif", Path("a.tif")),
        (Path | None, None, None),
        (int, np.int64(3), 3),
        (float, 3, 3.0),
        (float | None, np.float32(0.5), 0.5),
        (bool, np.bool_(True), True),
        (tuple[str, ...] | None, ["B02", Path("B03")], ("B02", "B03")),
        (tuple[float, float], (1, 2.5), (1.0, 2.5)),
        (Mapping[str, str], {"LEVEL": "9"}, {"LEVEL": "9"}),
        (Literal["warn", "strict"], "loud", "loud"),  # which the choices refuse
        (Sun | None, Sun(1, 2), Sun(1, 2)),
    ],
)
def test_values_get_the_annotated_type(kind: Any, value: Any, taken: Any) -> None:
    found = checked("--it", kind, value)
    assert found == taken and type(found) is type(taken)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (str, np.zeros((2, 3)), r"--it is numpy\.ndarray of the shape \(2, 3\); expected a text\. Give such"),
        (str | None, b"a.tif", "--it is bytes; expected a text"),
        (Path, 3, "--it is int; expected a path"),
        (int, 2.5, "--it is float; expected a whole number"),
        (int, True, "--it is bool; expected a whole number"),
        (float | None, "4", "--it is str; expected a number"),
        (bool, 1, "--it is int; expected True or False"),
        (tuple[str, ...], [xr.Dataset()], r"--it is list of .*Dataset; expected a list, each a text"),
        (tuple[str, ...], "B02,B03", "--it is str; expected a list, each a text"),
        (tuple[float, float], (1, 2, 3), "--it is tuple of int; expected 2 values, each a number"),
        (Mapping[str, str], "LEVEL=9", "--it is str; expected a dictionary"),
        (Literal["warn", "strict"], 3, "--it is int; expected warn or strict"),
        (Sun | None, (1, 2), "--it is tuple of int; expected Sun"),
    ],
)
def test_other_types_are_named(kind: Any, value: Any, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        checked("--it", kind, value)


def test_where_a_path_is_wanted_the_function_for_arrays_is_named() -> None:
    with pytest.raises(OptionError, match=r"expected a path\. Give arrays .* cmcr_cli\.remove_dataset\."):
        checked("--s2", str, np.zeros(3), path=True)


def test_kinds_are_named_without_content() -> None:
    assert kind_of([[np.zeros(2)]]) == "list of list of numpy.ndarray of the shape (2,)"
    assert kind_of("text") == "str" and kind_of([]) == "list"
