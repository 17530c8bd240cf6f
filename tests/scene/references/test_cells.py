from __future__ import annotations

import csv

import pytest

from cmcr_cli.scene.references.cells import cells_of

COLUMNS = ("s2", "s1", "output", "references")


@pytest.mark.parametrize("between", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_separators(between: str, mark: str) -> None:
    lines = [f"{mark}s2{between}s1", "# left out", "", f'"a{between}b.tif"{between}c.tif']
    assert cells_of(lines, COLUMNS) == [["s2", "s1"], [f"a{between}b.tif", "c.tif"]]


def test_the_separator_is_that_of_the_heading() -> None:
    """References within a cell have semicolons between them."""
    assert cells_of(["s2,references", "a.tif,b.tif;c.tif"], COLUMNS)[1] == ["a.tif", "b.tif;c.tif"]
    assert cells_of(["s2;references", "a.tif;b, c.tif"], COLUMNS)[1] == ["a.tif", "b, c.tif"]
    assert cells_of(["a.tif;b.tif"], COLUMNS) == [["a.tif", "b.tif"]]
    assert cells_of(['"a;b.tif"', "c.tif,d.tif"], COLUMNS) == [["a;b.tif"], ["c.tif", "d.tif"]]
    assert cells_of(["a.tif", "b.tif;c.tif"], COLUMNS) == [["a.tif"], ["b.tif", "c.tif"]]
    assert cells_of(["a.tif\tb.tif"], COLUMNS) == [["a.tif", "b.tif"]]
    assert cells_of(["sep=;", "s2;s1", "a;b"], COLUMNS) == [["s2", "s1"], ["a", "b"]]
    assert cells_of(["s2"], COLUMNS) == [["s2"]] and cells_of([], COLUMNS) == []


def test_open_quotes() -> None:
    with pytest.raises(csv.Error):
        cells_of(["s2,s1", '"a.tif,b.tif'], COLUMNS)
