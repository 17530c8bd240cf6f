from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmcr_cli.errors import OptionError, OutputError
from cmcr_cli.model.cloud_network import CloudNetwork
from cmcr_cli.removal import RemoveOptions, mask_file, write_mask
from cmcr_cli.removal.survey import detection
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.removal.survey.mask_sources import NetworkMask

HEIGHT, WIDTH = 90, 81

LIKELY = np.array([0.95, 0.4, 0.02])
"""Probability of thick cloud in its middle, at its rim, and of clear ground beyond."""


def looks(self: CloudNetwork, optical: Tensor, present: Tensor, far: Tensor) -> Tensor:
    """The probability of thick cloud is the red band's reflectance."""
    red = optical[:, 3].clamp(1e-4, 1 - 1e-4)
    logits = torch.full((1, 4, *red.shape[1:]), -30.0)
    logits[:, 0], logits[:, 1] = (1 - red).log(), red.log()
    return logits


@pytest.fixture
def cloud(make_scene: Callable[..., Any]) -> Path:
    """A scene with a cloud of 20 x 20 cells, with a rim of a cell; one corner is nodata."""
    path: Path = make_scene(HEIGHT, WIDTH).s2
    red = np.full((HEIGHT, WIDTH), LIKELY[2])
    red[21:65, 19:63], red[23:63, 21:61] = LIKELY[1], LIKELY[0]  # the scene begins with half a cell
    with rasterio.open(path, "r+") as file:
        dn = file.read()
        dn[3] = np.rint(red * 10_000)
        dn[:, 80:, :10] = 0
        file.write(dn)
    return path


@pytest.fixture
def wanted(
    cloud: Path, options: Callable[..., RemoveOptions], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., RemoveOptions]:
    monkeypatch.setattr(CloudNetwork, "look_near", looks)

    def make(**changes: Any) -> RemoveOptions:
        plain = {"s2": str(cloud), "s1": None, "mask": "auto", "provenance": None}
        return options(**{**plain, **changes})

    return make


def written(chosen: RemoveOptions) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    sure = chosen.output.with_name("sure.tif")
    report = write_mask(chosen, confidence=sure)
    assert report.confidence == str(sure)
    found = []
    for path in (chosen.output, sure):
        with rasterio.open(path) as file:
            found.append(file.read(1))
    return found[0], found[1]


def test_rims_are_less_sure_than_what_lies_in_and_beyond_them(wanted: Callable[..., RemoveOptions]) -> None:
    mask, sure = written(wanted())
    nodata = mask == 255
    assert np.array_equal(nodata, sure == 255)
    assert nodata[80:, :10].all() and nodata.sum() == 100
    cloud = np.ones((44, 44), bool)
    cloud[np.ix_([0, 1, -2, -1], [0, 1, -2, -1])] = False  # corners touch the cloud at a point alone
    assert np.array_equal(mask[21:65, 19:63] == 1, cloud) and (mask == 1).sum() == cloud.sum()
    assert set(sure[23:63, 21:61].flat) == {95}
    rim = mask == 1
    rim[23:63, 21:61] = False
    assert set(sure[rim]) == {40}, "covered, for it lies beside a cloud; likely it is not"
    # The cells around the corner that is nodata hold zeros, which are clear for sure.
    corners = {60}
    assert set(sure[mask == 0]) <= {98, 99, 100} | corners and sure[:20, :].max() == 98


def test_what_dilation_adds_is_covered_against_the_networks_opinion(
    wanted: Callable[..., RemoveOptions],
) -> None:
    before, sure = written(wanted())
    mask, grown = written(wanted(dilate=60))
    added = (mask == 1) & (before == 0)
    assert added.sum() > 1000
    assert set(grown[added]) == {2, 40}, "ground, and the corners of the rim"
    kept = ~added & (mask != 255)
    assert np.array_equal(grown[kept], sure[kept])
    assert np.array_equal(mask[mask != 0], np.where(added, 1, before)[mask != 0])


def test_the_mask_is_the_same_with_and_without(wanted: Callable[..., RemoveOptions]) -> None:
    for dilate in (0, 45):
        mask, _ = written(wanted(dilate=dilate))
        report = write_mask(wanted(dilate=dilate))
        assert report.confidence is None
        with rasterio.open(wanted().output) as file:
            assert np.array_equal(file.read(1), mask)


@pytest.mark.parametrize("mask", ["all", "scl", "given"])
def test_refused_with_another_source(
    mask: str, wanted: Callable[..., RemoveOptions], scene: Any, tmp_path: Path
) -> None:
    chosen = wanted(mask=str(scene.mask) if mask == "given" else mask)
    with pytest.raises(OptionError, match="--mask auto"):
        write_mask(chosen, confidence=tmp_path / "sure.tif")
    assert list(tmp_path.iterdir()) == []


def test_both_files_or_none(
    wanted: Callable[..., RemoveOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, sure = wanted(), tmp_path / "sure.tif"
    chosen.output.write_text("the old mask")
    sure.write_text("the old confidence")
    calls: list[int] = []

    def failing(*args: Any) -> NDArray[np.uint8]:
        calls.append(1)
        raise OutputError("no space is left")

    def kept() -> bool:
        names = {path.name for path in tmp_path.iterdir()}
        old = chosen.output.read_text() == "the old mask" and sure.read_text() == "the old confidence"
        return old and names == {chosen.output.name, sure.name}

    with monkeypatch.context() as patched:  # while the strips are written
        patched.setattr(NetworkMask, "certainty", failing)
        with pytest.raises(OutputError, match="no space"):
            write_mask(chosen, confidence=sure)
    assert calls and kept()
    with monkeypatch.context() as patched:  # before the first strip
        patched.setattr(detection, "_probability", failing)
        with pytest.raises(OutputError, match="no space"):
            write_mask(chosen, confidence=sure)
    assert kept()
    with monkeypatch.context() as patched, pytest.raises(OutputError, match="no space"):  # with the mask
        patched.setattr(CloudMap, "classes", failing)
        write_mask(chosen, confidence=sure)
    assert kept()


@pytest.mark.parametrize("rows", [16, 30, 512])
def test_strips_meet(
    rows: int, wanted: Callable[..., RemoveOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = written(wanted(dilate=30))
    monkeypatch.setattr(mask_file, "ROWS", rows)
    for one, other in zip(written(wanted(dilate=30)), expected, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (16, 1), (10, 12)])
@pytest.mark.parametrize("dilate", [0, 40])
def test_small_scenes(
    height: int, width: int, dilate: float, wanted: Callable[..., RemoveOptions],
    make_scene: Callable[..., Any],
) -> None:  # fmt: skip
    mask, sure = written(wanted(s2=str(make_scene(height, width).s2), dilate=dilate))
    assert mask.shape == sure.shape == (height, width)
    assert mask.max() <= 3 and sure.max() <= 100


def test_nodata_everywhere_but_a_corner(wanted: Callable[..., RemoveOptions], cloud: Path) -> None:
    with rasterio.open(cloud, "r+") as file:
        dn = file.read()
        dn[:, :-3] = 0
        dn[:, :, :-5] = 0
        dn[:, -3:, -5:] = 9000
        file.write(dn)
    mask, sure = written(wanted())
    assert (mask != 255).sum() == (sure != 255).sum() == 15
    assert (mask[-2:, -4:] == 1).all() and set(sure[-2:, -4:].flat) == {90}
