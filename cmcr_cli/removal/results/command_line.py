"""The command line that stands for a set of options."""

from __future__ import annotations

import shlex
from dataclasses import MISSING, fields
from typing import Any

from cmcr_cli.options import RemoveOptions

POSITIONAL = ("s2", "s1", "output", "creation_options")


def command_of(options: RemoveOptions) -> str:
    """`cmcr remove ...` that does what `options` say, ready for a shell."""
    words = ["cmcr", "remove", options.s2]
    words += [options.s1] if options.s1 is not None else []
    words += ["-o", str(options.output)]
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name in POSITIONAL or (field.default is not MISSING and value == field.default):
            continue
        words += _flag(field.name, value)
    for name, value in options.creation_options.items():
        words += ["--co", f"{name}={value}"]
    return shlex.join(words)


def _flag(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{name.replace('_', '-')}"]
    if isinstance(value, tuple):
        return [flag, ",".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)]
    return [flag, f"{value:g}" if isinstance(value, float) else str(value)]
