"""Lists as spreadsheet programs and people write them: CSV with commas, semicolons or tabs."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence

MARK = "\ufeff"
"""Byte order mark, which spreadsheet programs put before a text in UTF-8."""

SEPARATORS = (",", ";", "\t")


def cells_of(lines: Iterable[str], columns: Sequence[str]) -> list[list[str]]:
    """Split the lines of a list into cells.

    Args:
        lines: Lines; blank ones and comments (#) are skipped. A first line `sep=;`, as spreadsheet programs
            write it, states what stands between cells; else the heading tells, else the first line with a
            comma, a tab or a semicolon, in this order.
        columns: Names that a heading may have.

    Returns:
        The cells of each line.

    Raises:
        csv.Error: A quotation mark is not closed.
    """
    texts = (line.removeprefix(MARK) for line in lines)
    kept = [text for text in texts if text.strip() and not text.lstrip().startswith("#")]
    if kept and kept[0].strip().lower().startswith("sep=") and len(kept[0].rstrip("\r\n")) == len("sep=;"):
        separator = kept.pop(0).rstrip("\r\n")[-1]
    else:
        separator = _separator(kept, columns)
    return [row for row in csv.reader(kept, delimiter=separator, strict=True) if any(row)]


def _separator(lines: Sequence[str], columns: Sequence[str]) -> str:
    for separator in SEPARATORS:
        names = [name.strip().strip('"').lower() for name in (lines or [""])[0].split(separator)]
        if len(names) > 1 and set(names) <= set(columns):
            return separator
    bare = (re.sub(r'"[^"]*"', "", line) for line in lines)
    return next((each for line in bare for each in (",", "\t", ";") if each in line), ",")
