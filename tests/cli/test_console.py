from __future__ import annotations

import json
import logging
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.cli.console import duration, print_json, set_verbosity, show_batch, show_progress
from cmcr_cli.warning_kinds import NoRadarWarning


@pytest.fixture(autouse=True)
def _hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of pytest are put back, and levels of logging."""
    for hook in ("excepthook", "unraisablehook"):
        monkeypatch.setattr(sys, hook, getattr(sys, hook))
    for logger in (logging.getLogger(), logging.getLogger("cmcr")):
        monkeypatch.setattr(logger, "level", logger.level)


def test_progress_in_a_log_is_a_line_per_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(quiet=False) as progress:
        for step in range(1001):
            progress("survey", step / 1000)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [f"cmcr: survey {percent} %" for percent in range(10, 101, 10)]


def test_progress_on_a_terminal_is_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with show_progress(quiet=False) as progress:
        progress("survey", 0.5)
        progress("restore", 1.0)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "survey" in printed.err and "cmcr: survey" not in printed.err


def test_bars_of_a_batch_are_for_terminals_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results stay on stdout, which may be a file; between them a bar shows the scene at work."""
    for terminal in (False, True):
        if terminal:
            monkeypatch.setenv("FORCE_COLOR", "1")
            monkeypatch.setenv("TERM", "xterm")
        with show_batch(2, quiet=False) as bars:
            for name in ("a.tif", "b.tif"):
                bars.show("survey", 0.5)
                time.sleep(0.2 * terminal)
                with bars.aside():
                    print(name)
        printed = capsys.readouterr()
        assert printed.out == "a.tif\nb.tif\n"
        assert ("scenes" in printed.err) == ("survey" in printed.err) == terminal
    with show_batch(1, quiet=True) as bars, bars.aside():
        pass
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.4, "3 s"), (88, "88 s"), (130, "2 minutes"), (6000, "100 minutes"), (90_000, "25.0 hours")],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_quiet_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(quiet=True) as progress:
        progress("survey", 1.0)
    assert capsys.readouterr() == ("", "")


def test_warnings_of_libraries_are_repeated_once(
    cmcr: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    set_verbosity(0, quiet=False)
    logging.captureWarnings(True)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for _ in range(3):
            warnings.warn("the sky is falling", stacklevel=1)
            logging.getLogger("rasterio").warning("CPLE: odd tag")
            logging.getLogger("cmcr").warning("row done")
    printed = capsys.readouterr().err
    assert printed.count("UserWarning: the sky") == printed.count("CPLE: odd tag") == 1
    assert printed.count("row done") == 3


@pytest.mark.parametrize(
    ("verbose", "quiet", "heard"), [(0, False, 2), (1, False, 3), (2, False, 4), (0, True, 1)]
)
def test_verbosity(
    cmcr: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    verbose: int,
    quiet: bool,
    heard: int,
) -> None:
    set_verbosity(verbose, quiet)
    log = logging.getLogger("cmcr")
    for say in (log.error, log.warning, log.info, log.debug):
        say("something")
    assert capsys.readouterr().err.splitlines() == ["cmcr: something"] * heard


def test_json_takes_paths(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"path": Path("a") / "b"})
    assert json.loads(capsys.readouterr().out) == {"path": "a/b"}


def test_json_lists_warnings_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"warnings": (NoRadarWarning("none"),)})
    assert json.loads(capsys.readouterr().out) == {"warnings": [{"kind": "NoRadarWarning", "text": "none"}]}


def test_an_interrupt_in_a_callback_is_not_lost() -> None:
    class Last:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    set_verbosity(0, quiet=True)
    last = Last()
    try:
        del last  # Python can raise nothing here
        with pytest.raises(KeyboardInterrupt):
            for _ in range(300):  # a single long sleep is not woken
                time.sleep(0.1)
    finally:
        signal.signal(signal.SIGTERM, before)
