from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rasterio
from rasterio import Affine
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate

from cmcr_cli.output.catalogue.attribute_table import embed
from cmcr_cli.output.catalogue.categories import attribute_table, source_categories
from cmcr_cli.output.cog import StripWriter
from cmcr_cli.output.cog_spec import OutputSpec
from cmcr_cli.scene.grid import Grid

CATEGORIES = source_categories(['2024-06-01 <a> & "é".tif', "2024-05-02 雲.tif"])
GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 600000, 0, -10, 5900040), 600, 30)


def test_a_cog_holds_the_names_of_its_classes(tmp_path: Path) -> None:
    """As GDAL 3.12 reads them; GDAL 3.12.1 was seen to. Older ones see the raster as it was."""
    path = tmp_path / "classes.tif"
    pixels = np.zeros((1, 30, 600), np.uint8)
    with StripWriter(OutputSpec(path, GRID, 1, "uint8", nodata=255, categories=CATEGORIES)) as writer:
        writer.write(pixels)
    assert [each.name for each in tmp_path.iterdir()] == ["classes.tif"]
    assert cog_validate(path, strict=True) == (True, [], [])
    (item,) = re.findall(rb"<Item name=\"DEFAULT_RASTER_ATTRIBUTE_TABLE\".*?</Item>", path.read_bytes(), re.S)
    table = ElementTree.fromstring(item.decode())
    assert table.attrib == {"name": "DEFAULT_RASTER_ATTRIBUTE_TABLE", "sample": "0", "role": "rat"}
    rows = [[cell.text for cell in row] for row in table.iter("Row")]
    assert [row[:2] for row in rows] == [[str(each.value), each.name] for each in CATEGORIES]
    assert rows[1][2:] == ["47", "120", "196", "255"] and rows[-1][-1] == "0"
    with rasterio.open(path) as dataset:
        assert not any(name.startswith("DEFAULT") for name in dataset.tags(1))
        assert np.array_equal(dataset.read(), pixels)


def test_a_file_without_a_place_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.tif"
    path.write_bytes(b"nothing of the kind")
    embed(path, attribute_table(CATEGORIES))
    assert path.read_bytes() == b"nothing of the kind"
