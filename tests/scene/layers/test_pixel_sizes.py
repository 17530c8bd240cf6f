from __future__ import annotations

import pytest
from rasterio import Affine
from rasterio.crs import CRS

from cmcr_cli.errors import InputError
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.layers.pixel_sizes import check_pixel_size


def grid(
    width: float, height: float, epsg: int = 32631, west: float = 600000, north: float = 5900040
) -> Grid:
    return Grid(CRS.from_epsg(epsg), Affine(width, 0, west, 0, -height, north), 40, 40)


@pytest.mark.parametrize("metres", [8.0, 10.0, 12.5])
def test_what_the_networks_know_is_said_nothing_of(metres: float) -> None:
    assert check_pixel_size(grid(metres, metres), "s2.tif") == ()


@pytest.mark.parametrize(
    ("width", "height", "shown"),
    [(7.9, 7.9, "7.9 m"), (20, 20, "20 m"), (65, 60, "65 x 60 m"), (10, 20, "10 x 20 m")],
)
def test_other_sizes_are_reported(width: float, height: float, shown: str) -> None:
    (told,) = check_pixel_size(grid(width, height), "s2.tif")
    assert str(told).startswith(f"pixels are of {shown}: the networks were trained on 10 m")


def test_degrees_are_metres_on_the_ground() -> None:
    (told,) = check_pixel_size(grid(1e-4, 1e-4, 4326, 5.0, 60.0), "s2.tif")
    assert "5.58 x 11.1 m" in str(told)


@pytest.mark.parametrize(("width", "height"), [(66, 66), (10, 70)])
def test_pixels_of_other_satellites_are_refused(width: float, height: float) -> None:
    with pytest.raises(InputError, match=r"s2\.tif: has pixels of .*or 60 m at most.*gdalwarp -tr 10 10"):
        check_pixel_size(grid(width, height), "s2.tif")
