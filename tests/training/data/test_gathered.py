from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from cmcr_cli.errors import InputError
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.training.data import gathered
from cmcr_cli.training.data.images import ClearImage
from cmcr_cli.training.data.library import Library, load_library


def image_of(library: Library, size: int) -> list[ClearImage]:
    """All images of the place that is `size` pixels wide."""
    return [image for place in library.places for image in place if image.optical.shape[2] == size]


def test_triplets_by_split(data: Path) -> None:
    assert set(gathered.triplets(data, "train")) == {"one", "two"}
    val = gathered.triplets(data, "val")
    assert set(val) == {"three"}
    pair = val["three"]
    for values, name in ((pair.cloudy, "s2_cloudy"), (pair.clear, "s2_clear")):
        with rasterio.open(data / "triplets" / "three" / f"{name}.tif") as file:
            np.testing.assert_allclose(values, file.read() / 10_000, rtol=1e-6)
        assert values.dtype == np.float32
    assert pair.opacity.shape == (64, 64)


def test_radar_of_exactly_zero_is_not_valid(data: Path) -> None:
    radar = gathered.triplets(data, "val")["three"].radar
    assert radar is not None
    assert np.isnan(radar[:, :4, :4]).all()
    assert np.isfinite(radar[:, 4:]).all()


def test_series_keep_their_clear_dates_with_the_nearest_radar(library: Library) -> None:
    first, second = image_of(library, 128)
    for image in (first, second):
        assert image.optical.shape == (13, 128, 128)
        assert image.optical.dtype == np.float32
        assert not image.present[BANDS.index("B10")]
        # what was missing to 128 pixels is a reflection
        np.testing.assert_array_equal(image.optical[:, :, 100:], image.optical[:, :, 98:70:-1])
        assert image.radar is not None
    assert np.allclose(first.radar, -11), "1 June: 30 May is nearer than 2 July"
    assert np.allclose(second.radar, -10)


def test_an_index_without_its_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "triplets").mkdir()
    (tmp_path / "triplets" / "index.csv").write_text("name,split\none,train\n")
    with pytest.raises(InputError, match="no column scene"):
        gathered.triplets(tmp_path, "train")


def test_level_2a_scenes_are_cut_into_tiles(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "pairs_s2", tmp_path / "pairs_s2")
    (tmp_path / "scenes").mkdir()
    values = np.arange(12, dtype=np.uint16)[:, None, None] * np.ones((12, 300, 520), np.uint16)
    values[:, 0, 256] = 9999
    with rasterio.open(
        tmp_path / "scenes" / "somewhere_L2A_12band.tif", "w", driver="GTiff", count=12, height=300,
        width=520, dtype="uint16", crs="EPSG:32631", transform=rasterio.Affine(10, 0, 0, 0, -10, 0),
    ) as file:  # fmt: skip
        file.write(values)
    tiles = image_of(load_library(tmp_path), 256)
    assert [tile.optical.shape for tile in tiles] == [(13, 256, 256)] * 2
    for tile in tiles:
        assert tile.radar is None
        assert list(np.flatnonzero(~tile.present)) == [BANDS.index("B10")]
        np.testing.assert_allclose(
            tile.optical[:, 5, 5], [*np.arange(10) / 1e4, 0, 0.0010, 0.0011], rtol=1e-5
        )
    assert (tiles[1].optical[tile.present, 0, 0] > 0.99).all()
