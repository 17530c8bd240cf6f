from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from cmcr_cli import removal
from cmcr_cli.cli.main import app
from cmcr_cli.removal import RemoveOptions
from cmcr_cli.removal.results.command_line import command_of
from cmcr_cli.scene.sun import Sun


def test_command_does_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """The printed command, parsed by the command line, gives the very same options."""
    odd = RemoveOptions(
        s2="a b.SAFE", s1_vv="v.tif", s1_vh="h.tif", output=Path("it's.tif"), keep_clear=False, context=False,
        bbox=(-3.5, 40, -3.2512345678, 41.125), bands=("B02", "B03"), offset=-1000.0, dilate=12.5,
        overwrite=True, batch_size=3, creation_options={"LEVEL": "3", "BLOCKSIZE": "256"}, align="strict",
        sun=Sun(152.3456789, 41.0),
    )  # fmt: skip
    everything = RemoveOptions(
        s2="s2.SAFE", output=Path("<b> & co/clear.tif"), mask="scl", weights=Path("w.safetensors"),
        device="cpu", samples=2, steps=2, provenance=Path("which.tif"), uncertainty=Path("std.tif"),
        quicklook=Path("look.png"), report=Path("report.html"), stac=Path("item.json"),
    )  # fmt: skip
    taken: list[RemoveOptions] = []

    def take(options: RemoveOptions, progress: Any) -> Any:
        taken.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(removal, "remove", take)
    for options in (everything, odd, RemoveOptions(s2="s2.tif", s1="s1.tif", output=Path("o.tif"))):
        program, *words = shlex.split(command_of(options))
        assert program == "cmcr"
        with pytest.raises(SystemExit):
            app(words)
        assert taken[-1] == options
