"""Signals at any time, and streams that are closed or break: it all ends, in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import started

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs signals of POSIX")

Cmcr = Callable[..., Any]

SECONDS = 240
"""Bound of everything that is waited for."""


def run(*args: object, code: str | None = None, **settings: Any) -> subprocess.CompletedProcess[str]:
    start = ["-m", "cmcr_cli"] if code is None else ["-c", code]
    return subprocess.run(
        [sys.executable, *start, *map(str, args)], capture_output=True, text=True, timeout=SECONDS, **settings
    )


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("typer", "SIGTERM"),
        ("torch._C", "SIGHUP"),
        ("rasterio._base", "SIGINT"),
        ("cmcr_cli.removal.survey.first_pass", "SIGXCPU"),
    ],
)
def test_stopped_while_modules_are_imported(given: list[str], out: Path, module: str, name: str) -> None:
    """Half of a library answers with an ImportError, or aborts: the stop waits until all of it is there."""
    code = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        f"            os.kill(os.getpid(), signal.{name})\n"
        "from cmcr_cli.__main__ import main\n"
        "sys.meta_path.insert(0, Finder())\n"
        "main()"
    )
    ended = run(*given, code=code)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "cmcr: interrupted\n")
    assert not list(out.iterdir())


def test_stopped_at_work(given: list[str], out: Path) -> None:
    """The same handler answers all signals that stop; test_remove.py sends two others."""
    slow = ("--steps", 64, "--samples", 256, "--mask", "all")
    args = [sys.executable, "-m", "cmcr_cli", *map(str, (*given, *slow))]
    with started(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + SECONDS
        while not list(out.iterdir()):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        for _ in range(3):  # they may come again while the run tidies up
            process.send_signal(signal.SIGHUP)
            time.sleep(0.01)
        printed, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, printed) == (130, "")
    assert err.splitlines()[-1] == "cmcr: interrupted" and "Traceback" not in err
    assert not list(out.iterdir())


def test_what_is_ignored_stays_ignored(cmcr: Cmcr) -> None:
    """As nohup wants it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    cmcr("--version")
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL


def test_a_program_that_runs_cmcr_while_it_is_imported_can_be_stopped(cmcr: Cmcr, tmp_path: Path) -> None:
    """Imports around cmcr are not waited for: they wait for cmcr."""
    (tmp_path / "around.py").write_text(
        "import os, signal, time\nfrom cmcr_cli.cli import stopping\nstopping.listen()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)\n"
    )
    started = time.monotonic()
    ended = run(
        code="import around", cwd=tmp_path, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert "KeyboardInterrupt" in ended.stderr and time.monotonic() - started < 50


def shell(line: str, *args: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "cmcr_cli", *args]
    return subprocess.run(
        ["sh", "-c", line, "sh", *words], capture_output=True, text=True, timeout=SECONDS, check=False
    )


def test_streams_that_are_closed(given: list[str], out: Path) -> None:
    """What was meant for stderr reaches neither stdout nor a file that took its number."""
    missing = [*given[:1], "none.tif", *given[2:]]
    ended = shell('"$@" --json 2>&-', *missing)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "")
    ended = shell('"$@" --json 2>&- <&-', *given)
    assert ended.returncode == 0 and ended.stdout.startswith("{") and ended.stdout.endswith("}\n")
    ended = shell('"$@" --overwrite --dry-run --json >&-', *given)
    assert ended.returncode == 0 and ended.stdout == "" and "rror" not in ended.stderr
    assert [path.name for path in out.iterdir()] == ["clear.tif"]


def test_pipes_that_break(given: list[str], out: Path) -> None:
    """A log that nobody reads any more does not cost the work; nobody to read the result ends it quietly."""
    ended = shell('{ { "$@" --json 2>&3; echo $? >&4; } 3>&1 >&5 | true; } 4>&1 5>/dev/null', *given)
    assert (ended.stdout, ended.stderr) == ("0\n", "")
    assert [path.name for path in out.iterdir()] == ["clear.tif"]
    ended = shell('{ { "$@" --version; echo $? >&4; } | true; } 4>&1', *given[:0])
    assert ended.stdout in ("0\n", "1\n") and ended.stderr == ""
    if Path("/dev/full").exists():
        ended = shell('"$@" --json -q >/dev/full', "validate", str(out / "clear.tif"))
        assert ended.returncode == 1
        assert ended.stderr.startswith("cmcr: error: standard output: cannot be written (No space left")
        assert ended.stderr.count("\n") == 1
