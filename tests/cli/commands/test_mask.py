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


def test_writes_the_mask_of_the_network(
    cmcr: Cmcr, scene: SimulatedScene, weights: Path, tmp_path: Path
) -> None:
    output = tmp_path / "mask.tif"
    ended = cmcr("mask", scene.s2, "-o", output, "--weights", weights, "--json")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert (report["output"], report["mask"]) == (str(output), "auto")
    looked_at = cmcr("info", scene.s2, "--json")
    shown = json.loads(looked_at.out)["inputs"]
    assert report["inputs"]["scene"] == shown["scene"] | {"valid_share": None}
    assert (report["inputs"]["radar"], report["inputs"]["references"]) == (None, [])
    with rasterio.open(output) as file:
        assert set(np.unique(file.read())) <= {0, 1, 2, 3, 255}
    assert list(tmp_path.iterdir()) == [output]


def test_grows_a_mask(cmcr: Cmcr, scene: SimulatedScene, mask: Path, weights: Path, tmp_path: Path) -> None:
    shares = []
    for metres in (0, 50):
        ended = cmcr(
            "mask",
            scene.s2,
            "--mask",
            mask,
            "--dilate",
            metres,
            "-o",
            tmp_path / f"{metres}.tif",
            "--weights",
            weights,
        )
        assert ended.code == 0 and ended.out.startswith(f"{tmp_path / f'{metres}.tif'}: 200 x 200 px, ")
        with rasterio.open(tmp_path / f"{metres}.tif") as file:
            shares.append((file.read(1) == 1).mean())
    assert shares[0] < shares[1]


def test_output_that_exists(cmcr: Cmcr, scene: SimulatedScene, weights: Path, tmp_path: Path) -> None:
    output = tmp_path / "mask.tif"
    output.write_text("mine")
    ended = cmcr("mask", scene.s2, "-o", output, "--weights", weights)
    assert (ended.code, ended.out) == (1, "") and "--overwrite" in ended.err
    assert output.read_text() == "mine"


@pytest.fixture
def classes(mask: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes classes of OmniCloudMask (0 to 3) over the scene, as stored values of another tool.

    Even cells of 20 m are whole, for smaller ones are widened to them.
    """

    def write(values: tuple[int, int, int, int], name: str = "classes.tif") -> Path:
        with rasterio.open(mask) as file:
            profile = file.profile
        with rasterio.open(tmp_path / name, "w", **profile) as file:
            file.write(np.array(values, np.uint8)[expected()], 1)
        return tmp_path / name

    return write


def expected() -> NDArray[np.uint8]:
    pixels = np.zeros((200, 200), np.uint8)
    pixels[20:60, 20:60], pixels[80:120, 20:60], pixels[140:180, 20:60] = 1, 2, 3
    return pixels


TOOLS = [
    ((0, 1, 2, 3), "omnicloudmask"),
    ((0, 4, 1, 2), "fmask"),
    ((9, 8, 7, 6), "8=cloud,7=thin,6=shadow,9=clear"),
]


@pytest.mark.parametrize(("values", "codes"), TOOLS)
def test_masks_of_other_tools(
    cmcr: Cmcr, scene: SimulatedScene, weights: Path, classes: Callable[..., Path], tmp_path: Path,
    values: tuple[int, int, int, int], codes: str,
) -> None:  # fmt: skip
    output, given = tmp_path / "mask.tif", ("mask", scene.s2, "--mask", classes(values), "--weights", weights)
    ended = cmcr(*given, "-o", output, "--mask-codes", codes)
    assert ended.code == 0 and "warning: the mask is read as" in ended.err, ended.err
    with rasterio.open(output) as file:
        written = file.read(1)
    thin = 0 if codes == "fmask" else 2  # it knows none: the value here is water
    assert set(np.unique(written[expected() == 2])) == {thin}
    for kind in (1, 3):
        assert (written[expected() == kind] != 0).all()
    assert (written[expected() == 0] == 0).all()


@pytest.mark.parametrize("values", [(0, 1, 2, 3), (0, 4, 1, 2)], ids=["OmniCloudMask", "Fmask"])
def test_codes_that_are_not_certain_are_refused_with_the_cure(
    cmcr: Cmcr, scene: SimulatedScene, weights: Path, classes: Callable[..., Path], tmp_path: Path,
    values: tuple[int, int, int, int],
) -> None:  # fmt: skip
    """With 0.4 both ended well, and left every cloud in the image."""
    output = tmp_path / "clear.tif"
    for command in ("mask", "remove"):
        ended = cmcr(command, scene.s2, "-o", output, "--mask", classes(values), "--weights", weights)
        assert (ended.code, ended.out, output.exists()) == (1, "", False)
        assert "--mask-codes" in ended.err and "fmask" in ended.err and ended.err.count("\n") == 1
    ended = cmcr("remove", scene.s2, "-o", output, "--mask-codes", "omnicloudmask", "--weights", weights)
    assert (ended.code, output.exists()) == (2, False) and "--mask auto" in ended.err


def test_remove_by_the_mask_of_another_tool(
    cmcr: Cmcr, scene: SimulatedScene, weights: Path, classes: Callable[..., Path], tmp_path: Path
) -> None:
    output, which = tmp_path / "clear.tif", tmp_path / "which.tif"
    path = classes((0, 1, 2, 3), "s2_OCM_v1_8_1.tif")
    ended = cmcr(
        "remove", scene.s2, "-o", output, "--mask", path, "--provenance", which, "--weights", weights
    )
    assert ended.code == 0 and "read as OmniCloudMask codes" in ended.err, ended.err
    with rasterio.open(which) as file:
        assert (file.read(1)[expected() > 0] == 2).all()
    with rasterio.open(output) as made, rasterio.open(scene.s2) as given:
        same = (made.read() == given.read()).all(axis=0)
    assert same[190:, 190:].all() and not same[expected() == 3].all()
