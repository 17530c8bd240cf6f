"""Tables of the documentation whose rows are shown by cases of tests."""

from __future__ import annotations

from pathlib import Path

PRODUCTS = Path(__file__).resolve().parents[2] / "docs" / "products.md"


def cases_of_table(column: str) -> set[str]:
    """Read the labels in the last column of a table of docs/products.md.

    Args:
        column: Heading of its second column; the first is `tool`, the last `case`.

    Returns:
        The labels. Each row must have one.
    """
    text = PRODUCTS.read_text(encoding="utf-8")
    table = text[text.index(f"| tool | {column} |") :].partition("\n\n")[0]
    rows = [row.rstrip("| ").rpartition("|")[2] for row in table.splitlines()]
    assert rows[0].strip() == "case" and len(rows) > 8 and all(row.strip() for row in rows)
    return {label.strip() for row in rows[2:] for label in row.split(";")}
