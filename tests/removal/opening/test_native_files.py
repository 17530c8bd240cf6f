from __future__ import annotations

from pathlib import Path

import pytest
from rasterio import Affine
from rasterio.crs import CRS

from cmcr_cli.removal.opening.native_files import native_name
from cmcr_cli.scene.grid import Grid


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        (
            "S2A_MSIL2A_20250601T101031_N0511_R022_T33UUP_20250601T151510.SAFE",
            "T33UUP_20250601T101031_B05_20m",
        ),
        ("S2C_MSIL1C_20250601T101031_N0511_R022_T33UUP_20250601T151510.SAFE", "T33UUP_20250601T101031_B05"),
        ("S2B_MSIL2A_20240601T102031_R065_T31UFU_20240601T223232", "T31UFU_20240601T102031_B05_20m"),
        ("S2A_31UFU_20240601_0_L2A", "clear.v2_B05_20m"),
        ("", "clear.v2_B05_20m"),
    ],
)
def test_names_are_those_of_products(uri: str, name: str) -> None:
    grid = Grid(CRS.from_epsg(32633), Affine(20, 0, 300_000, 0, -20, 5_900_000), 10, 10)
    tags = {"PRODUCT_URI": uri} if uri else {}
    assert native_name(tags, "B05", grid, Path("somewhere/clear.v2.tif")) == name


def test_sizes_are_metres_on_the_ground() -> None:
    degrees = Grid(CRS.from_epsg(4326), Affine(0.00018, 0, 5, 0, -0.00018, 0.1), 10, 10)
    assert native_name({}, "B05", degrees, Path("a.tif")) == "a_B05_20m"
