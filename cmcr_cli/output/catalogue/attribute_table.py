"""Names of classes inside a COG: the raster attribute table, which GDAL writes there from version 3.12 on.

GDAL 3.12 and later read it from an item of the TIFF tag GDAL_METADATA; older ones ignore it. rasterio 1.4
cannot set one, and older versions of GDAL would write it to a file beside the COG. So an item of the same
length keeps its place until the COG is written, and nothing moves when the table replaces it.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

NAME = "DEFAULT_RASTER_ATTRIBUTE_TABLE"
"""Of the item, as GDAL reads it."""

ROLE = ' role="rat"'

FILL = "-"


def reserve(dataset: Any, table: str) -> None:
    """Keep a place for a table.

    Args:
        dataset: An open raster of one band.
        table: The table, XML.
    """
    dataset.update_tags(1, **{NAME: _filling(table)})


def embed(path: Path, table: str) -> None:
    """Put a table into its place.

    Args:
        path: The COG, which was copied from a raster with this place.
        table: The table, XML.
    """
    held, item = _item("", _filling(table)), _item(ROLE, table)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        if (place := content.find(held)) >= 0:
            content[place : place + len(item)] = item


def _filling(table: str) -> str:
    return FILL * len((ROLE + table).encode())


def _item(role: str, text: str) -> bytes:
    return f'<Item name="{NAME}" sample="0"{role}>{text}</Item>'.encode()
