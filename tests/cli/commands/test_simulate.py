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


def test_writes_earlier_dates(cmcr: Callable[..., Any], tmp_path: Path) -> None:
    args = ("simulate", tmp_path / "demo", "--size", 40, "--seed", 3, "--dates", 2)
    found = json.loads(cmcr(*args, "--json").out)
    assert [sorted(date) for date in found["dates"]] == [["days", "mask", "s2"]] * 2
    for date in found["dates"]:
        with rasterio.open(date["s2"]) as s2, rasterio.open(date["mask"]) as mask:
            assert (s2.shape, s2.count, mask.count) == ((40, 40), 13, 1)
    lines = cmcr(*args, "--overwrite").out.splitlines()
    assert lines[4:] == [date[name] for date in found["dates"] for name in ("s2", "mask")]
    wrong = cmcr(*args[:-1], 99, "--overwrite")
    assert wrong.code == 2 and "--dates 99: expected a number from 0 to 24" in wrong.err
