"""One rule for the names of all outputs of all commands, before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.simulate import SimulatedScene


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("remove", "S2", "-o", "x.png"), "--output x.png: ends in .png; expected .tif or .tiff"),
        (("remove", "S2", "-o", "-"), "--output -: is a stream"),
        (
            ("remove", "S2", "-o", "a.tif", "--quicklook", "q.tif"),
            "--quicklook q.tif: ends in .tif; expected .png",
        ),
        (("remove", "S2", "-o", "a.tif", "--stac", "st.tif"), "--stac st.tif: ends in .tif; expected .json"),
        (
            ("remove", "S2", "-o", "a.tif", "--report", "r"),
            "--report r: has no ending; expected .html or .htm",
        ),
        (
            ("remove", "S2", "-o", "a.tif", "--provenance", "p.jpg", "--dry-run"),
            "--provenance p.jpg: ends in",
        ),
        (("mask", "S2", "-o", "m.qml"), "--output m.qml: ends in .qml"),
        (("mask", "S2", "-o", "m.tif", "--confidence", "c.png"), "--confidence c.png: ends in .png"),
        (("batch", "scenes.csv", "-o", "out"), "--output out/monday: has no ending; expected .tif"),
        (("batch", "scenes.csv", "-o", "out.tif"), "--output out.tif: ends in .tif, as a file does"),
        (("batch", "scenes.csv", "-o", "-"), "--output -: is a stream; expected a folder"),
        (
            ("simulate", "demo.tif", "--size", "16", "--seed", "1"),
            "OUT_DIR demo.tif: ends in .tif, as a file",
        ),
    ],
    ids=lambda value: " ".join(value[:1] + value[-1:]) if isinstance(value, tuple) else "",
)
def test_a_name_that_promises_something_else_is_refused(
    cmcr: Callable[..., Any],
    scene: SimulatedScene,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scenes.csv").write_text(f"s2,output\n{scene.s2},good.tif\n{scene.s2},monday\n")
    ended = cmcr(*(str(scene.s2) if word == "S2" else word for word in words))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"cmcr: error: {told}") and ended.err.count("\n") == 1, ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["scenes.csv"]
