"""The hidden folder in which an output is built: whose it is, and what in it is cmcr's own."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cmcr_cli.errors import OutputError

WHOLE, OLD, NONE = "whole", "old", "none"
"""The finished file, the one that it replaces, and a note that there was none."""

MEMBERS = "set.json"
"""List of the files of the set, beside each of them."""

OWN = ("rows.raw", "journal.json", "survey.npz", WHOLE, OLD, NONE, MEMBERS, "rows.tif")
"""All that cmcr and GDAL put there begins like one of these; the last is of version 0.4."""

KEPT = ("rows.raw", "journal.json", "survey.npz")
"""Files that a later run with `--resume` may use."""


def claim_folder(folder: Path) -> None:
    """Make the folder, or take the one that a killed run left.

    Args:
        folder: The folder.

    Raises:
        OutputError: It is somebody else's.
    """
    try:
        folder.mkdir(mode=0o700)  # which never follows a link
        return
    except FileExistsError:
        found = folder.lstat()
    ours = is_ours(folder)
    foreign = [path.name for path in folder.iterdir() if not _is_own(path)] if ours else [folder.name]
    if foreign:
        raise OutputError(
            f"{folder}: holds or is something that cmcr did not make ({', '.join(sorted(foreign)[:3])}); "
            "expected the name to be free for temporary files. Move it away, or choose another name with -o."
        )
    if found.st_mode & 0o022:
        # Others may have planted links there. File systems without permissions do not mind.
        folder.chmod(stat.S_IMODE(found.st_mode) & ~0o077)


def is_ours(folder: Path) -> bool:
    """Tell whether a folder is one of the user that we are, and not a link to one.

    Args:
        folder: The folder; it exists.

    Returns:
        Whether it is.

    Raises:
        OSError: It cannot be looked at.
    """
    found = folder.lstat()
    # Some file systems give all files to one user, whoever makes them.
    with tempfile.TemporaryFile(dir=folder.parent) as file:
        return stat.S_ISDIR(found.st_mode) and os.fstat(file.fileno()).st_uid == found.st_uid


def _is_own(path: Path) -> bool:
    return _begins(path.name, OWN) and (path.is_symlink() or not path.is_dir())


def _begins(name: str, names: Sequence[str]) -> bool:
    """Whether it is one of `names`, or GDAL's own name for a file beside it or made of it."""
    return any(name == own or name.startswith((own + ".", own + "_")) for own in names)


def clear(folder: Path, kept: Sequence[str]) -> None:
    """Remove our own files from a folder.

    Args:
        folder: The folder.
        kept: Names of files that stay, if they are plain files.
    """
    for path in list(folder.iterdir()):
        if not _is_own(path):
            continue
        found = path.lstat()
        plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        if not (plain and _begins(path.name, kept)):
            path.unlink(missing_ok=True)


def empty(folder: Path, kept: Sequence[str]) -> None:
    """Clear a folder and remove it; never fails, for an exception may be on its way.

    Args:
        folder: The folder.
        kept: Names of files that stay, and with them the folder.
    """
    with contextlib.suppress(OSError):
        clear(folder, kept)
        folder.rmdir()


def note_members(folder: Path, paths: Sequence[Path]) -> None:
    """Write down which files belong to a set, for whoever tidies up after a run that was killed.

    Args:
        folder: That of one of the files.
        paths: All of the set.
    """
    note = folder / MEMBERS
    note.unlink(missing_ok=True)
    with note.open("x", encoding="utf-8") as file:
        json.dump([str(real_place(path)) for path in paths], file)


def members_of(folder: Path, path: Path) -> list[Path]:
    """Read which files belong to the set of a run that was killed.

    Args:
        folder: That of one of the files.
        path: That file. A folder that was copied or moved names others, which it has nothing to do with.

    Returns:
        Real paths, that of the image first; none where nothing is written down.
    """
    try:
        found = json.loads((folder / MEMBERS).read_text(encoding="utf-8")) if is_ours(folder) else None
    except (OSError, ValueError):
        return []
    if not isinstance(found, list) or str(real_place(path)) not in found:
        return []
    return [Path(each) for each in found if isinstance(each, str)]


def real_place(path: Path) -> Path:
    """Resolve the folder of a file, but not the file itself.

    Args:
        path: The file.

    Returns:
        Its path without links on the way.
    """
    return path.parent.resolve() / path.name
