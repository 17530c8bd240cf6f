from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from cmcr_cli import __version__
from cmcr_cli.cli.commands import remove
from cmcr_cli.errors import OutputError
from cmcr_cli.removal import RemoveOptions

COMMANDS = ("remove", "batch", "mask", "info", "simulate", "validate", "train", "distill")


def test_version(cmcr: Callable[..., Any]) -> None:
    ended = cmcr("--version")
    assert (ended.code, ended.out, ended.err) == (0, f"cmcr {__version__}\n", "")


def test_module_is_the_command() -> None:
    ended = subprocess.run([sys.executable, "-m", "cmcr_cli", "--version"], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, f"cmcr {__version__}\n")


def test_without_arguments_prints_help(cmcr: Callable[..., Any]) -> None:
    ended = cmcr()
    assert ended.code == 2
    for name in COMMANDS:
        assert f"  {name} " in ended.out + ended.err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_two_examples(cmcr: Callable[..., Any], name: str) -> None:
    ended = cmcr(name, "--help")
    assert (ended.code, ended.err) == (0, "")
    title, *examples = [line.strip() for line in ended.out.splitlines()[-3:]]
    assert title == "Examples:"
    assert all(example.startswith(f"cmcr {name}") for example in examples)


HEAVY = {"torch", "numpy", "rasterio", "shapely", "PIL", "xarray", "dask", "psutil", "rich", "pydantic"}


def test_help_and_version_load_no_heavy_library() -> None:
    """Words of each call are parted as in a shell; all in one process, since modules stay loaded."""
    calls = ["--version", "--help", "data check --help", *(f"{name} --help" for name in COMMANDS)]
    code = f"""
import contextlib, io, sys
from cmcr_cli.cli.main import main
for call in {calls}:
    with contextlib.redirect_stdout(io.StringIO()) as told, contextlib.suppress(SystemExit):
        main(call.split())
    assert "cmcr" in told.getvalue(), call
print({HEAVY} & set(sys.modules))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


@pytest.mark.parametrize(
    "args",
    [
        ("remove",),
        ("remove", "s2.tif"),
        ("remove", "s2.tif", "-o", "out.tif", "--steps", "many"),
        ("remove", "s2.tif", "-o", "out.tif", "--steps", "0"),
        ("remove", "s2.tif", "-o", "out.tif", "--batch-size", "some"),
        ("remove", "s2.tif", "-o", "out.tif", "--s1-units", "volts"),
        ("remove", "s2.tif", "-o", "out.tif", "--overlap", "4"),
        ("remove", "s2.tif", "-o", "out.tif", "--uncertainty", "std.tif"),
        ("remove", "s2.tif", "-o", "out.tif", "--co", "COMPRESS"),
        ("remove", "s2.tif", "-o", "out.tif", "--no-such-option"),
        ("simulate", "out", "--size", "0", "--seed", "1"),
        ("train", "everything", "data", "--run-dir", "run"),
        ("distill", "data", "--run-dir", "run"),
        ("vanish",),
    ],
)
def test_usage_errors(cmcr: Callable[..., Any], args: tuple[str, ...]) -> None:
    ended = cmcr(*args)
    assert (ended.code, ended.out) == (2, "")
    assert "rror: " in ended.err


def test_defaults_are_those_of_the_library() -> None:
    flags = {name: flag.default for name, flag in inspect.signature(remove.remove).parameters.items()}
    for field in fields(RemoveOptions):
        if field.name not in ("s2", "output", "creation_options"):  # required, or parsed from its strings
            flag = flags[field.name]
            if field.default == ():  # of an option that was not repeated
                assert flag is None, field.name
            else:
                assert flag == field.default, field.name


@pytest.mark.parametrize("verbosity", ["-v", "-vv"])
def test_unexpected_errors_are_one_line(
    cmcr: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, verbosity: str
) -> None:
    def broken(*args: object, **options: object) -> None:
        raise RuntimeError("out of\ncheese")

    monkeypatch.setattr("cmcr_cli.output.validation.validate_output", broken)
    ended = cmcr("validate", "clear.tif", verbosity)
    assert (ended.code, ended.out) == (1, "")
    assert (
        ended.err.splitlines()[-1] == "cmcr: unexpected error: RuntimeError: out of cheese (-vv shows where)"
    )
    assert ("Traceback" in ended.err) == (verbosity == "-vv")


@pytest.mark.parametrize("kind", [RuntimeError, OutputError])
def test_a_signal_within_another_error_is_still_one(
    cmcr: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """As Python wraps what is raised while a class is made, and we what GDAL raises."""

    def stopped(*args: object, **options: object) -> None:
        error = SystemError("a result with an exception set")
        error.__cause__ = KeyboardInterrupt()
        raise kind("went wrong") from error

    monkeypatch.setattr("cmcr_cli.output.validation.validate_output", stopped)
    ended = cmcr("validate", "clear.tif")
    assert (ended.code, ended.out, ended.err) == (130, "", "cmcr: interrupted\n")


def test_a_reader_that_went_away_is_no_error() -> None:
    command = subprocess.Popen(
        [sys.executable, "-m", "cmcr_cli", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert command.stdout is not None and command.stderr is not None
    command.stdout.close()
    with command.stderr:
        assert command.stderr.read() == b""
    assert command.wait() in (0, 1)
