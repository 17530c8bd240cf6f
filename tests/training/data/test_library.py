from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.training.data.library import Library, load_library, load_pairs


def test_library_holds_the_training_split_and_the_pairs(data: Path, library: Library) -> None:
    assert len(library.pairs) == 3
    assert len(library.places) == 4
    radar = [pair.radar is not None for pair in library.pairs]
    assert radar == [True, True, False]
    clear = load_pairs(data, "train")["one"].clear
    np.testing.assert_array_equal(library.places[0][0].optical, clear)
    kept_aside = load_pairs(data, "val")["three"]
    for place in library.places:
        for image in place:
            assert not np.array_equal(image.optical, kept_aside.clear)


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


def test_folders_that_are_not_there_are_said(tmp_path: Path) -> None:
    for load in (load_library, lambda folder: load_pairs(folder, "val")):
        with pytest.raises(InputError, match="no such folder"):
            load(tmp_path / "nowhere")


def test_the_legacy_rule_is_for_sen12mscr_only(data: Path) -> None:
    with pytest.raises(OptionError, match=r"--split-rule legacy: found no SEN12MS-CR"):
        load_library(data, "legacy")


def test_real_validation_scenes_never_enter_the_training(shared_data: Path, real_library: Library) -> None:
    with (shared_data / "triplets" / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    scenes = {split: {row["scene"] for row in rows if row["split"] == split} for split in ("train", "val")}
    assert scenes["val"] and not scenes["train"] & scenes["val"]
    assert len(real_library.pairs) >= 10
    images = [image.optical for place in real_library.places for image in place]
    images += [values for pair in real_library.pairs for values in (pair.clear, pair.cloudy)]
    corners = {values[:, :8, :8].tobytes() for values in images}
    assert len(corners) > 0.5 * len(images)
    for pair in load_pairs(shared_data, "train").values():
        assert pair.clear[:, :8, :8].tobytes() in corners
    for pair in load_pairs(shared_data, "val").values():
        for values in (pair.clear, pair.cloudy):
            assert values[:, :8, :8].tobytes() not in corners
    assert all(np.isfinite(values).all() and values.min() >= 0 for values in images)
    assert all(image.present[[1, 2, 3]].all() for place in real_library.places for image in place)
