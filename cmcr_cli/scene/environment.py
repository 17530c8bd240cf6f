"""Settings of GDAL in the environment that would stop a run in its end, or spoil it in silence."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from rasterio.env import get_gdal_config

from cmcr_cli.errors import OptionError

MOST_THREADS = 1024
"""GDAL starts no more."""

COMPLETE = {"GTIFF_IGNORE_READ_ERRORS": "NO"}
"""For every file that is read: a damaged one is refused, whatever the environment says."""


def check_environment() -> None:
    """Look at what GDAL would only use when the work is done.

    Raises:
        OptionError: A setting means nothing, or names a folder that cannot be used.
    """
    threads = _setting("GDAL_NUM_THREADS")
    if threads is not None and not (
        threads.upper() == "ALL_CPUS"
        or (re.fullmatch(r"\d{1,4}", threads, re.ASCII) and 1 <= int(threads) <= MOST_THREADS)
    ):
        raise OptionError(
            f"GDAL_NUM_THREADS is {threads!r}; expected ALL_CPUS or a number of 1 to {MOST_THREADS}. Set or "
            "unset it in the environment."
        )
    folder = _setting("CPL_TMPDIR")
    if folder is None:
        return
    try:
        # Trying is surer than asking for permission bits: file systems can be mounted read-only.
        with tempfile.TemporaryFile(dir=Path(folder)):
            pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise OptionError(
            f"CPL_TMPDIR is {folder!r}, where no file can be created ({why}); expected a writable folder for "
            "GDAL's temporary files. Create it, or unset CPL_TMPDIR in the environment."
        ) from error


def _setting(name: str) -> str | None:
    found = get_gdal_config(name, normalize=False)
    return None if found is None else str(found)
