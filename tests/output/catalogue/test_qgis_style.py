from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rasterio import Affine
from rasterio.crs import CRS

from cmcr_cli.output.catalogue.categories import MASK, source_categories
from cmcr_cli.output.catalogue.qgis_style import style_of
from cmcr_cli.output.cog_spec import OutputSpec
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.radiometry import Radiometry

GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 600000, 0, -10, 5900040), 28, 30)
IMAGE = OutputSpec(Path("a.tif"), GRID, 13, "uint16", descriptions=BANDS)


def renderer(*args: Any) -> ElementTree.Element:
    found = ElementTree.fromstring(style_of(*args).decode()).find("pipe/rasterrenderer")
    assert found is not None
    return found


def test_classes_are_listed_with_names_and_colours() -> None:
    shown = renderer(OutputSpec(Path("a.tif"), GRID, 1, "uint8", categories=MASK))
    entries = [dict(each.attrib) for each in shown.iter("paletteEntry")]
    assert shown.get("type") == "paletted" and [each["value"] for each in entries] == ["0", "1", "2", "3"]
    assert entries[1] == {"value": "1", "color": "#f5f5f5", "alpha": "255", "label": "thick cloud"}


def test_names_from_files_are_text() -> None:
    odd = 'a "b" <c> & d.tif'
    shown = renderer(OutputSpec(Path("a.tif"), GRID, 1, "uint8", categories=source_categories([odd])))
    assert [each.get("label") for each in shown.iter("paletteEntry")] == ["no reference", odd]


@pytest.mark.parametrize(
    ("scales", "radiometry", "limits"),
    [
        ((1e-4,) * 13, Radiometry(-1000), ("0", "0.3")),
        ((1.0,) * 13, Radiometry(-1000), ("1000", "4000")),
        ((), Radiometry(), ("0", "3000")),
        ((), Radiometry(0, 1), ("0", "0.3")),
    ],
)
def test_an_image_has_natural_colours_in_the_units_that_qgis_shows(
    scales: tuple[float, ...], radiometry: Radiometry, limits: tuple[str, str]
) -> None:
    shown = renderer(replace(IMAGE, scales=scales), radiometry)
    assert [shown.get(f"{colour}Band") for colour in ("red", "green", "blue")] == ["4", "3", "2"]
    for colour in ("red", "green", "blue"):
        stretch = shown.find(f"{colour}ContrastEnhancement")
        assert stretch is not None
        assert (stretch.findtext("minValue"), stretch.findtext("maxValue")) == limits


@pytest.mark.parametrize(("dtype", "bright"), [("uint8", "100"), ("float32", "0.05")])
def test_other_rasters_are_grey(dtype: str, bright: str) -> None:
    shown = renderer(OutputSpec(Path("a.tif"), GRID, 2, dtype))
    assert (shown.get("type"), shown.findtext("contrastEnhancement/maxValue")) == ("singlebandgray", bright)
