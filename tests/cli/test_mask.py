from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

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
    with rasterio.open(output) as file:
        assert set(np.unique(file.read())) <= {0, 1, 255}
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
