from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio import Affine
from rasterio.crs import CRS

from cmcr_cli.errors import OptionError
from cmcr_cli.option_texts import creation_options_of
from cmcr_cli.output.catalogue.categories import PROVENANCE
from cmcr_cli.output.cog import StripWriter
from cmcr_cli.output.cog_spec import OutputSpec, check_creation_options, cog_options, try_writing
from cmcr_cli.scene.grid import Grid

GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 600000, 0, -10, 5900040), 280, 301)


def _optical(path: Path, **changes: Any) -> OutputSpec:
    return OutputSpec(path, GRID, 13, "uint16", nodata=0, **changes)


def test_classes_are_never_averaged() -> None:
    image = OutputSpec(Path("a.tif"), GRID, 1, "uint8")
    classes = OutputSpec(Path("a.tif"), GRID, 1, "uint8", categories=PROVENANCE)
    per_cent = OutputSpec(Path("a.tif"), GRID, 1, "uint8", categorical=True)
    found = [cog_options(spec)["OVERVIEW_RESAMPLING"] for spec in (image, classes, per_cent)]
    assert found == ["AVERAGE", "NEAREST", "NEAREST"]


def test_writing_is_tried_in_memory(tmp_path: Path) -> None:
    seconds, size = try_writing(_optical(tmp_path / "a.tif"), np.ones((13, 40, 280), np.uint16))
    assert seconds > 0 and size > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("FOO=BAR", "does not support creation option FOO"),
        ("COMPRESS=NOPE", "NOPE"),
        ("LEVEL=99", "99"),
        ("BLOCKSIZE=abc", "multiple of 16"),
        ("BLOCKSIZE=130", "multiple of 16"),
        ("BLOCKSIZE=64", "multiple of 16"),
        ("OVERVIEW_RESAMPLING=abc", "ABC"),
        ("COMPRESS=JPEG", "JPEG"),
        ("TILING_SCHEME=GoogleMapsCompatible", "changes the grid"),
        ("TARGET_SRS=EPSG:4326", "changes the grid"),
    ],
)
def test_creation_options_that_gdal_ignores_or_that_harm_are_refused(
    tmp_path: Path, option: str, told: str
) -> None:
    logger = logging.getLogger("rasterio")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    spec = _optical(tmp_path / "out.tif", creation_options=creation_options_of([option]))
    try:
        with pytest.raises(OptionError, match=told) as caught, StripWriter(spec):
            pass
    finally:
        logger.setLevel(level)
    assert option.partition("=")[0] in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_lossy_compression_is_refused(tmp_path: Path) -> None:
    lossy = {"COMPRESS": "LERC", "MAX_Z_ERROR": "5"}
    with pytest.raises(OptionError, match="lossless"):
        check_creation_options(_optical(tmp_path / "out.tif", creation_options=lossy))
