from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.windows import Window
from scipy import ndimage

from cmcr_cli.errors import GridMismatchError, InputError
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.masks.mask_raster import CloudClass, dilated, open_mask

if TYPE_CHECKING:
    from tests.support.rasters import Write

CLEAR, THICK, THIN, SHADOW = CloudClass

GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 600000, 0, -10, 5900040), 60, 80)
AT_20_M = Affine(20, 0, 600000, 0, -20, 5900040)


def codes(high: int, height: int = 80, width: int = 60) -> NDArray[np.uint8]:
    return np.random.default_rng(high).integers(0, high, (height, width)).astype(np.uint8)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_binary_mask_comes_as_it_is(write: Write, dtype: str) -> None:
    stored = codes(2).astype(dtype)
    with open_mask(write("mask.tif", stored), GRID) as mask:
        assert mask.scheme.name == "binary"
        covered = mask.read(10, 25)
    assert covered.dtype == np.uint8
    assert np.array_equal(covered, stored[10:35])


def test_one_bit_mask(write: Write) -> None:
    stored = codes(2)
    with open_mask(write("mask.tif", stored, nbits=1), GRID) as mask:
        assert np.array_equal(mask.read(0, 80), stored)


def scl_classes(stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
    thick = np.isin(stored, [8, 9])
    return np.select([stored == 3, thick, stored == 10], [SHADOW, THICK, THIN], CLEAR).astype(np.uint8)


def test_scl_covers_shadow_cloud_and_cirrus(write: Write) -> None:
    stored = codes(12)
    with open_mask(write("scl.tif", stored, nodata=0), GRID) as mask:
        assert mask.scheme.name == "scl" and "SCL" in str(mask.warnings[0])
        assert np.array_equal(mask.read(0, 80), scl_classes(stored))


def own(path: Path) -> Path:
    """The mask as `cmcr mask` tags it."""
    with rasterio.open(path, "r+") as file:
        file.update_tags(CMCR_VALUES="0 clear, 1 cloud or shadow, 2 thin cirrus, 255 nodata")
    return path


def test_our_own_masks_are_read_as_they_are(write: Write) -> None:
    stored = codes(4)
    stored[70:] = 255
    with open_mask(own(write("mask.tif", stored, nodata=255)), GRID) as mask:
        assert mask.scheme.name == "cmcr" and "2 thin cloud" in str(mask.warnings[0])
        assert np.array_equal(mask.read(0, 80), np.where(stored == 255, CLEAR, stored))


def test_classes_grow_into_clear_ground_only_and_cloud_before_shadow(write: Write) -> None:
    stored = np.zeros((80, 60), np.uint8)
    stored[20, 20], stored[20, 26], stored[20, 29], stored[26, 23] = THIN, THICK, THIN, SHADOW
    with open_mask(own(write("mask.tif", stored, nodata=255)), GRID, dilate=4) as mask:
        grown = np.concatenate([mask.read(0, 19), mask.read(19, 61)])
    near = {code: ndimage.distance_transform_edt(stored != code) <= 4 for code in (THICK, THIN, SHADOW)}
    expected = np.select([near[THICK], near[THIN], near[SHADOW]], [THICK, THIN, SHADOW], CLEAR)
    expected[stored > 0] = stored[stored > 0]
    assert np.array_equal(grown, expected)
    assert near[THICK][20, 29] and grown[20, 29] == THIN, "thin cloud beside thick cloud stays thin"
    overlaps = [
        near[a] & near[b] & (stored == 0) for a, b in ((THICK, THIN), (THIN, SHADOW), (THICK, SHADOW))
    ]
    assert all(overlap.any() for overlap in overlaps)


def test_a_mask_that_does_not_grow_is_not_copied() -> None:
    stored = np.ones((6, 5), np.uint8)
    assert dilated(lambda top, rows: stored[top : top + rows], 6, 0, 2, 3).base is stored


def test_scl_at_20_m_is_repeated_over_2_x_2_pixels(write: Write) -> None:
    stored = codes(12, 40, 30)
    with open_mask(write("scl.tif", stored, transform=AT_20_M), GRID) as mask:
        covered = np.concatenate([mask.read(0, 33), mask.read(33, 47)])
        assert "20 m" in str(mask.warnings[1])
    assert np.array_equal(covered, scl_classes(stored).repeat(2, axis=0).repeat(2, axis=1))


def test_scl_that_is_nodata_wherever_sampled_is_still_scl(write: Write) -> None:
    stored = np.zeros((2000, 130), dtype=np.uint8)
    stored[200, 7] = 9
    grid = Grid(GRID.crs, GRID.transform, 130, 2000)
    with open_mask(write("scl.tif", stored), grid) as mask:
        assert mask.scheme.name == "scl" and len(mask.warnings) == 1
        assert mask.read(200, 1).sum() == 1


@pytest.mark.parametrize(("nodata", "dtype"), [(255, "uint8"), (-1, "int16"), (float("nan"), "float32")])
def test_nodata_is_not_covered(write: Write, nodata: float, dtype: str) -> None:
    stored = codes(2).astype(dtype)
    stored[:10] = nodata
    with open_mask(write("mask.tif", stored, nodata=nodata), GRID) as mask:
        covered = mask.read(0, 80)
    assert not covered[:10].any()
    assert np.array_equal(covered[10:], stored[10:])


@pytest.mark.parametrize("value", [255.0, 12.0, 1.5, -1.0, float("nan")])
def test_other_values_are_refused(write: Write, value: float) -> None:
    stored = codes(2).astype(np.float32)
    stored[40] = value
    with (
        pytest.raises(InputError, match=rf"holds .*{value:g}.*--mask-codes"),
        open_mask(write("m.tif", stored), GRID),
    ):
        pass


def test_other_values_beyond_the_sample_are_refused_when_read(write: Write) -> None:
    stored: NDArray[Any] = np.full((2000, 130), 4, dtype=np.uint8)
    stored[0, 0], stored[200] = 9, 77
    grid = Grid(GRID.crs, GRID.transform, 130, 2000)
    with open_mask(write("scl.tif", stored), grid) as mask, pytest.raises(InputError, match="holds 77"):
        mask.read(190, 20)


def test_mask_must_cover_the_scene(write: Write) -> None:
    with (
        pytest.raises(GridMismatchError, match=r"mask covers 50\.0%"),
        open_mask(write("mask.tif", codes(2)[:40]), GRID),
    ):
        pass


def test_mask_that_ends_within_the_last_pixel(write: Write) -> None:
    scene = Grid(GRID.crs, GRID.transform, 401, 400)
    path = write("scl.tif", np.full((200, 200), 4, np.uint8), transform=AT_20_M, nodata=4)
    with open_mask(path, scene) as mask:
        assert not mask.read(0, 400).any()
    path = write("mask.tif", np.ones((200, 200), np.uint8), transform=AT_20_M)
    with open_mask(path, scene, codes="binary") as mask:
        covered = mask.read(0, 400)
    assert (covered[:, :400] == 1).all() and (covered[:, 400] == 0).all()


def test_mask_of_several_bands_and_missing_mask(write: Write, tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="2 bands"),
        open_mask(write("m.tif", np.stack([codes(2)] * 2)), GRID),
    ):
        pass
    with pytest.raises(InputError, match="cloud mask"), open_mask(tmp_path / "absent.tif", GRID):
        pass


