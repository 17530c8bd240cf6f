from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from cmcr_cli.errors import OptionError
from cmcr_cli.option_checks import MASKS
from cmcr_cli.option_fields import (
    OUTPUTS,
    Option,
    Role,
    absolute_paths,
    option_fields,
    paths_by_role,
    text_of,
    values_by_role,
)
from cmcr_cli.options import RemoveOptions
from cmcr_cli.scene.sun import Sun

FIELDS = option_fields(RemoveOptions)


def _before_at(text: str) -> str:
    return text.partition("@")[0]


@dataclass(frozen=True)
class Small:
    """Options of every kind that the reader knows."""

    source: Annotated[str, Option("Source.", Role.INPUT, words=("none",))]
    target: Annotated[Path, Option("Target.", Role.RASTER)]
    more: Annotated[Path | None, Option("More.", Role.SIDECAR)] = None
    times: Annotated[int | None, Option("How often.", least=1, most=3)] = None
    kind: Annotated[Literal["a", "b"], Option("Kind.", Role.RUN)] = "a"
    extra: Annotated[Mapping[str, str], Option("Extra.", flag="--x")] = field(default_factory=dict)
    several: Annotated[tuple[str, ...], Option("Several.", Role.INPUT, path_of=_before_at)] = ()


def test_fields_are_read_with_their_types_and_defaults() -> None:
    source, target, more, times, kind, extra, several = option_fields(Small)
    assert source.required and target.base is more.base is Path and times.base is int
    assert (source.flag, extra.flag, extra.default, extra.repeatable) == ("--source", "--x", {}, True)
    assert (kind.choices, kind.default, times.choices, kind.repeatable) == (("a", "b"), "a", (), False)
    assert (several.listed, several.repeatable, extra.listed) == (True, True, False)


def test_a_field_without_option_is_a_mistake() -> None:
    @dataclass
    class Bare:
        plain: int = 1

    with pytest.raises(TypeError, match=r"Bare\.plain"):
        option_fields(Bare)


@pytest.mark.parametrize(("name", "value"), [("times", 0), ("times", 4), ("kind", "c")])
def test_values_are_checked(name: str, value: Any) -> None:
    (found,) = (each for each in option_fields(Small) if each.name == name)
    with pytest.raises(OptionError, match=f"--{name} {value}: expected (1 to 3|a or b)"):
        found.check(value)
    for good in (None, found.default, found.choices[-1] if found.choices else 3):
        found.check(good)


def test_values_by_role_leave_out_what_is_not_given() -> None:
    small = Small("none", Path("a.tif"))
    assert [(each.name, value) for each, value in values_by_role(small, *OUTPUTS)] == [
        ("target", Path("a.tif"))
    ]
    assert [each.name for each, _ in values_by_role(small, Role.RUN, Role.RESULT)] == ["kind", "extra"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (-1000.0, "-1000"),
        (4.123456789, "4.123456789"),
        ((4.6, 53.123456789, 5.0, 54.0), "4.6,53.123456789,5,54"),
        (("B02", "B8A"), "B02,B8A"),
        (Path("a b.tif"), "a b.tif"),
        (Sun(152.3456789, 41.0), "152.3456789,41.0"),
    ],
)
def test_texts_keep_all_digits(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_every_field_says_what_it_is_for() -> None:
    for each in FIELDS:
        assert each.option.help.endswith(".") and each.option.commands, each.name
        assert f"    {each.name}: {each.option.help}" in str(RemoveOptions.__doc__)
    assert "Annotated" not in str(inspect.signature(RemoveOptions))


def test_paths_of_every_role_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of all inputs that are there, and of all outputs and weights, which must be files here."""
    monkeypatch.chdir(tmp_path)
    paths = [each for each in FIELDS if each.role in (Role.INPUT, Role.WEIGHTS, *OUTPUTS)]
    for each in paths:
        Path(each.name).touch()
        if each.name in ("s1_vv", "s1_vh"):
            continue
        chosen: dict[str, Any] = {"s2": "s2", "output": Path("output"), "samples": 2, "steps": 2}
        value = (each.name,) if each.listed else each.base(each.name)
        job = RemoveOptions(**{**chosen, each.name: value})
        moved = replace(job, **absolute_paths(job))
        path = tmp_path / each.name
        assert getattr(moved, each.name) == ((str(path),) if each.listed else each.base(path)), each.name
    pair = RemoveOptions(s2="s2", s1_vv="s1_vv", s1_vh="s1_vh", output=Path("output"))
    assert absolute_paths(pair).keys() == {"s2", "s1_vv", "s1_vh", "output"}


def test_of_a_list_every_path_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what its values state besides; those that are no files here stay as they are."""
    monkeypatch.chdir(tmp_path)
    Path("a").touch()
    small = Small("none", Path("t.tif"), several=("a@1", "/vsis3/b@2", "a"))
    assert list(paths_by_role(small, Role.INPUT)) == ["a", "/vsis3/b", "a"]
    assert absolute_paths(small)["several"] == (f"{tmp_path / 'a'}@1", "/vsis3/b@2", str(tmp_path / "a"))


@pytest.mark.parametrize("word", MASKS)
def test_words_are_not_paths(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a file has that name."""
    monkeypatch.chdir(tmp_path)
    Path(word).touch()
    job = RemoveOptions(s2="/vsis3/bucket/s2.tif", output=Path("o.tif"), mask=word)
    assert absolute_paths(job) == {"output": tmp_path / "o.tif"}
    assert job.inputs == ("/vsis3/bucket/s2.tif",)


def test_options_load_no_heavy_library() -> None:
    code = "import sys, cmcr_cli.options; print({'torch', 'rasterio', 'numpy', 'scipy'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"
