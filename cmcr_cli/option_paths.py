"""Paths of options: which names a file can have, checked before any work."""

from __future__ import annotations

import os
from pathlib import Path

from cmcr_cli.addresses import public
from cmcr_cli.errors import InputError, OptionError

LONGEST_NAME = 220
"""Bytes in the name of an output: file systems take 255, and temporary files need some 30 for theirs."""

LONGEST_FOLDER, LONGEST_PATH = 255, 4000
"""Bytes; with the names of temporary files a path must stay below 4096."""

SHOWN = 60
"""Characters of a long name that a message quotes."""


def check_input_name(path: str) -> None:
    """Raise an error for a name that no file can have: later it would lead to another, misleading one.

    Args:
        path: Path or address of an input. It need not exist.

    Raises:
        OptionError: The path has a zero byte.
        InputError: The operating system refuses to look it up.
    """
    if "\0" in path:
        raise OptionError(f"{path!r}: contains a zero byte, which no file name may. Correct the name.")
    try:
        Path(path).exists()
    except OSError as error:
        raise InputError(
            f"{path[:SHOWN]}: cannot be looked up ({error.strerror}); expected a readable file. "
            "Check the path."
        ) from error


def check_output_name(option: str, path: Path) -> None:
    """Check that an output, and the temporary files beside it, have names that can be written.

    Args:
        option: Option that names the output.
        path: The output.

    Raises:
        OptionError: They have not.
    """
    if "\0" in str(path):
        raise OptionError(
            f"{option} {str(path)!r}: contains a zero byte, which no file name may. Correct the name."
        )
    *folders, size = (len(os.fsencode(part)) for part in path.absolute().parts)
    if size > LONGEST_NAME:
        raise OptionError(
            f"{option} {path.name[:SHOWN]}...: its name has {size} bytes; expected at most {LONGEST_NAME}, "
            "since temporary files beside it have longer ones. Choose a shorter name."
        )
    if max(folders, default=0) > LONGEST_FOLDER or sum(folders) + len(folders) + size > LONGEST_PATH:
        raise OptionError(
            f"{option} {str(path)[:SHOWN]}...: expected folders of at most {LONGEST_FOLDER} bytes each, and "
            f"{LONGEST_PATH} altogether. Choose a shorter path."
        )


def file_name(path: str) -> str:
    """Take the name of a file from a path, for tags.

    Args:
        path: Any path that GDAL can open.

    Returns:
        The name, without the query of a signed address, which is a secret.
    """
    return public(Path(path.partition("?")[0]).name)
