from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rasterio


def test_writes_a_scene(cmcr: Callable[..., Any], tmp_path: Path) -> None:
    args = ("simulate", tmp_path / "demo", "--size", 40, "--seed", 3)
    ended = cmcr(*args, "--cloud-cover", 0.2, "--json")
    assert ended.code == 0
    paths = json.loads(ended.out)
    assert set(paths) == {"s2", "s1", "truth", "mask"}
    with rasterio.open(paths["s2"]) as s2:
        assert (s2.shape, s2.count) == ((40, 40), 13)
    again = cmcr(*args)
    assert again.code == 1 and "--overwrite" in again.err
    replaced = cmcr(*args, "--overwrite")
    assert replaced.code == 0 and replaced.out.splitlines() == list(paths.values())
