"""Locks on outputs: no two runs write one file at a time."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from cmcr_cli.errors import OutputError
from cmcr_cli.output.files import folder_of, lock_of, put_back

if sys.platform != "win32":
    import fcntl


@contextmanager
def locked(outputs: Iterable[Path]) -> Iterator[None]:
    """Hold a lock for each output until the context is left or the process ends, however it ends.

    Nothing is locked where the system, or the file system of the output, has no such locks.

    Args:
        outputs: The outputs.

    Raises:
        OutputError: Another run holds one of the locks.
    """
    if sys.platform == "win32":
        yield
        return
    with ExitStack() as stack:
        for output in outputs:
            stack.enter_context(_locked(output))
        yield


def restore_old(paths: Sequence[Path]) -> None:
    """Restore the old set where a run was killed amid its renames, so that it is not in the way.

    Args:
        paths: The set, which is left as it is while another run writes it.
    """
    if any(folder_of(path).is_dir() for path in paths):
        with contextlib.suppress(OSError, OutputError), locked(paths):
            put_back(paths)


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    path = lock_of(output)
    try:
        file = _lock(path)
    except BlockingIOError as error:
        raise OutputError(
            f"{output}: another run is writing it; wait for its end, or choose another name with -o"
        ) from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error}); choose another folder with -o") from error
    with file:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # an empty file that is left is no lock
                path.unlink()


def _opened(path: Path) -> IO[bytes]:
    """The lock file, opened or made; OSError for anything that is not an empty file, such as a link."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+b")
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or found.st_size:
        file.close()
        raise OSError("a file of this name is there already, and it is not cmcr's")
    return file


def _lock(path: Path) -> IO[bytes]:
    """The open file `path` under a lock; BlockingIOError when another process has it."""
    while True:
        file = _opened(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise
        except OSError:  # a file system without locks
            return file
        # Whoever had the lock may have removed the file between the two calls: others would lock a new one.
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        file.close()
