from __future__ import annotations

import signal
import sys
import threading
import time
from contextlib import suppress

import pytest

from cmcr_cli.cli import stopping


def test_handlers_are_those_of_the_last_listen() -> None:
    before = {number: signal.getsignal(number) for number in stopping.STOPS}
    try:
        stopping.listen()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGXCPU)
        assert signal.getsignal(signal.SIGXCPU) is signal.SIG_IGN  # it comes again every second
        stopping.leave()
        assert signal.getsignal(signal.SIGTERM) is stopping._leave
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_nothing_is_listened_to_outside_of_the_main_thread() -> None:
    before = {number: signal.getsignal(number) for number in stopping.STOPS}
    thread = threading.Thread(target=stopping.listen)
    thread.start()
    thread.join()
    assert {number: signal.getsignal(number) for number in stopping.STOPS} == before


def test_streams_that_are_none_get_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    monkeypatch.setattr("sys.stderr", None)
    stopping.open_streams()
    with sys.stdin, sys.stderr:
        assert sys.stdin.read() == "" and sys.stderr.write("lost") == 4


def test_an_interrupt_that_somebody_swallows_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """But it leaves those in peace who tidy up on account of it, and whatever comes after the run."""
    before = {number: signal.getsignal(number) for number in stopping.STOPS}
    monkeypatch.setattr(stopping, "PATIENCE", 0.02)
    tidied = False
    try:
        stopping.listen()
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            try:
                time.sleep(20)
            finally:
                time.sleep(0.2)
                tidied = True
                stopping.end()
        time.sleep(0.1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert tidied and stopping.is_stopped()


def test_an_interrupt_where_none_can_be_raised_comes_a_little_later(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in what C calls while modules are imported; other errors there are printed as before."""

    class Deleted:
        def __init__(self, error: type[BaseException]) -> None:
            self.error = error

        def __del__(self) -> None:
            raise self.error

    before = {number: signal.getsignal(number) for number in stopping.STOPS}
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # so that it returns
    try:
        stopping.listen()
        Deleted(ZeroDivisionError)
        assert "ZeroDivisionError" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            try:
                Deleted(KeyboardInterrupt)
                time.sleep(20)
            finally:
                stopping.end()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert capfd.readouterr().err == ""


def test_a_run_that_says_that_it_was_stopped_is_not_stopped_again() -> None:
    before = {number: signal.getsignal(number) for number in stopping.STOPS}
    try:
        stopping.listen()
        stopping.hush()
        signal.raise_signal(signal.SIGTERM)
        stopping.listen()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    finally:
        stopping.end()
        for number, handler in before.items():
            signal.signal(number, handler)
