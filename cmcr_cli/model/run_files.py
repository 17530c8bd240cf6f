"""Files of a training run: each takes its name when it is complete, and a full disk is one error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from cmcr_cli.errors import OutputError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the disk into OutputError.

    Args:
        path: File or folder that is written, for messages.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"{path}: cannot be written ({error}); expected a writable folder with free space. Free some, "
            "and give the same command again, or choose another folder."
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replace a file by one that is complete and synchronized to disk.

    Args:
        path: The file; it need not exist.

    Yields:
        Path of the file to write, beside it; nothing is left of it after an error.

    Raises:
        OutputError: It cannot be written.
    """
    part = path.with_name(path.name + ".part")
    with writing(path):
        try:
            yield part
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
