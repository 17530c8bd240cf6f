"""Paths of options: which names a file can have, checked before any work."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cmcr_cli.addresses import public
from cmcr_cli.errors import InputError, OptionError

LONGEST_NAME = 220
"""Bytes in the name of an output: file systems take 255, and temporary files need some 30 for theirs."""

LONGEST_FOLDER, LONGEST_PATH = 255, 4000
"""Bytes; with the names of temporary files a path must stay below 4096."""

SHOWN = 60
"""Characters of a long name that a message quotes."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format of files that are written.

    Attributes:
        name: With its article, for messages.
        endings: Those that names of such files may have; a file that cmcr names itself gets the first.
    """

    name: str
    endings: tuple[str, ...]

    @property
    def ending(self) -> str:
        """The usual ending."""
        return self.endings[0]


COG = Format("a Cloud-Optimized GeoTIFF", (".tif", ".tiff"))
PICTURE = Format("a PNG picture", (".png",))
PAGE = Format("a web page", (".html", ".htm"))
ITEM = Format("a STAC item", (".json", ".geojson"))
STYLE = Format("a QGIS style", (".qml",))
FOLDER = Format("a folder", ("",))

FORMATS = COG, PICTURE, PAGE, ITEM, STYLE

STREAMS = ("-", "/dev/stdout", "/dev/stderr")
"""What stands for a stream where programs write to one."""


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
    except PermissionError:
        return  # told as it is opened: one such scene must not stop a batch
    except OSError as error:
        raise InputError(
            f"{path[:SHOWN]}: cannot be looked up ({error.strerror}); expected a readable file. "
            "Check the path."
        ) from error


def check_output_name(option: str, path: Path, form: Format) -> None:
    """Check that the name of an output says what it is, and can be written as those of temporary files can.

    Args:
        option: Option that names the output.
        path: The output.
        form: Its format.

    Raises:
        OptionError: It is not so.
    """
    if "\0" in str(path):
        raise OptionError(
            f"{option} {str(path)!r}: contains a zero byte, which no file name may. Correct the name."
        )
    if form is FOLDER:
        check_output_folder(option, path)
    else:
        _check_ending(option, path, form)
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


def _check_ending(option: str, path: Path, form: Format) -> None:
    """Raise OptionError for a name that promises something else than what is written."""
    expected = " or ".join(form.endings)
    if str(path) in STREAMS:
        raise OptionError(
            f"{option} {path}: is a stream; expected the name of a file that ends in {expected}, since "
            f"{form.name} is written whole or not at all. Name a file."
        )
    # A folder is refused with a better reason when it is to be replaced.
    if path.suffix.lower() in form.endings or path.is_dir():
        return
    found = f"ends in {path.suffix}" if path.suffix else "has no ending"
    raise OptionError(
        f"{option} {_shown(path)}: {found}; expected {expected}, since {form.name} is written. Name it, for "
        f"example, {path.with_suffix(form.ending).name[-SHOWN:]}."
    )


def style_beside(path: Path) -> Path:
    """Name the style of a raster that QGIS takes without being asked.

    Args:
        path: The raster.

    Returns:
        Path of the style.
    """
    return path.parent / f"{path.stem}{STYLE.ending}"


def check_output_folder(option: str, path: Path) -> None:
    """Check that the name of a folder of outputs is not that of a file or a stream.

    Args:
        option: Option that names it.
        path: The folder; it need not exist.

    Raises:
        OptionError: It is.
    """
    if str(path) in STREAMS:
        raise OptionError(f"{option} {path}: is a stream; expected a folder. Name a folder.")
    endings = {ending for form in FORMATS for ending in form.endings}
    if path.suffix.lower() in endings and not path.is_dir():
        raise OptionError(
            f"{option} {_shown(path)}: ends in {path.suffix}, as a file does; expected a folder, in which "
            f"several files are written. Name it, for example, {path.stem[-SHOWN:]}."
        )


def _shown(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 2 * SHOWN else f"{text[:SHOWN]}...{text[-SHOWN:]}"


def file_name(path: str) -> str:
    """Take the name of a file from a path, for tags.

    Args:
        path: Any path that GDAL can open.

    Returns:
        The name, without the query of a signed address, which is a secret.
    """
    return public(Path(path.partition("?")[0]).name)
