from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from cmcr_cli.simulate import SimulatedScene

Cmcr = Callable[..., Any]


def read(path: Path) -> NDArray[np.uint8]:
    with rasterio.open(path) as file:
        assert (file.dtypes, file.nodata) == (("uint8",), 255)
        pixels: NDArray[np.uint8] = file.read(1)
    return pixels


@pytest.fixture
def given(scene: SimulatedScene, weights: Path, tmp_path: Path) -> list[object]:
    return ["mask", scene.s2, "--weights", weights, "-o", tmp_path / "mask.tif"]


def test_writes_how_sure_the_network_is(
    cmcr: Cmcr, scene: SimulatedScene, given: list[object], tmp_path: Path
) -> None:
    sure = tmp_path / "sure.tif"
    ended = cmcr(*given, "--confidence", sure, "--json")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert (report["output"], report["confidence"]) == (str(tmp_path / "mask.tif"), str(sure))
    assert read(sure).max() <= 100
    assert {path.name for path in tmp_path.iterdir()} == {"mask.tif", "sure.tif"}
    with rasterio.open(sure) as file, rasterio.open(scene.s2) as s2:
        assert (file.transform, file.shape, file.crs) == (s2.transform, s2.shape, s2.crs)
        assert file.descriptions == ("confidence",) and "CMCR_VALUES" not in file.tags()
    mask = read(tmp_path / "mask.tif")
    assert cmcr(*given, "--overwrite", "--json").code == 0
    assert np.array_equal(read(tmp_path / "mask.tif"), mask)


@pytest.mark.parametrize("source", ["all", "given"])
def test_only_the_network_knows_how_sure_it_is(
    cmcr: Cmcr, given: list[object], mask: Path, tmp_path: Path, source: str
) -> None:
    other = mask if source == "given" else source
    ended = cmcr(*given, "--mask", other, "--confidence", tmp_path / "sure.tif")
    assert (ended.code, ended.out) == (2, "") and "--mask auto" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_files_that_exist(cmcr: Cmcr, given: list[object], tmp_path: Path) -> None:
    sure, output = tmp_path / "sure.tif", tmp_path / "mask.tif"
    for present, other in ((sure, output), (output, sure)):
        present.write_text("mine")
        ended = cmcr(*given, "--confidence", sure)
        assert (ended.code, ended.out) == (1, "") and "--overwrite" in ended.err and present.name in ended.err
        assert present.read_text() == "mine" and not other.exists()
        present.unlink()
    sure.write_text("mine")
    output.write_text("mine")
    assert cmcr(*given, "--confidence", sure, "--overwrite").code == 0
    assert read(sure).max() <= 100 and read(output).max() <= 3


def test_two_files_under_one_name(
    cmcr: Cmcr, scene: SimulatedScene, given: list[object], tmp_path: Path
) -> None:
    before = scene.s2.read_bytes()
    for place in (tmp_path / "mask.tif", tmp_path / "." / "mask.tif", scene.s2):
        ended = cmcr(*given, "--confidence", place, "--overwrite")
        assert (ended.code, ended.out) == (1, "") and str(place.name) in ended.err
        assert list(tmp_path.iterdir()) == []
    assert scene.s2.read_bytes() == before


def test_a_folder_that_is_missing(cmcr: Cmcr, given: list[object], tmp_path: Path) -> None:
    ended = cmcr(*given, "--confidence", tmp_path / "none" / "sure.tif")
    assert ended.code == 1 and "none" in ended.err
    assert list(tmp_path.iterdir()) == []
