from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.enums import Resampling

from cmcr_cli.errors import InputError
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.raster import Source, aligned, is_complete, open_raster, read_bytes, read_start

if TYPE_CHECKING:
    from tests.support.rasters import Write

PIXELS = np.random.default_rng(2).integers(1, 5000, (3, 90, 70)).astype(np.uint16)


def test_rows_and_bands_of_a_raster_on_the_grid(write: Write) -> None:
    with open_raster(write("s2.tif", PIXELS), "an image") as dataset:
        grid = Grid.from_dataset(dataset)
        with aligned(dataset, "s2.tif", grid, (1, 3), resampling=Resampling.nearest) as source:
            assert isinstance(source, Source) and not source.warped
            assert np.array_equal(source.read(7, 20), PIXELS[[0, 2], 7:27])
            assert np.array_equal(source.read(7, 20, [1]), PIXELS[2:, 7:27])
            assert np.array_equal(np.concatenate(list(source.strips()), axis=1), PIXELS[[0, 2]])
            assert set(source.sample()[0].tolist()) <= set(PIXELS[0].ravel().tolist())


def test_another_grid_is_warped_as_it_is_read(write: Write) -> None:
    with open_raster(write("s2.tif", PIXELS), "an image") as dataset:
        grid = Grid.from_dataset(dataset)
        moved = Grid(grid.crs, grid.transform * Affine.translation(10, 5), 30, 40)
        with aligned(dataset, "s2.tif", moved, (1,), resampling=Resampling.nearest) as source:
            assert source.warped and np.array_equal(source.read(0, 40), PIXELS[:1, 5:45, 10:40])


@pytest.mark.parametrize("content", [None, b"", b"no raster at all"])
def test_what_is_no_raster_is_an_input_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "s2.tif"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"s2\.tif.*expected"), open_raster(path, "an image"):
        pass
    assert not is_complete(path)


def test_a_truncated_file_is_named_with_its_rows(write: Write) -> None:
    path = write("s2.tif", PIXELS)
    assert is_complete(path)
    path.write_bytes(path.read_bytes()[:-9000])
    assert not is_complete(path)
    with open_raster(path, "an image") as dataset:
        grid = Grid.from_dataset(dataset)
        with (
            aligned(dataset, path, grid, (1, 2, 3), resampling=Resampling.nearest) as source,
            pytest.raises(InputError, match=r"s2\.tif: rows 80 to 90 cannot be read"),
        ):
            source.read(80, 10)


def test_small_files_are_read_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(b"<a/>" * 50)
    assert read_bytes(str(path), 200) == b"<a/>" * 50
    assert read_start(path, "metadata", 5) == b"<a/><"
    with rasterio.MemoryFile(b"<b/>" * 50) as memory:
        assert read_bytes(memory.name, 1000) == b"<b/>" * 50
    for most in (10, 199):
        with pytest.raises(InputError, match=r"a\.xml"):
            read_bytes(str(path), most)
    with pytest.raises(InputError, match=r"gone\.xml"):
        read_bytes(str(tmp_path / "gone.xml"), 10)
