from __future__ import annotations

import defusedxml.ElementTree

from cmcr_cli.removal.results.notebook import MOST_WARNINGS, html_table


def test_texts_are_escaped_and_warnings_few() -> None:
    table = html_table("<b>", [("a & b", "<script>")], ["it's < odd"] * (MOST_WARNINGS + 2))
    assert "<script>" not in table and "<b>" not in table
    tree = defusedxml.ElementTree.fromstring(table)
    texts = ["".join(row.itertext()) for row in tree.iter("tr")]
    assert texts == ["a & b<script>", *["warningit's < odd"] * MOST_WARNINGS, "2 more warnings"]
    assert tree.findtext("caption") == "<b>"
