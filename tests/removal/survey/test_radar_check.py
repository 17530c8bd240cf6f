from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from cmcr_cli.errors import GridMismatchError
from cmcr_cli.removal import RemoveOptions, remove
from cmcr_cli.warning_kinds import ShiftWarning


def _options(files: Any, weights: Path, output: Path, **changes: Any) -> RemoveOptions:
    given = {"s2": str(files.s2), "s1": str(files.s1), "mask": str(files.mask), "output": output}
    return RemoveOptions(**{**given, "weights": weights, "device": "cpu", **changes})


@pytest.fixture(scope="module")
def scene(make_scene: Callable[..., Any]) -> Any:
    """Four windows of ground, part of it clear."""
    return make_scene(520, 516)


@pytest.fixture
def shifted(scene: Any, tmp_path: Path) -> Path:
    """The scene's radar, 60 m to the east of where it should be."""
    with rasterio.open(scene.s1) as file:
        profile, db = file.profile, file.read()
    path = tmp_path / "shifted.tif"
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.roll(db, 6, axis=2))
    return path


def test_shift_is_reported(scene: Any, weights: Path, tmp_path: Path) -> None:
    report = remove(_options(scene, weights, tmp_path / "out.tif", align="strict"))
    assert report.radar_shift is not None and np.hypot(*report.radar_shift) < 10
    assert not any(isinstance(each, ShiftWarning) for each in report.warnings)


def test_large_shift_is_warned_of(scene: Any, shifted: Path, weights: Path, tmp_path: Path) -> None:
    report = remove(_options(scene, weights, tmp_path / "out.tif", s1=str(shifted)))
    assert report.radar_shift == (pytest.approx(60, abs=8), pytest.approx(0, abs=8))
    (found,) = (each for each in report.warnings if isinstance(each, ShiftWarning))
    assert "east" in str(found) and "against the image, as measured" in str(found)


def test_large_shift_is_refused_when_that_is_asked_for(
    scene: Any, shifted: Path, weights: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.tif"
    with pytest.raises(
        GridMismatchError, match=r"shifted\.tif: .*east.*at most 30 m.*--align warn"
    ) as caught:
        remove(_options(scene, weights, output, s1=str(shifted), align="strict"))
    assert caught.value.exit_code == 4
    assert list(tmp_path.iterdir()) == [shifted]


def test_strict_refuses_what_cannot_be_measured(
    make_scene: Callable[..., Any], weights: Path, tmp_path: Path
) -> None:
    files, output = make_scene(110, 100), tmp_path / "out.tif"
    with pytest.raises(GridMismatchError, match=r"cannot be measured.*--align warn") as caught:
        remove(_options(files, weights, output, align="strict"))
    assert caught.value.exit_code == 4 and not list(tmp_path.iterdir())
    assert remove(_options(files, weights, output)).radar_shift is None
    output.unlink()
    remove(_options(files, weights, output, s1=None, align="strict"))  # nothing that could be shifted
