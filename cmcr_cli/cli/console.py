"""Log lines, warnings and progress on stderr; results on stdout."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TextIO

import typer

from cmcr_cli.addresses import public
from cmcr_cli.cli.stopping import stop_again
from cmcr_cli.errors import OutputError
from cmcr_cli.warning_kinds import CmcrWarning

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

log = logging.getLogger("cmcr")

Progress = Callable[[str, float], None]
"""Called with the name of a stage and the part of it that is done, 0 to 1."""


class _Handler(logging.Handler):
    """Prints to what sys.stderr is at the time, so that a progress bar can move out of the way."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        # A line break in a message may come from a file; those of tracebacks and warnings are Python's own.
        whole = record.exc_info or record.name == "py.warnings"
        say(text if whole else " ".join(text.splitlines()))


class _Once(logging.Filter):
    """Lets every message of a library pass once: many are repeated for each window that is read."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "cmcr":
            return True
        message = record.getMessage()
        new = message not in self._seen
        self._seen.add(message)
        return new


def set_verbosity(verbose: int, quiet: bool) -> None:
    """Send log lines and captured warnings to stderr.

    Args:
        verbose: How many more levels of messages are printed.
        quiet: Whether only errors are printed.
    """
    handler = _Handler()
    handler.addFilter(_Once())
    level = logging.ERROR if quiet else logging.WARNING
    logging.basicConfig(format="cmcr: %(message)s", level=level, handlers=[handler], force=True)
    log.setLevel(max(level - 10 * verbose, logging.DEBUG))
    # rasterio prints a traceback when GDAL reports a damaged file in text that is not UTF-8, and continues.
    # Here, since typer has a hook of its own for exceptions, which never get that far.
    sys.excepthook = lambda _kind, error, _trace: _lost(error)
    sys.unraisablehook = lambda ignored: _lost(ignored.exc_value)


def _lost(error: BaseException | None) -> None:
    """Log an exception where none can be raised, as in a callback of GDAL; an interrupt is repeated."""
    log.debug("ignored", exc_info=error)
    if isinstance(error, KeyboardInterrupt):
        stop_again()


def printable(text: str, stream: TextIO | None = None) -> str:
    """Escape whatever could control a terminal, or does not fit the encoding of a stream; leave out secrets.

    Names, tags and descriptions come from files, and files from anywhere. Line breaks and tabs stay.

    Args:
        text: The text.
        stream: Where it will be printed.

    Returns:
        The escaped text.
    """
    shown = "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in public(text)
    )
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def say(text: str) -> None:
    """Print a line on stderr. A closed or broken stderr does not stop the work.

    Args:
        text: The line.
    """
    try:
        if sys.stderr is not None:  # Python would take stdout instead
            print(printable(text, sys.stderr), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        sys.stderr = _null()


def echo(text: str) -> None:
    """Print a line of results on stdout; a reader that went away ends the command quietly.

    Args:
        text: The line.

    Raises:
        OutputError: stdout takes no more, as on a full disk.
    """
    try:
        typer.echo(printable(text, sys.stdout))
    except BrokenPipeError:
        raise
    except OSError as error:
        sys.stdout = _null()  # which Python flushes at its end
        raise OutputError(
            f"standard output: cannot be written ({error.strerror}); expected room for the results. Free "
            "some, or redirect them."
        ) from error


def _null() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123


def print_json(value: DataclassInstance | dict[str, Any]) -> None:
    """Print one JSON object on stdout. Paths become strings, and warnings objects of kind and text.

    Args:
        value: A dataclass or a dictionary.
    """
    plain = value if isinstance(value, dict) else asdict(value)
    echo(json.dumps(plain, indent=2, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, CmcrWarning):
        return {"kind": type(value).__name__, "text": str(value)}
    return str(value)


def print_warnings(found: Iterable[CmcrWarning], where: str = "") -> None:
    """Print the warnings of a run on stderr.

    Args:
        found: The warnings.
        where: What precedes each of them.
    """
    for each in found:
        log.warning("warning: %s%s", where, each)


@contextmanager
def show_progress(quiet: bool) -> Iterator[Progress]:
    """Show progress on stderr: a bar on a terminal, else a line per tenth of a stage.

    Args:
        quiet: Whether to show nothing.

    Yields:
        The function to call with the name of a stage and the part of it that is done, 0 to 1.
    """
    if quiet:
        yield lambda stage, done: None
        return
    bar = _bars()
    if bar is None:
        yield _lines()
        return
    with bar:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: float) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=1.0)
            bar.update(tasks[stage], completed=done)

        yield show


class BatchBars:
    """Two bars on a terminal: scenes that are done, and the stage of the one at work."""

    def __init__(self, bar: Any, scenes: int) -> None:
        """Bars that show nothing yet.

        Args:
            bar: Of rich; None: nothing is shown.
            scenes: Number of scenes.
        """
        self._bar = bar
        self._whole = None if bar is None else bar.add_task("scenes", total=scenes)
        self._part = None if bar is None else bar.add_task("", total=1.0, visible=False)

    def show(self, stage: str, done: float) -> None:
        """Show the stage of the scene at work.

        Args:
            stage: Its name.
            done: Part of it that is done, 0 to 1.
        """
        if self._bar is not None:
            self._bar.update(self._part, description=stage, completed=done, visible=True)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Count a scene as done, and leave the terminal to others as long as the context lasts.

        Yields:
            Nothing; the bars are hidden meanwhile.
        """
        if self._bar is None:
            yield
            return
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.advance(self._whole)
            self._bar.reset(self._part, visible=False)
            self._bar.start()


@contextmanager
def show_batch(scenes: int, quiet: bool) -> Iterator[BatchBars]:
    """Show the progress of many scenes on stderr, on a terminal only: elsewhere each has its line of results.

    Args:
        scenes: Number of scenes.
        quiet: Whether to show nothing.

    Yields:
        The bars.
    """
    bar = None if quiet else _bars()
    with nullcontext() if bar is None else bar:
        yield BatchBars(bar, scenes)


def _bars() -> Any:
    """Bars of rich on stderr; None where that is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_interactive:
        return None
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    # Results may go to a file while the bars are on a terminal.
    return Progress(*columns, console=console, transient=True, redirect_stdout=False)


def duration(seconds: float) -> str:
    """Write a time for people.

    Args:
        seconds: The time.

    Returns:
        Seconds, minutes or hours, with the digits that an estimate deserves.
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 180 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def _lines() -> Progress:
    tenths: dict[str, int] = {}

    def show(stage: str, done: float) -> None:
        tenth = int(10 * done)
        if tenth > tenths.get(stage, 0):
            tenths[stage] = tenth
            say(f"cmcr: {stage} {10 * tenth} %")

    return show
