from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.shutil import copy as gdal_copy

from cmcr_cli.output.cog_check import laid_out, overviews_fit


def cog(
    folder: Path, pixels: NDArray[Any], *, resampling: str, bigtiff: str = "NO", masked: bool = False,
    **profile: Any,
) -> Path:  # fmt: skip
    """A COG of `pixels` (H, W) with overviews down to 64 px."""
    size = {"height": pixels.shape[0], "width": pixels.shape[1], "count": 1, "dtype": pixels.dtype}
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)}
    with rasterio.open(folder / "rows.tif", "w", driver="GTiff", **place, **size, **profile) as file:
        file.write(pixels, 1)
        if masked:
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"):
                file.write_mask(pixels > 2000)
    path = folder / "cog.tif"
    options = {
        "BLOCKSIZE": "128",
        "OVERVIEW_RESAMPLING": resampling,
        "OVERVIEW_COUNT": "2",
        "BIGTIFF": bigtiff,
    }
    gdal_copy(folder / "rows.tif", path, driver="COG", **options)
    return path


def fit(path: Path) -> bool:
    with rasterio.open(path.with_name("rows.tif")) as rows:
        return overviews_fit(path, rows)


def noisy(height: int, width: int, dtype: str) -> NDArray[Any]:
    values = np.random.default_rng(height).normal(3000, 900, (height, width)).clip(1, 9000)
    return values.astype(dtype)


@pytest.mark.parametrize("size", [(512, 512), (501, 333), (257, 800)])
@pytest.mark.parametrize(
    ("dtype", "resampling"), [("uint16", "AVERAGE"), ("uint8", "NEAREST"), ("float32", "AVERAGE")]
)
def test_overviews_of_gdal_fit(tmp_path: Path, size: tuple[int, int], dtype: str, resampling: str) -> None:
    pixels = noisy(*size, dtype)
    pixels[:, : size[1] // 3] = 0
    assert fit(cog(tmp_path, pixels, resampling=resampling, nodata=0))


def test_nodata_that_is_not_a_number(tmp_path: Path) -> None:
    pixels = noisy(400, 300, "float32")
    pixels[100:333, 51:] = np.nan
    assert fit(cog(tmp_path, pixels, resampling="AVERAGE", nodata=np.nan))


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("content", ["nothing", "another tile"])
def test_a_tile_that_is_missing_or_another_is_found(tmp_path: Path, level: int, content: str) -> None:
    pixels = noisy(1024, 1024, "uint16")
    pixels[512:] += 9000
    path = cog(tmp_path, pixels, resampling="AVERAGE", nodata=0)
    with rasterio.open(path, "r+", overview_level=level, IGNORE_COG_LAYOUT_BREAK="YES") as file:
        side = file.height // 2
        tile = file.read(1, window=((side, 2 * side), (0, side)))
        file.write(tile * 0 if content == "nothing" else tile - 9000, 1, window=((0, side), (0, side))[::-1])
    assert not fit(path)


def test_a_band_that_is_stored_alone_is_checked_too(tmp_path: Path) -> None:
    """GDAL stores bands one after the other where INTERLEAVE=BAND asks for it, from 3.11 on."""
    pixels = np.stack([noisy(512, 512, "uint16")] * 2)
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)}
    size = {"height": 512, "width": 512, "count": 2, "dtype": "uint16", "tiled": True, "interleave": "band"}
    with rasterio.open(tmp_path / "cog.tif", "w", driver="GTiff", **place, **size) as file:
        file.write(pixels)
        file.build_overviews([2], Resampling.average)
    with rasterio.open(tmp_path / "cog.tif") as rows:
        assert overviews_fit(tmp_path / "cog.tif", rows)
    with rasterio.open(tmp_path / "cog.tif", "r+", overview_level=0) as file:
        file.write(np.full((256, 256), 9999, np.uint16), 2)
    with rasterio.open(tmp_path / "cog.tif") as rows:
        assert not overviews_fit(tmp_path / "cog.tif", rows)


@pytest.mark.parametrize("big", ["NO", "YES"])
@pytest.mark.parametrize("masked", [False, True])
def test_tiles_that_readers_cannot_find_are_noticed(tmp_path: Path, big: str, masked: bool) -> None:
    pixels = noisy(501, 333, "uint16")
    path = cog(tmp_path, pixels, resampling="AVERAGE", nodata=0, bigtiff=big, masked=masked)
    assert laid_out(path)
    whole = path.read_bytes()
    with rasterio.open(path) as file:
        places = [int(file.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1, **at)) for at in ({}, {"ovr": 0})]
    for place in (*places, whole.index(b"EDITION=NO") + 8):
        path.write_bytes(whole[: place - 1] + bytes([whole[place - 1] ^ 1]) + whole[place:])
        assert not laid_out(path)
    for size in (0, 7, 300, len(whole) - 2):
        path.write_bytes(whole[:size])
        assert not laid_out(path)