def test_real_scl(shared_data: Path) -> None:
    (scl,) = shared_data.glob("scenes/safe/S2A_MSIL2A_20221005*/GRANULE/*/IMG_DATA/R20m/*SCL*")
    grid = Grid(CRS.from_epsg(32629), Affine(10, 0, 499980, 0, -10, 5900040), 10980, 10980)
    with rasterio.open(scl) as dataset:
        stored = dataset.read(1, window=Window(0, 3000, 5490, 100))
    with open_mask(scl, grid) as mask:
        assert mask.scheme.name == "scl"
        covered = mask.read(6000, 200)
    assert 0 < (covered > 0).mean() < 1
    assert np.array_equal(covered[::2, ::2], scl_classes(stored))


@pytest.mark.parametrize("name", ["MSK_CLASSI_B00", "MSK_CLDPRB_60m"])
def test_real_masks_of_the_product(shared_data: Path, name: str) -> None:
    (path,) = shared_data.glob(f"scenes/safe/S2A_MSIL2A_20221005*/GRANULE/*/QI_DATA/{name}.jp2")
    grid = Grid(CRS.from_epsg(32629), Affine(10, 0, 499980, 0, -10, 5900040), 10980, 10980)
    with rasterio.open(path) as dataset:
        stored = dataset.read(window=Window(0, 1000, 1830, 30))
    with open_mask(path, grid) as mask:
        covered = mask.read(6000, 180)[::6, ::6]
    expected = np.where(stored[0] >= 40, THICK, CLEAR)
    if len(stored) == 3:
        expected = np.select([stored[0] == 1, stored[1] == 1], [THICK, THIN], CLEAR)
    assert np.array_equal(covered, expected) and expected.any()


def test_classes_grow_by_metres_where_pixels_are_not_square() -> None:
    stored = np.zeros((21, 21), np.uint8)
    stored[10, 10] = CloudClass.THICK
    grown = dilated(lambda top, rows: stored[top : top + rows], 21, 4, 0, 21, 0.5)
    assert np.ptp(np.flatnonzero(grown.any(axis=1))) == 8
    assert np.ptp(np.flatnonzero(grown.any(axis=0))) == 16
