"""Signals that stop a run, and standard streams that are closed, seen to before anything else."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from _thread import interrupt_main, start_new_thread
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""Exit code of a run that was stopped."""

STOPS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU") if hasattr(signal, name)
)
"""Ctrl-C, a batch system's end, a terminal that is closed, and processor time that is used up."""

ONCE = ("SIGHUP", "SIGXCPU")
"""Signals that come again while a run tidies up: SIGXCPU does every second."""

RETRY = 0.05
"""Seconds after which a stop that could not be raised is tried again."""

PATIENCE = 1.0
"""Seconds after which one is raised again that nobody has noticed: libraries may catch all exceptions."""

_imports = 0
"""Imports that were under way when signals were first listened to: those of the program around cmcr."""

_stopped = False
"""Whether a signal has been raised as KeyboardInterrupt since `listen`."""

_runs = 0
"""Runs that are over, in which nothing is raised again."""

_again = False
"""Whether the next signal is one that is raised again, and no new one."""


def listen() -> None:
    """Let all signals of STOPS end a run as Ctrl-C does: KeyboardInterrupt, and exit code 130.

    Those that the shell told the process to ignore, as nohup does, stay ignored. Nothing is done outside of
    the main thread, where Python lets nobody listen.
    """
    global _imports, _stopped
    if threading.current_thread() is not threading.main_thread():
        return
    _stopped = False
    sys.unraisablehook = _lost
    _imports = _imports_in(sys._getframe())
    for number in STOPS:
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def is_stopped() -> bool:
    """Tell whether a signal has stopped the run: libraries may make any error of KeyboardInterrupt.

    Returns:
        Whether one has.
    """
    return _stopped


def end() -> None:
    """State that the run is over: no stop is raised again."""
    global _runs
    _runs += 1


def hush() -> None:
    """Ignore further signals: a stopped run has tidied up, and has only to say so."""
    done = False
    while not done:
        try:
            for number in STOPS:
                if signal.getsignal(number) is _stop:
                    signal.signal(number, _ignore)
            done = True
        except KeyboardInterrupt:
            continue


def leave() -> None:
    """Let a signal end the process at once from now on: all is done but Python's own end."""
    for number in STOPS:
        if signal.getsignal(number) is _stop:
            signal.signal(number, _leave)


def open_streams() -> None:
    """Give standard streams that are closed (`2>&-`) a place to go.

    Else the next file that is opened would take their number, and receive what libraries say; and Python
    prints on stdout what was meant for a stderr that is None.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+" if number else "r", encoding="utf-8"))  # noqa: PTH123, SIM115


def stop_again(after: float = RETRY) -> None:
    """Stop the run in a moment: KeyboardInterrupt cannot be raised here, as in an import or a callback.

    Args:
        after: Seconds.
    """

    run = _runs

    def wait_and_stop() -> None:
        global _again
        time.sleep(after)
        if _runs == run:
            _again = True
            interrupt_main(signal.SIGTERM)

    start_new_thread(wait_and_stop, ())


def _stop(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; in the middle of an import, as soon as it is over.

    Libraries that are half imported answer with an ImportError, or abort the process. Where one catches the
    interrupt and goes on, it is raised again.
    """
    global _stopped, _again
    again, _again = _again, False
    if _imports_in(frame) > _imports:
        stop_again()
        return
    if again and _stopped and _is_noticed():
        stop_again(PATIENCE)
        return
    if signal.Signals(number).name in ONCE:
        signal.signal(number, signal.SIG_IGN)
    _stopped = True
    stop_again(PATIENCE)
    raise KeyboardInterrupt


def _lost(lost: sys.UnraisableHookArgs) -> None:
    """Raise an interrupt again that came where none can be raised, as in a callback of C; print all else."""
    if isinstance(lost.exc_value, KeyboardInterrupt):
        stop_again()
    else:
        sys.__unraisablehook__(lost)


def _is_noticed() -> bool:
    """Whether the interrupt is on its way up, with somebody tidying up on account of it."""
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _ignore(number: int, frame: FrameType | None) -> None:
    pass


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)


def _imports_in(frame: FrameType | None) -> int:
    """Frames of the import system in a stack."""
    count = 0
    while frame is not None:
        count += frame.f_code.co_filename.startswith("<frozen importlib")
        frame = frame.f_back
    return count
