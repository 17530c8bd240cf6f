"""Locks on outputs: no two runs write one file at a time."""

from __future__ import annotations

import contextlib
import errno
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cmcr_cli.errors import OutputError
from cmcr_cli.output.files import folder_of, lock_of, put_back, with_members

PATIENCE, RETRY = 0.2, 0.02
"""Seconds in which a lock is tried, and between two tries: whoever had it may have just removed its file."""

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of file systems that have no locks."""


@contextmanager
def locked(outputs: Iterable[Path]) -> Iterator[None]:
    """Hold a lock for each output until the context is left or the process ends, however it ends.

    Nothing is locked where the file system of the output has no locks. Locked as well is what a killed run
    has left of the same set, since it will be put back: another run may be writing that by now.

    Args:
        outputs: The outputs.

    Yields:
        Nothing; the locks are held meanwhile.

    Raises:
        OutputError: Another run holds one of the locks.
    """
    with ExitStack() as stack:
        for output in with_members(list(outputs)):
            stack.enter_context(_locked(output))
        yield


def restore_old(paths: Sequence[Path]) -> None:
    """Restore the old set where a run was killed amid its renames, so that it is not in the way.

    Args:
        paths: The set, which is left as it is while another run writes it.
    """
    with contextlib.suppress(OSError, OutputError):  # also where nobody may look
        if any(folder_of(path).is_dir() for path in paths):
            with locked(paths):
                put_back(paths)


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    path = lock_of(output)
    # A lock of the other kind that filelock offers would stay behind a run that is killed.
    lock = FileLock(path, timeout=PATIENCE, poll_interval=RETRY, fallback_to_soft=False)
    try:
        _check_ours(path)
        lock.acquire()
    except Timeout as error:
        raise OutputError(
            f"{output}: another run is writing it; wait for its end, or choose another name with -o"
        ) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise OutputError(
                f"{path}: cannot be written ({error}); choose another folder with -o"
            ) from error
    try:
        yield
    finally:
        # While the lock is held, so that nobody else's file goes. An empty file that is left is no lock.
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()


def _check_ours(path: Path) -> None:
    """Raise OSError for anything that is not an empty file: filelock would lock it, and we remove it."""
    with contextlib.suppress(FileNotFoundError):
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size:
            raise OSError("a file of this name is there already, and it is not cmcr's")
