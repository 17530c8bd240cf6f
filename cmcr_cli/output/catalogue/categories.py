"""What the values of a raster of classes mean, and the colours in which a GIS shows them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from cmcr_cli.output.provenance import NO_SOURCE, NODATA, OBSERVED, RECONSTRUCTED, WITH_REFERENCE
from cmcr_cli.scene.masks.mask_codes import CloudClass

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""


@dataclass(frozen=True, slots=True)
class Category:
    """A value of a raster of classes.

    Attributes:
        value: In the raster.
        name: For people.
        colour: In which it is shown; None: not at all.
    """

    value: int
    name: str
    colour: Colour | None

    @property
    def hexadecimal(self) -> str:
        """The colour as RRGGBB; grey for a value that is not shown."""
        return "{:02x}{:02x}{:02x}".format(*(self.colour or (153, 153, 153)))


Categories = tuple[Category, ...]

GREEN, ORANGE, BLUE = (63, 143, 91), (232, 105, 44), (47, 120, 196)

PROVENANCE: Categories = (
    Category(NODATA, "nodata", None),
    Category(OBSERVED, "observed", GREEN),
    Category(RECONSTRUCTED, "reconstructed", ORANGE),
    Category(WITH_REFERENCE, "reconstructed with a reference", BLUE),
)
"""Values of a provenance raster; the report has the same colours."""

MASK_NODATA = 255
"""In a mask of `cmcr mask`: no measurement."""

MASK: Categories = (
    Category(CloudClass.CLEAR, "clear", GREEN),
    Category(CloudClass.THICK, "thick cloud", (245, 245, 245)),
    Category(CloudClass.THIN, "thin cloud or cirrus", (120, 190, 230)),
    Category(CloudClass.SHADOW, "shadow", (70, 50, 110)),
    Category(MASK_NODATA, "nodata", None),
)
"""Values of a mask that `cmcr mask` writes."""

SOURCES: tuple[Colour, ...] = (BLUE, (214, 168, 40), (160, 70, 150), (30, 150, 140))
"""Of the first, second, ... reference; then again from the first."""


def source_categories(references: Sequence[str]) -> Categories:
    """Values of a raster of `--source-date`.

    Args:
        references: Date and name of each reference.

    Returns:
        0 for none, the number of each reference, and nodata.
    """
    numbered = (
        Category(number, text, SOURCES[(number - 1) % len(SOURCES)])
        for number, text in enumerate(references, 1)
    )
    return (Category(0, "no reference", (200, 200, 200)), *numbered, Category(NO_SOURCE, "nodata", None))


def meaning(categories: Categories) -> str:
    """Say what the values mean in one line, for tags.

    Args:
        categories: The values.

    Returns:
        Values and names, such as `1 observed, 2 reconstructed`.
    """
    return ", ".join(f"{each.value} {each.name}" for each in categories)


def colour_table(categories: Categories) -> dict[int, tuple[int, int, int, int]]:
    """Make a colour table of GDAL.

    Args:
        categories: The values.

    Returns:
        Red, green, blue and alpha of every value.
    """
    return {
        each.value: (*(each.colour or (0, 0, 0)), 0 if each.colour is None else 255) for each in categories
    }


def attribute_table(categories: Categories) -> str:
    """Make a raster attribute table of GDAL: values, names and colours.

    Args:
        categories: The values.

    Returns:
        XML, as GDAL stores it.
    """
    # Name, type (0 integer, 2 text) and usage, which are numbers of GDALRATFieldUsage.
    columns = (
        ("Value", 0, 5),
        ("Class", 2, 2),
        ("Red", 0, 6),
        ("Green", 0, 7),
        ("Blue", 0, 8),
        ("Alpha", 0, 9),
    )
    fields = "".join(
        f'<FieldDefn index="{index}"><Name>{name}</Name><Type>{kind}</Type><Usage>{usage}</Usage></FieldDefn>'
        for index, (name, kind, usage) in enumerate(columns)
    )
    colours = colour_table(categories)
    rows = "".join(
        f'<Row index="{index}">'
        + "".join(f"<F>{text}</F>" for text in (int(each.value), escape(each.name), *colours[each.value]))
        + "</Row>"
        for index, each in enumerate(categories)
    )
    return f'<GDALRasterAttributeTable tableType="thematic">{fields}{rows}</GDALRasterAttributeTable>'


def stac_classes(categories: Categories) -> list[dict[str, Any]]:
    """Describe the values as STAC's classification extension does.

    Args:
        categories: The values.

    Returns:
        Contents of `classification:classes`.
    """
    return [
        {
            "value": int(each.value),
            "name": re.sub(r"[^0-9A-Za-z]+", "_", each.name).strip("_"),
            "description": each.name,
            "color_hint": each.hexadecimal.upper(),
            "nodata": each.colour is None,
        }
        for each in categories
    ]
