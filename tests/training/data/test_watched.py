from __future__ import annotations

import logging
import sys

import pytest

from cmcr_cli.training.data.watched import watched


@pytest.mark.parametrize("terminal", [False, True])
def test_what_is_read_is_shown(
    terminal: bool,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a bar on a terminal, else as one line."""
    caplog.set_level(logging.WARNING, "cmcr")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert list(watched("abc", "series", 3)) == ["a", "b", "c"]
    assert ("reading series" in capsys.readouterr().err) == terminal
    assert [record.message for record in caplog.records] == ([] if terminal else ["reading 3 series"])


def test_other_processes_and_quiet_commands_say_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("RANK", "1")
        assert list(watched("ab", "series", 2)) == ["a", "b"]
    with caplog.at_level(logging.ERROR, "cmcr"):
        assert list(watched("ab", "series", 2)) == ["a", "b"]
    assert list(watched("", "series", 0)) == [] and not caplog.records
