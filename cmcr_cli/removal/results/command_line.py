"""The command line that stands for a set of options."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from cmcr_cli.addresses import public
from cmcr_cli.option_fields import OptionField, option_fields, text_of
from cmcr_cli.options import RemoveOptions


def command_of(options: RemoveOptions) -> str:
    """Write the command that does the same.

    Args:
        options: Options of a removal.

    Returns:
        The command, quoted for a shell, without the secrets of signed addresses.
    """
    fields = option_fields(type(options))
    words = ["cmcr", "remove"]
    # Positional words first: the second of them may be left out.
    for field in sorted(fields, key=lambda field: not field.option.positional):
        value = getattr(options, field.name)
        if value is not None and (field.required or value != field.default):
            words += _words(field, value)
    return shlex.join(map(public, words))


def _words(field: OptionField, value: Any) -> Iterator[str]:
    flag = field.option.letter or field.flag
    if field.option.positional:
        yield text_of(value)
    elif isinstance(value, bool):
        yield flag if value else f"--no-{flag[2:]}"
    elif field.listed:
        for each in value:
            yield from (flag, each)
    elif field.repeatable:
        for name, each in value.items():
            yield from (flag, f"{name}={each}")
    else:
        yield from (flag, text_of(value))
