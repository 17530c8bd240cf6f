"""Processes that do not outlive the test that starts them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def started(command: Sequence[str], **settings: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a process, which is killed at the end of the block.

    `Popen` as a context manager waits for it: a test that fails in the block would hang.

    Args:
        command: Program and arguments.
        settings: As for `subprocess.Popen`.

    Yields:
        The process.
    """
    with subprocess.Popen(command, text=True, **settings) as process:
        try:
            yield process
        finally:
            process.kill()
