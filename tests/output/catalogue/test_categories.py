from __future__ import annotations

import re

from cmcr_cli.output.catalogue.categories import (
    MASK,
    PROVENANCE,
    colour_table,
    meaning,
    source_categories,
    stac_classes,
)


def test_meanings_are_those_that_masks_are_known_by() -> None:
    assert meaning(PROVENANCE) == "0 nodata, 1 observed, 2 reconstructed, 3 reconstructed with a reference"
    assert meaning(MASK) == "0 clear, 1 thick cloud, 2 thin cloud or cirrus, 3 shadow, 255 nodata"


def test_references_have_their_names_and_colours() -> None:
    found = source_categories([f"2024-06-0{n} s2.tif" for n in range(1, 7)])
    assert [each.value for each in found] == [0, 1, 2, 3, 4, 5, 6, 255]
    assert found[3].name == "2024-06-03 s2.tif" and len({each.colour for each in found[1:5]}) == 4


def test_nodata_is_transparent_and_all_else_is_not() -> None:
    table = colour_table(MASK)
    assert table[255] == (0, 0, 0, 0) and {table[value][3] for value in range(4)} == {255}
    assert len({table[value] for value in range(4)}) == 4


def test_names_are_words_in_a_catalogue() -> None:
    classes = stac_classes(source_categories(["2024-06-01 a <b>.tif"]))
    assert all(re.fullmatch("[0-9A-Za-z_]+", each["name"]) for each in classes)
    assert classes[1] == {
        "value": 1, "name": "2024_06_01_a_b_tif", "description": "2024-06-01 a <b>.tif",
        "color_hint": "2F78C4", "nodata": False,
    }  # fmt: skip
    assert classes[-1]["nodata"]
