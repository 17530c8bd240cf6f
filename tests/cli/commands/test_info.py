from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cmcr_cli import __version__
from cmcr_cli.model import weights as weights_file
from cmcr_cli.simulate import SimulatedScene
from tests.support.eopf import Eopf
from tests.support.rasters import write

if TYPE_CHECKING:
    from tests.support.rasters import Write

__all__ = ["write"]


def test_json(cmcr: Callable[..., Any], weights: Path) -> None:
    ended = cmcr("info", "--weights", weights, "--json")
    assert (ended.code, ended.err) == (0, "")
    facts = json.loads(ended.out)
    assert facts["versions"]["cmcr"] == __version__
    assert {"python", "torch", "rasterio", "GDAL", "PROJ", "numpy"} < set(facts["versions"])
    assert facts["weights"]["name"] == "tiny" and len(facts["weights"]["sha256"]) == 64
    assert facts["parameters"]["denoiser"] > 0
    assert 0 < facts["gflop_per_patch"]["1"] < facts["gflop_per_patch"]["4"]
    assert "cpu" in facts["devices"]


def test_text_says_the_same(cmcr: Callable[..., Any], weights: Path) -> None:
    facts = json.loads(cmcr("info", "--weights", weights, "--json").out)
    text = cmcr("info", "--weights", weights).out
    for topic in ("versions", "parameters", "gflop_per_patch"):
        for value in facts[topic].values():
            assert str(value) in text
    assert facts["weights"]["sha256"] in text
    assert "history  clouds, teacher\n" in text


def test_missing_weights(cmcr: Callable[..., Any], tmp_path: Path) -> None:
    ended = cmcr("info", "--weights", tmp_path / "none.safetensors")
    assert (ended.code, ended.out) == (3, "")


def test_verify_says_whether_these_weights_made_an_output(
    cmcr: Callable[..., Any], weights: Path, scene: SimulatedScene, mask: Path, tmp_path: Path
) -> None:
    output, other = tmp_path / "clear.tif", tmp_path / "other.safetensors"
    assert cmcr("remove", scene.s2, "-o", output, "--weights", weights, "--mask", mask).code == 0
    assert cmcr("info", "--weights", weights, "--verify", output).code == 0
    loaded = weights_file.load(weights)
    loaded.mean[0] += 1
    weights_file.save(other, loaded)
    for path, given, told in (
        (output, other, "was made with weights"),
        (scene.s2, weights, "names no weights"),
    ):
        ended = cmcr("info", "--weights", given, "--verify", path)
        assert (ended.code, ended.out) == (3, "")
        assert f"{path}: {told}" in ended.err


def test_what_is_understood_of_inputs(cmcr: Callable[..., Any], scene: SimulatedScene) -> None:
    ended = cmcr("info", scene.s2, scene.s1, "--reference", f"{scene.s2}@2024-05-01", "--json")
    assert ended.code == 0 and "is the scene itself" in ended.err
    found = json.loads(ended.out)
    assert {each["kind"] for each in found["warnings"]} == {"RadarWarning", "ReferenceWarning"}
    told, radar = found["inputs"]["scene"], found["inputs"]["radar"]
    assert (told["form"], told["level"], told["bands_from"]) == ("stack", "L1C", "names")
    assert (told["scale"], told["offset"], told["crs"]) == (0.0001, 0, "EPSG:32648")
    assert (radar["units"], radar["units_from"], radar["covers"]) == ("db", "values", 1)
    assert found["inputs"]["references"] == []


def test_text_of_a_product(cmcr: Callable[..., Any], tmp_path: Path) -> None:
    product = Eopf(tmp_path)
    other = product.root.rename(tmp_path / product.root.name.replace("20240601T10", "20240611T10"))
    product = Eopf(tmp_path)
    ended = cmcr("info", product.root, "--reference", other)
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0] == f"Sentinel-2  {product.root}"
    for line in (
        "  product  EOPF Zarr, L2A, baseline 05.11, 2024-06-01",
        "  scale  0.0001, offset -1000 DN (product)",
        "  grid  120 x 120 px of 10 m, EPSG:32631",
        "  pixels  uint16, nodata 0, about 99% valid",
        "  sun  azimuth 158.5, elevation 59.8",
        "Sentinel-1  none",
    ):
        assert line in lines


def test_a_scene_that_cannot_be_used_is_described_too(cmcr: Callable[..., Any], write: Write) -> None:
    path = write("bright.tif", np.full((13, 8, 8), 25_000, np.uint16), descriptions=())
    ended = cmcr("info", path)
    assert ended.code == 1 and "mean reflectance is 2.50" in ended.err
    assert "(by order)" in ended.out and "offset 0 DN (assumed 0)" in ended.out


def test_options_that_do_not_go_together(cmcr: Callable[..., Any], scene: SimulatedScene) -> None:
    for args, told in (
        (("--bands", "B02"), "given without S2; expected S2 as well"),
        ((scene.s2, "--verify", scene.s2), "cannot be combined with S2"),
        ((scene.s2, "--s1-vv", scene.s1), "expected both --s1-vv and --s1-vh"),
    ):
        ended = cmcr("info", *args)
        assert (ended.code, ended.out) == (2, "") and told in ended.err
