"""What `--reference` takes: a path, or PATH@YYYY-MM-DD. Without libraries, since the options read it."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from cmcr_cli.errors import OptionError

DATED = re.compile(r"(.+)@(\d{4}-\d{2}-\d{2})", re.DOTALL)


def split_date(entry: str) -> tuple[str, date | None]:
    """Split an entry into its path and the date that it states.

    Args:
        entry: PATH or PATH@YYYY-MM-DD. A file or folder of that whole name wins.

    Returns:
        The path, and the date; None where it states none.

    Raises:
        OptionError: There is no path, or the calendar has no such day.
    """
    if not entry:
        raise OptionError("--reference is empty; expected a path, or PATH@YYYY-MM-DD. Leave it out.")
    found = DATED.fullmatch(entry)
    if found is None or _exists(entry):
        return entry, None
    try:
        return found[1], date.fromisoformat(found[2])
    except ValueError as error:
        raise OptionError(
            f"--reference {entry}: {found[2]} is not a date ({error}); expected PATH@YYYY-MM-DD, such as "
            "june.tif@2024-06-01."
        ) from None


def path_of_entry(entry: str) -> str:
    """Take the path of an entry.

    Args:
        entry: PATH or PATH@YYYY-MM-DD, whether there is such a day or not.

    Returns:
        The path.
    """
    found = DATED.fullmatch(entry)
    return entry if found is None or _exists(entry) else found[1]


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # a name that no file can have
        return False
