from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from cmcr_cli.errors import InputError
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.training.library import ClearImage, Library, load_library, load_triplets, opacity


def image_of(library: Library, size: int) -> list[ClearImage]:
    """All images of the place that is `size` pixels wide."""
    return [image for place in library.places for image in place if image.optical.shape[2] == size]


def test_triplets_by_split(data: Path) -> None:
    assert set(load_triplets(data, "train")) == {"one", "two"}
    val = load_triplets(data, "val")
    assert set(val) == {"three"}
    pair = val["three"]
    for values, name in ((pair.cloudy, "s2_cloudy"), (pair.clear, "s2_clear")):
        with rasterio.open(data / "triplets" / "three" / f"{name}.tif") as file:
            np.testing.assert_allclose(values, file.read() / 10_000, rtol=1e-6)
        assert values.dtype == np.float32
    assert pair.opacity.shape == (64, 64)


def test_radar_of_exactly_zero_is_not_valid(data: Path) -> None:
    radar = load_triplets(data, "val")["three"].radar
    assert radar is not None
    assert np.isnan(radar[:, :4, :4]).all()
    assert np.isfinite(radar[:, 4:]).all()


def test_library_holds_the_training_split_and_the_pairs(data: Path, library: Library) -> None:
    assert len(library.pairs) == 3
    assert len(library.places) == 4
    radar = [pair.radar is not None for pair in library.pairs]
    assert radar == [True, True, False]
    clear = load_triplets(data, "train")["one"].clear
    np.testing.assert_array_equal(library.places[0][0].optical, clear)
    kept_aside = load_triplets(data, "val")["three"]
    for place in library.places:
        for image in place:
            assert not np.array_equal(image.optical, kept_aside.clear)


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


def test_pairs_without_cloud_are_ground_only(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pairs_s2"
    shutil.copytree(data / "pairs_s2" / "four", folder / "cloudy")
    (folder / "clear").mkdir()
    for name in ("s2_cloudy.tif", "s2_clear.tif"):
        shutil.copy(folder / "cloudy" / "s2_clear.tif", folder / "clear" / name)
    library = load_library(tmp_path)
    assert (len(library.places), len(library.pairs)) == (2, 1)


@pytest.mark.parametrize("part", ["", "places"])
def test_folders_without_pairs_are_refused(data: Path, tmp_path: Path, part: str) -> None:
    if part:
        shutil.copytree(data / part, tmp_path / part)
    with pytest.raises(InputError, match=r"0 cloudy/clear pairs.*triplets/"):
        load_library(tmp_path)


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


def test_opacity_of_a_known_cloud() -> None:
    clear = np.full((13, 64, 64), 0.1, np.float32)
    alpha = np.zeros((64, 64), np.float32)
    alpha[:20], alpha[20:40] = 1, 0.5
    cloudy = clear + alpha * (0.8 - clear)
    found = opacity(cloudy, clear)
    np.testing.assert_allclose(found[:15], 1, atol=0.02)
    np.testing.assert_allclose(found[25:35], 0.5, atol=0.02)
    assert not found[45:].any()


def test_a_field_turned_red_is_no_cloud() -> None:
    clear = np.full((13, 64, 64), 0.1, np.float32)
    bare = clear.copy()
    bare[BANDS.index("B04")] = 0.4
    assert not opacity(bare, clear).any()
    assert not opacity(0.5 * clear, clear).any()


def test_real_validation_scenes_never_enter_the_training(shared_data: Path) -> None:
    with (shared_data / "triplets" / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    scenes = {split: {row["scene"] for row in rows if row["split"] == split} for split in ("train", "val")}
    assert scenes["val"] and not scenes["train"] & scenes["val"]
    library = load_library(shared_data)
    assert len(library.pairs) >= 10
    images = [image.optical for place in library.places for image in place]
    images += [values for pair in library.pairs for values in (pair.clear, pair.cloudy)]
    corners = {values[:, :8, :8].tobytes() for values in images}
    assert len(corners) > 0.5 * len(images)
    for pair in load_triplets(shared_data, "train").values():
        assert pair.clear[:, :8, :8].tobytes() in corners
    for pair in load_triplets(shared_data, "val").values():
        for values in (pair.clear, pair.cloudy):
            assert values[:, :8, :8].tobytes() not in corners
    assert all(np.isfinite(values).all() and values.min() >= 0 for values in images)
    assert all(image.present[[1, 2, 3, 7]].all() for place in library.places for image in place)
