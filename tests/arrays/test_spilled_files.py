from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.array as da
import numpy as np
import pytest
import rasterio
import xarray as xr

from cmcr_cli.arrays import spilled_files
from cmcr_cli.arrays.array_layers import image_of
from cmcr_cli.arrays.spilled_files import check_room, merged, windows, write_image
from cmcr_cli.errors import InputError, OutputError
from tests.support.arrays import like_odc_stac, like_rioxarray, like_stackstac

SPACE = {"x": 10.0 * np.arange(300) + 5, "y": 3000.0 - 10 * np.arange(290) - 5, "epsg": 32631}


def lazy(compute: Any = None, chunks: Any = (1, 120, 77), **attrs: Any) -> xr.DataArray:
    """Two bands of 290 x 300 px, of which every pixel is another one."""
    pixels = da.from_array(np.arange(2 * 290 * 300, dtype="int32").reshape(2, 290, 300), chunks=chunks)
    pixels = pixels if compute is None else pixels.map_blocks(compute, dtype=pixels.dtype)
    return xr.DataArray(pixels, dims=("band", "y", "x"), coords=SPACE, attrs=attrs)


@pytest.mark.parametrize("make", [
    like_rioxarray, like_stackstac, lambda path: like_stackstac(path, centres=True), like_odc_stac,
    lambda path: like_odc_stac(path, chunks={"x": 33, "y": 29}, upwards=True),
    lambda path: like_odc_stac(path).isel(x=slice(None, None, -1)),
])  # fmt: skip
def test_an_array_becomes_the_file_that_it_was(make: Any, make_scene: Any, tmp_path: Path) -> None:
    """Pixels, grid and nodata; so that what is made of it is the same too."""
    path = make_scene(44, 40, nodata=0).s2
    image = image_of(make(path), "ds", "image")
    write_image(image, tmp_path / "ds")
    with rasterio.open(path) as before, rasterio.open(tmp_path / "ds") as after:
        stored, written = before.read(), after.read()
        gone = np.isnan(written) if image.dtype.kind == "f" else written == 0
        assert np.array_equal(gone, stored == 0) and np.array_equal(written[~gone], stored[~gone])
        assert after.transform == before.transform and after.crs == before.crs
        np.testing.assert_equal(after.nodata, np.nan if image.dtype.kind == "f" else 0)


@pytest.mark.parametrize(("block", "depth"), [(1, 1), (40_000, 1), (2**27, 1), (40_000, 2)])
def test_every_chunk_is_computed_once(
    block: int, depth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where chunks hold several layers, which are written one by one."""
    monkeypatch.setattr(spilled_files, "BLOCK_BYTES", block)
    computed: list[tuple[int, ...]] = []

    def seen(pixels: Any) -> Any:
        computed.append(pixels.shape)
        return pixels

    array = lazy(seen, (depth, 120, 77), scale_factor=0.0001, add_offset=-0.1, PLACE="here")
    done: list[int] = []
    write_image(image_of(array, "ds", "image"), tmp_path / "ds", done.append)
    assert len([shape for shape in computed if np.prod(shape) > 1]) == 2 // depth * 3 * 4
    assert sum(done) == 2 * 290 * 300 * 4 and max(done) <= max(block, 120 * 77 * 4)
    with rasterio.open(tmp_path / "ds") as file:
        assert np.array_equal(file.read().ravel(), np.arange(2 * 290 * 300))
        assert file.scales == (0.0001,) * 2 and file.offsets == (-0.1,) * 2 and file.tags()["PLACE"] == "here"


def test_windows_of_an_array_in_memory_are_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spilled_files, "BLOCK_BYTES", 100 * 300 * 2 * 4)
    found = list(windows(image_of(lazy().compute(), "ds", "image")))
    assert found == [(slice(top, min(top + 100, 290)), slice(0, 300)) for top in (0, 100, 200)]


def test_chunks_are_joined_up_to_a_size() -> None:
    assert list(merged((5, 5, 5, 20, 1), 10)) == [slice(0, 10), slice(10, 15), slice(15, 35), slice(35, 36)]
    assert list(merged((0, 4, 0), 10)) == [slice(0, 4)]


def test_an_array_that_cannot_be_computed_or_is_another_one() -> None:
    def fails(pixels: Any) -> Any:
        if pixels.size > 1:  # Dask tries it on nothing first
            raise ConnectionError("the server is gone")
        return pixels

    cases = {
        "rows 0 to 290 cannot be computed .ConnectionError: the server is gone": fails,
        r"holds float64 pixels .*; expected int32 .*map_blocks": lambda pixels: pixels / 2,
        "cannot be computed|expected int32": lambda pixels: pixels[:, :5],
    }
    for words, compute in cases.items():
        with pytest.raises(InputError, match=f"^ds: .*({words})"):
            write_image(image_of(lazy(compute), "ds", "image"), Path("/vsimem/never"))


def test_a_full_disk_is_told_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_room(tmp_path, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2e9))
    with pytest.raises(OutputError, match=r"has 2\.0 GB of free space; expected 3\.0 GB .*TMPDIR"):
        check_room(tmp_path, 3 * 10**9)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"temporary file of ds cannot be written .*; expected room"):
        write_image(image_of(lazy(), "ds", "image"), tmp_path / "gone" / "ds")
