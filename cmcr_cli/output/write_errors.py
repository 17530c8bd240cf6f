"""Errors of GDAL while an output is written, told as ours."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rasterio.crs import CPLE_BaseError  # the public module that has it; rasterio.errors does not
from rasterio.errors import RasterioError

from cmcr_cli.errors import OutputError

GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError, SystemError)
"""Errors that rasterio raises when GDAL cannot write; SystemError is its "unknown GDAL error"."""

PROBE = 64 * 2**10
"""Bytes that are written to find out whether a disk is full; what is still being freed may leave a little."""


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn GDAL's errors into OutputError.

    The size of its block cache is part of GDAL's environment in which inputs are open; a change here would
    empty the cache.

    Args:
        path: The output, for messages.

    Yields:
        Nothing; errors of what is done meanwhile are turned.

    Raises:
        OutputError: GDAL could not write.
    """
    try:
        yield
    except OutputError:
        raise
    except GDAL_ERRORS as error:
        why = str(error) if isinstance(error, OSError) and error.errno else _no_room(path) or str(error)
        raise OutputError(
            f"{path}: cannot be written ({why}); expected room for about four times the output. "
            "Free some space, or choose another folder with -o."
        ) from error


def _no_room(path: Path) -> str | None:
    """Why nothing can be written beside `path`; None when something can. GDAL does not say it."""
    try:
        with tempfile.TemporaryFile(dir=path.parent) as file:
            file.write(bytes(PROBE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return str(error)
    return None


@contextmanager
def gdal_warnings() -> Iterator[list[str]]:
    """Collect what GDAL warns of through rasterio's logger, whatever level the program has set for it.

    Yields:
        The warnings so far; more are added as they come.
    """
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("rasterio._env")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
