"""`--sun`, which remove, mask and batch share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.simulate import SimulatedScene

Cmcr = Callable[..., Any]


@pytest.fixture(params=["remove", "mask", "batch"])
def command(
    request: pytest.FixtureRequest, scene: SimulatedScene, weights: Path, mask: Path, tmp_path: Path
) -> list[object]:
    """A call that does the work of each of them."""
    listed = tmp_path / "scenes.csv"
    listed.write_text(f"{scene.s2}\n")
    source = listed if request.param == "batch" else scene.s2
    output = tmp_path / "out" if request.param == "batch" else tmp_path / "out.tif"
    return [request.param, source, "-o", output, "--weights", weights, "--mask", mask, "--device", "cpu"]


def test_the_option_wins_over_the_tags(cmcr: Cmcr, command: list[object]) -> None:
    ended = cmcr(*command, "-v", "--sun", "152.34,41")
    assert ended.code == 0, ended.err
    assert "sun: azimuth 152.3, elevation 41.0 (option)" in ended.err and "(tags)" not in ended.err
    again = cmcr(*command, "-v", "--overwrite")
    assert again.code == 0 and "(tags)" in again.err and "(option)" not in again.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("152.3", "expected AZIMUTH,ELEVATION"),
        ("152.3,41,0", "expected AZIMUTH,ELEVATION"),
        ("south,41", "expected AZIMUTH,ELEVATION"),
        ("", "expected AZIMUTH,ELEVATION"),
        ("361,41", "azimuth of 0 to 360"),
        ("-10,41", "azimuth of 0 to 360"),
        ("152.3,0", "elevation above 0 up to 90"),
        ("152.3,91", "elevation above 0 up to 90"),
        ("nan,41", "azimuth of 0 to 360"),
    ],
)
def test_what_is_no_place_on_the_sky(cmcr: Cmcr, command: list[object], text: str, message: str) -> None:
    ended = cmcr(*command, f"--sun={text}")
    assert (ended.code, ended.out) == (2, "")
    assert "--sun" in ended.err and message in " ".join(ended.err.split())
    assert not Path(str(command[3])).exists()
