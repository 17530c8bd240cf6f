from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cmcr_cli
from cmcr_cli import Estimate, MaskReport, Model, RemoveOptions, Report, open_scene
from cmcr_cli.errors import OptionError
from cmcr_cli.output.catalogue.cover import Cover
from cmcr_cli.warning_kinds import MaskWarning
from tests.support.rasters import Write, write

__all__ = ["write"]

COVER = Cover.of(100, 100, (25, 0, 0), 0, 0, kinds=True)

LONGEST = 200
"""Characters of a line that is short."""


@pytest.mark.parametrize("name", cmcr_cli.__all__)
def test_public_names_are_there(name: str) -> None:
    assert getattr(cmcr_cli, name) is not None


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = cmcr_cli.nonsense


def test_names_are_listed_before_anything_is_imported() -> None:
    code = "import sys, cmcr_cli; print(*dir(cmcr_cli)); assert 'numpy' not in sys.modules"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, later = (
        {name for name in listed if not name.startswith("__")}
        for listed in (ended.stdout.split(), dir(cmcr_cli))
    )
    assert names | {"__version__"} == set(cmcr_cli.__all__)
    assert names == later


def values() -> list[Any]:
    """One of each public value that is not open, with texts that are markup."""
    plain: dict[str, Any] = {
        "level": "L2A", "offset": -1000.0, "offset_source": "tag", "radar": True, "device": "cpu",
        "weights": "cmcr 1", "width": 10, "height": 20, "covered_share": 0.25, "patches": 4,
        "patches_restored": 1, "cover": COVER, "references": (), "references_left_out": (), "inputs": None,
        "warnings": (MaskWarning("a < b"),),
    }  # fmt: skip
    report = Report(
        **plain, output="<out>.tif", steps=4, samples=1, seed=0, radar_shift=None, valid_share=1.0,
        seconds={"open": 0.5, "restore": 2.0},
    )  # fmt: skip
    mask = MaskReport(
        "<mask>.tif", "sure.tif", "auto", 10, 20, 1.0, 0.25, COVER, plain["inputs"], plain["warnings"]
    )
    return [report, Estimate(**plain, seconds=12.3, memory_mb=900, disk_mb=70, output_mb=30), mask]


@pytest.mark.parametrize("value", values(), ids=lambda value: type(value).__name__)
def test_reports_are_one_line_and_a_table_in_notebooks(value: Any) -> None:
    assert "\n" not in repr(value) and len(repr(value)) < LONGEST and "25%" in repr(value)
    table = value._repr_html_()
    assert table.startswith("<table>") and "25.0%" in table and "a &lt; b" in table
    assert "<out>" not in table and "<mask>" not in table


def test_options_show_what_is_not_the_default_and_no_secrets() -> None:
    options = RemoveOptions(s2=Path("s2.tif"), output="clear.tif", steps=np.int64(4))
    assert repr(options) == "RemoveOptions(s2='s2.tif', output='clear.tif', steps=4)"
    many = tuple(f"https://user:secret@host/{n}.tif?token=secret" for n in range(40))
    shown = repr(RemoveOptions(s2=many[0], output="clear.tif", references=many, bands=("B02", "B03")))
    assert "references=(40 values)" in shown and "secret" not in shown and len(shown) < LONGEST
    assert len(repr(RemoveOptions(s2="a" * 200, output="clear.tif"))) < LONGEST


def test_scenes_grids_and_models_are_one_line(write: Write) -> None:
    dn = np.random.default_rng(1).integers(300, 3000, (13, 24, 20), dtype=np.uint16)
    db = np.random.default_rng(2).normal(-12, 2, (2, 24, 20)).astype(np.float32)
    with open_scene(write("s2.tif", dn), write("s1.tif", db)) as scene:
        shown = [
            repr(each) for each in (scene, scene.optical, scene.radar, scene.grid, cmcr_cli.Sun(150, 40))
        ]
    weights: Any = type("Weights", (), {"label": "cmcr-1 0123"})
    shown.append(repr(Model(weights, (torch.device("cpu"),))))
    assert shown[-1] == "Model(cmcr-1 0123 on cpu)" and "20 x 24 px of 10 m" in shown[3]
    assert all("\n" not in each and len(each) < 2 * LONGEST for each in shown), shown


@pytest.mark.parametrize(
    "given", [{"s2": np.zeros((13, 200, 200))}, {"s2": "s2.tif", "references": [np.zeros(3)]}]
)
def test_arrays_in_the_place_of_paths_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"numpy\.ndarray .*expected .*a path.*cmcr_cli\.remove_dataset"):
        RemoveOptions(**given, output="clear.tif")


def test_arrays_are_no_scenes_to_open() -> None:
    with pytest.raises(OptionError, match=r"s2 is numpy\.ndarray"), open_scene(np.zeros((13, 4, 4))):  # type: ignore[arg-type]
        pass
