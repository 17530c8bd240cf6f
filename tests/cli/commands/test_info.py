from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmcr_cli import __version__
from cmcr_cli.model import weights as weights_file
from cmcr_cli.simulate import SimulatedScene


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
