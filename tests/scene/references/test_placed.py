from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.windows import Window
from scipy import ndimage

from cmcr_cli.errors import OverlapError, RadiometryError
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.optical import open_optical
from tests.support.rasters import CORNER, UTM31, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.rasters import Write

__all__ = ["write"]

SIZE = 90
GRID = Grid(CRS.from_string(UTM31), CORNER, SIZE, SIZE)


def moved(down: float, right: float, *, metres: float = 10, size: int = SIZE) -> Grid:
    """The grid of a scene whose first pixel is `down` and `right` pixels of 10 m from the image's."""
    a, _, c, _, e, f = CORNER[:6]
    return Grid(GRID.crs, Affine(metres, 0, c + a * right, 0, -metres, f + e * down), size, size)


@pytest.fixture(scope="module")
def dn() -> NDArray[np.uint16]:
    """Smooth ground in 13 bands, B10 almost 0, one corner nodata."""
    noise = np.random.default_rng(2).normal(size=(13, SIZE, SIZE))
    ground = 3000 + 4000 * ndimage.gaussian_filter(noise, (0, 4, 4))
    ground[10] = 0
    ground[:, :30, :40] = 0
    return np.rint(ground).astype(np.uint16)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (7, -12), (-30, 50)])
def test_whole_pixels_are_copied(write: Write, dn: NDArray[Any], down: int, right: int) -> None:
    with open_optical(write("s2.tif", dn), onto=moved(down, right)) as optical:
        assert (optical.grid, optical.source.warped) == (moved(down, right), False)
        found = np.concatenate([optical.read(top, 18) for top in range(0, SIZE, 18)], axis=1)
        part = optical.read(20, 5, ["B04", "B02"])
    whole = np.zeros((13, 3 * SIZE, 3 * SIZE), np.uint16)
    whole[:, SIZE : 2 * SIZE, SIZE : 2 * SIZE] = dn
    expected = whole[:, SIZE + down : 2 * SIZE + down, SIZE + right : 2 * SIZE + right]
    assert np.array_equal(found, expected)
    assert np.array_equal(part, expected[[3, 1], 20:25])


@pytest.mark.parametrize(
    ("grid", "warped"),
    [
        (moved(0.3, -0.6), False),
        (moved(-20.25, 10.5), False),
        (moved(0, 0, metres=20, size=45), True),
        (moved(3, 3, metres=5, size=150), True),
    ],
)
def test_values_between_pixels(write: Write, dn: NDArray[Any], grid: Grid, warped: bool) -> None:
    """Close to those of the ground, none from nodata, and nodata outside."""
    with open_optical(write("s2.tif", dn), onto=grid) as optical:
        assert (optical.source.warped, optical.grid) == (warped, grid)
        found = optical.read(0, grid.height)
        valid = optical.valid(found)
    step = grid.transform.a / 10
    rows = (np.arange(grid.height) + 0.5) * step - 0.5 + (CORNER.f - grid.transform.f) / 10
    columns = (np.arange(grid.width) + 0.5) * step - 0.5 + (grid.transform.c - CORNER.c) / 10
    places = np.meshgrid(rows, columns, indexing="ij")
    filled = dn.astype(float)
    filled[:10, :30, :40] = filled[11:, :30, :40] = 3000  # hidden by nodata, so of no influence
    expected = np.stack([ndimage.map_coordinates(band, places, order=3, mode="nearest") for band in filled])
    near = ndimage.map_coordinates((dn[0] > 0).astype(float), places, order=0, cval=0)
    inner = ndimage.binary_erosion(near > 0, iterations=3)
    off = np.abs(found - expected)[np.arange(13) != 10]
    assert off[:, inner].max() < (120 if warped else 40)
    assert found[np.arange(13) != 10][:, valid].min() > 1500, "nodata bleeds into its neighbours"
    assert (valid != (near > 0)).mean() < 0.02
    assert found[10].max() <= 1


def test_another_zone_is_warped(write: Write, dn: NDArray[Any]) -> None:
    west = write("s2.tif", dn)
    with open_optical(west, onto=GRID) as optical:
        there = optical.grid.footprint(CRS.from_epsg(32632))
    left, _, _, top = there.bounds
    grid = Grid(CRS.from_epsg(32632), Affine(10, 0, round(left), 0, -10, round(top)), 110, 110)
    with open_optical(west, onto=grid) as optical:
        assert optical.source.warped and optical.grid == grid
        found = optical.read(0, 110)
        assert 0.5 < optical.valid(found).mean() < 0.7
        assert found[0, optical.valid(found)].min() > 1500
        assert optical.source.files == [str(west)]


@pytest.mark.parametrize("shift", [(10.0, -20.0), (6.0, 3.0)])
def test_a_shift_is_undone(write: Write, dn: NDArray[Any], shift: tuple[float, float]) -> None:
    """The image is georeferenced where it is not: `shift` to the east and north."""
    path = write("s2.tif", dn, transform=Affine(10, 0, CORNER.c + shift[0], 0, -10, CORNER.f + shift[1]))
    with open_optical(path, onto=GRID) as before, open_optical(path, onto=GRID, shift=shift) as after:
        wrong, right = before.read(0, SIZE), after.read(0, SIZE)
    assert np.array_equal(right, dn)
    assert not np.array_equal(wrong, dn)


def test_products_are_moved_row_by_row(make_product: Callable[..., Any]) -> None:
    product = make_product()
    with open_optical(product.folder) as optical:
        grid = optical.grid
    for down, right in ((-11, 6), (1.5, 0.25)):
        _, _, left, _, _, top = grid.transform[:6]
        target = replace(grid, transform=Affine(10, 0, left + 10 * right, 0, -10, top - 10 * down))
        with open_optical(product.folder, onto=target) as optical:
            strips = [optical.read(top, min(35, 240 - top)) for top in range(0, 240, 35)]
            windows = optical.source.window
            assert windows is not None
            whole = windows(Window(0, 0, 240, 240), range(12))
            assert optical.source.sample().shape[0] == 12
        assert np.array_equal(np.concatenate(strips, axis=1), whole)
    assert np.array_equal(whole[:, 100:200, 100:200] > 0, product.dn[:, 101:201, 100:200] > 0)


def test_other_ground_is_refused(write: Write, dn: NDArray[Any]) -> None:
    with (
        pytest.raises(OverlapError, match=r"covers 0\.0% of the scene"),
        open_optical(write("s2.tif", dn), onto=moved(0, SIZE)),
    ):
        pass


@pytest.mark.parametrize("names", [("B02", "B03", "B04"), ("B08", "B04", "B03")])
def test_a_reference_may_have_fewer_bands_than_a_scene(write: Write, dn: NDArray[Any], names: Any) -> None:
    path = write("s2.tif", dn[:3], descriptions=names)
    with open_optical(path, onto=GRID) as optical:
        assert optical.names == names
    with pytest.raises(RadiometryError, match="B08 or B02 B03 B04 B8A are needed"), open_optical(path):
        pass
    path = write("few.tif", dn[:2].repeat(2, 0)[:3], descriptions=("B02", "B03", "B08"))
    with pytest.raises(RadiometryError, match="B02 B03 B04 or B03 B04 B08"), open_optical(path, onto=GRID):
        pass
