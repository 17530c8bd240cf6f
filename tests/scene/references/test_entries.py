from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from cmcr_cli.errors import OptionError
from cmcr_cli.options import RemoveOptions
from cmcr_cli.scene.references.entries import path_of_entry, split_date


@pytest.mark.parametrize(
    ("entry", "path", "day"),
    [
        ("june.tif", "june.tif", None),
        ("june.tif@2024-06-01", "june.tif", date(2024, 6, 1)),
        ("a@b/june@2.tif", "a@b/june@2.tif", None),
        ("a@b.tif@2024-02-29", "a@b.tif", date(2024, 2, 29)),
        ("/vsis3/bucket/june.tif@2024-06-01", "/vsis3/bucket/june.tif", date(2024, 6, 1)),
        ("june.tif@2024-6-1", "june.tif@2024-6-1", None),
    ],
)
def test_a_date_may_follow_the_path(entry: str, path: str, day: date | None) -> None:
    assert split_date(entry) == (path, day)
    assert path_of_entry(entry) == path


def test_a_file_of_the_whole_name_wins(tmp_path: Path) -> None:
    path = tmp_path / "june@2024-06-01"
    path.touch()
    assert split_date(str(path)) == (str(path), None)
    assert path_of_entry(str(path)) == str(path)


@pytest.mark.parametrize(
    ("entry", "words"),
    [("june.tif@2023-02-29", "2023-02-29 is not a date"), ("", "is empty; expected a path")],
)
def test_what_is_not_a_date_is_refused_before_any_work(entry: str, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        RemoveOptions(s2="s2.tif", output=Path("o.tif"), references=(entry,))


def test_options_take_one_path_or_several() -> None:
    one = RemoveOptions(s2="s2.tif", output=Path("o.tif"), references="june.tif@2024-06-01")  # type: ignore[arg-type]
    two = RemoveOptions(s2="s2.tif", output=Path("o.tif"), references=[Path("a.tif"), "b.tif"])  # type: ignore[arg-type, list-item]
    assert (one.references, one.inputs) == (("june.tif@2024-06-01",), ("s2.tif", "june.tif"))
    assert two.references == ("a.tif", "b.tif")
