"""How reports look in notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

MOST_WARNINGS = 5
"""Warnings that a table lists."""


def html_table(title: str, rows: Iterable[tuple[str, str]], warnings: Sequence[object] = ()) -> str:
    """Make a small table.

    Args:
        title: Heading.
        rows: Names and values; any text.
        warnings: Listed below; any values with a text.

    Returns:
        HTML, in which no text of the arguments is markup.
    """
    listed = [*rows, *(("warning", str(each)) for each in warnings[:MOST_WARNINGS])]
    if len(warnings) > MOST_WARNINGS:
        listed.append(("", f"{len(warnings) - MOST_WARNINGS} more warnings"))
    cells = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for name, text in listed
    )
    return f"<table><caption>{escape(title)}</caption><tbody>{cells}</tbody></table>"
