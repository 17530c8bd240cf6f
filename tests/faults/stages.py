"""Run by test_kill.py: `cmcr ARGS` that kills itself at one stage after the other, each in its own process.

Arguments: the folder of the outputs, and those of cmcr. Prints one JSON object per stage: the exit code of
the killed run, the files that it left, those of them that are not what an undisturbed run writes, the exit
code of the run that follows, and the files after that.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmcr_cli.cli.main import main
from cmcr_cli.output import cog, files
from cmcr_cli.removal import pipeline
from cmcr_cli.removal.restore import steps
from cmcr_cli.removal.results import html_report, resume

STAGES: dict[str, tuple[Any, str, int]] = {  # where, what, and at which call
    "survey": (pipeline, "survey_scene", 1),
    "first patch": (steps.Restorer, "advance", 1),
    "first rows": (cog.StripWriter, "write", 1),
    "checkpoint": (resume.Journal, "keep_rows", 1),
    "copy": (cog, "gdal_copy", 1),
    "check of the copy": (cog.StripWriter, "_check_copy", 1),
    "report": (html_report, "write_whole", 1),
    **{f"sync {number}": (files, "flush_to_disk", number) for number in (1, 5)},
    **{f"rename {number}": (files, "rename", number) for number in (1, 3, 5)},
}


def dying(call: Callable[..., Any], at: int) -> Callable[..., Any]:
    calls = 0

    def counted(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            if call is cog_copy:  # dies with half of the file written
                call(*args, **named)
                os.truncate(args[1], Path(args[1]).stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **named)

    return counted


cog_copy = cog.gdal_copy


def in_a_child(args: list[str], stage: str | None = None) -> int:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.dup2(2, 1)
    code: Any = 99
    try:
        if stage is not None:
            where, what, at = STAGES[stage]
            setattr(where, what, dying(getattr(where, what), at))
        main(args)
    except SystemExit as end:
        code = end.code or 0
    os._exit(int(code))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: b"" if path.is_dir() else path.read_bytes() for path in folder.iterdir()}


def complete(name: str, content: bytes, expected: dict[str, bytes]) -> bool:
    """Reports and items hold times; they must only be whole."""
    if name.endswith((".html", ".json")):
        return content.rstrip().endswith((b"</html>", b"}"))
    return content == expected[name]


def everything(folder: Path, args: list[str]) -> None:
    in_a_child(args)
    expected = contents(folder)
    for stage in STAGES:
        shutil.rmtree(folder)
        folder.mkdir()
        code = in_a_child(args, stage)
        left = contents(folder)
        wrong = [n for n, c in left.items() if n[0] != "." and not complete(n, c, expected)]
        again, after = in_a_child(args), contents(folder)
        wrong += [name for name, content in after.items() if not complete(name, content, expected)]
        found = {"stage": stage, "killed": code, "left": sorted(left), "wrong": wrong, "next": again}
        print(json.dumps({**found, "after": sorted(after)}), flush=True)


if __name__ == "__main__":
    everything(Path(sys.argv[1]), sys.argv[2:])
