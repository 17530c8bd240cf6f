"""Options of the commands are the fields of `RemoveOptions`: a new field needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
import typer

from cmcr_cli.cli.from_fields import Chosen, takes_fields
from cmcr_cli.cli.main import app
from cmcr_cli.option_fields import (
    OUTPUTS,
    Command,
    Option,
    OptionField,
    Role,
    absolute_paths,
    decisive,
    option_fields,
)
from cmcr_cli.options import COLUMNS, RemoveOptions
from cmcr_cli.removal.results.command_line import command_of

FIELDS = option_fields(RemoveOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extended(RemoveOptions):
    """What adding options takes: fields."""

    reference: Annotated[str | None, Option("Clear image of another date.", Role.INPUT)] = None
    dates: Annotated[Path | None, Option("Raster to write: dates of the pixels.", Role.RASTER)] = None
    share: Annotated[float, Option("Share of the reference.", least=0, most=1)] = 0.5
    cores: Annotated[int, Option("Cores to use.", Role.RUN, commands=("remove", "batch", "mask"))] = 1


def _run(command: Command, *words: str) -> dict[str, Any]:
    """What a command that takes the extended options gets from these words."""
    taken: dict[str, Any] = {}

    @takes_fields(command, Extended)
    def work(chosen: Chosen) -> None:
        taken.update(chosen)

    program = typer.Typer()
    program.command()(work)
    program(list(words), standalone_mode=False)
    return taken


def test_a_new_field_is_an_option_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old.tif").touch()
    words = ["--reference", "old.tif", "--dates", "d.tif", "--share", "0.123456789", "--cores", "3"]
    taken = _run("remove", "s2.tif", "-o", "o.tif", *words)
    options = Extended(**taken)
    assert (options.reference, options.dates, options.share, options.cores) == (
        "old.tif", Path("d.tif"), 0.123456789, 3,
    )  # fmt: skip
    assert Extended(**_run("remove", *command_of(options).split()[2:])) == options
    assert options.rasters["--dates"] == Path("d.tif") and "old.tif" in options.inputs
    paths = absolute_paths(options)
    assert (paths["reference"], paths["dates"]) == (str(tmp_path / "old.tif"), tmp_path / "d.tif")
    assert decisive(options).keys() - decisive(RemoveOptions(s2="s2.tif", output=Path("o.tif"))).keys() == {
        "reference", "dates", "share",
    }  # fmt: skip
    assert _run("batch", "--dates")["dates"] is True
    assert _run("mask", "s2.tif", "--cores", "2")["cores"] == 2
    with pytest.raises(ValueError, match=r"--share 2.0: expected 0 to 1"):
        Extended(**_run("remove", "s2.tif", "-o", "o.tif", "--share", "2"))


@pytest.mark.parametrize("command", get_args(Command))
def test_every_field_is_in_the_help(cmcr: Callable[..., Any], command: Command) -> None:
    page = cmcr(command, "--help").out
    shown = " ".join(page.split())
    for field in FIELDS:
        if command not in field.option.commands:
            continue
        name = field.name.upper() if field.option.positional else field.flag
        assert re.search(rf"(^|[\s,]){re.escape(name)}\b", page), name
        if not (command == "batch" and field.role in OUTPUTS):
            assert _first_words(field) in shown, name


def _first_words(field: OptionField) -> str:
    return " ".join(field.option.help.split()[:4])


def test_a_batch_has_every_option_of_remove(cmcr: Callable[..., Any]) -> None:
    """As an option or as a column of its list."""
    page = " ".join(cmcr("batch", "--help").out.split())
    for field in FIELDS:
        assert "remove" in field.option.commands and ("batch" in field.option.commands or field.option.column)
    assert ", ".join(COLUMNS) in page
    for field in FIELDS:
        if "batch" in field.option.commands and field.role in OUTPUTS:
            assert f"{field.flag} Write NAME_clear_{field.name}{field.option.form.ending}" in page


def test_the_page_on_many_scenes_lists_every_column() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "many-scenes.md").read_text()
    for name in COLUMNS:
        assert re.search(rf"\b{name}\b", page), name


def test_every_option_that_changes_the_outputs_is_in_the_fingerprint() -> None:
    names = decisive(RemoveOptions(s2="s2.tif", output=Path("o.tif"))).keys()
    assert names == {field.name for field in FIELDS if field.role is not Role.RUN}
    assert {field.name for field in FIELDS} - names == {"device", "batch_size", "overwrite", "resume"}


@pytest.mark.parametrize(
    ("flag", "text", "message"),
    [
        ("--bbox", "1,2,3", "west,south,east,north"),
        ("--bbox", "1,2,3,north", "west,south,east,north"),
        ("--sun", "south", "AZIMUTH,ELEVATION"),
        ("--batch-size", "some", "auto or a number"),
        ("--co", "COMPRESS", "NAME=VALUE"),
    ],
)
def test_texts_that_cannot_be_read_are_usage_errors(
    cmcr: Callable[..., Any], flag: str, text: str, message: str
) -> None:
    ended = cmcr("remove", "s2.tif", "-o", "o.tif", flag, text)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"cmcr: error: {flag} ") and message in ended.err


def test_a_batch_size_may_be_auto() -> None:
    assert _run("remove", "s2.tif", "-o", "o.tif", "--batch-size", "auto")["batch_size"] is None
    assert _run("remove", "s2.tif", "-o", "o.tif", "--batch-size", "8")["batch_size"] == 8


def test_environment_variables_are_those_of_the_fields() -> None:
    commands: Any = typer.main.get_command(app)
    found = {
        (each.opts[0], each.envvar)
        for command in commands.commands.values()
        for each in command.params
        if each.envvar
    }
    assert found == {(field.flag, field.option.environment) for field in FIELDS if field.option.environment}
