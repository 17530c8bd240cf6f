from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cmcr_cli.errors import InputError, RadiometryError
from cmcr_cli.options import RemoveOptions
from cmcr_cli.removal.opening.inspection import inspect
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.warning_kinds import BandWarning
from tests.support.rasters import write

if TYPE_CHECKING:
    from tests.support.rasters import Write

__all__ = ["write"]

GROUND = np.random.default_rng(0).integers(300, 4000, (13, 40, 30)).astype(np.uint16)


def test_all_inputs_are_looked_at_and_nothing_is_written(write: Write, tmp_path: Path) -> None:
    s2 = write("s2.tif", np.where(np.arange(30) < 6, 0, GROUND).astype(np.uint16))
    s1 = write("s1.tif", np.full((2, 40, 30), -12, np.float32), descriptions=("VV", "VH"))
    found = inspect(RemoveOptions(s2=s2, s1=s1, output=tmp_path / "clear.tif"))
    assert found.fault is None and found.inputs.radar is not None
    assert (found.inputs.scene.width, found.inputs.scene.level) == (30, "L1C")
    assert found.inputs.scene.valid_share == pytest.approx(0.8)
    assert (found.inputs.radar.units, found.inputs.radar.covers) == ("db", 1)
    assert {path.name for path in tmp_path.iterdir()} == {"s2.tif", "s1.tif"}


def test_what_would_stop_a_run_is_told_with_all_the_rest(write: Write, tmp_path: Path) -> None:
    s2 = write("s2.tif", GROUND * np.uint16(10))
    found = inspect(RemoveOptions(s2=s2, output=tmp_path / "clear.tif"))
    assert isinstance(found.fault, RadiometryError) and "s2.tif" in str(found.fault)
    assert found.inputs.scene.bands[3] == "B04" and found.inputs.radar is None


def test_warnings_of_opening_are_passed_on(write: Write, tmp_path: Path) -> None:
    s2 = write("s2.tif", np.concatenate([GROUND, GROUND[:1]]), descriptions=(*BANDS, "SCL"))
    warnings = inspect(RemoveOptions(s2=s2, output=tmp_path / "clear.tif")).warnings
    (warning,) = (each for each in warnings if isinstance(each, BandWarning))
    assert "'SCL' in its layers" in str(warning)


def test_an_input_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.tif"):
        inspect(RemoveOptions(s2=tmp_path / "gone.tif", output=tmp_path / "clear.tif"))
