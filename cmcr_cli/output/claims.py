"""Files of a run or a batch, known before it starts: no two may meet, nothing else is touched.

Files are known by their real paths and by their inodes, so that other spellings and links do not hide them.
"""

from __future__ import annotations

import html
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from cmcr_cli.errors import InputError, OptionError, OutputError
from cmcr_cli.output.files import CACHE, PART, SIDECARS, folder_of, is_cache, lock_of
from cmcr_cli.output.parts.part_folder import real_place
from cmcr_cli.scene.references.listing import candidates, made_by_cmcr

Key = str | tuple[int, int]
"""A real path, or device and inode."""

SEPARATORS = re.compile(r"/vsi[a-z0-9_]+/|[:?&=,|!#{}\"'\s]")
"""Parts before and after a file's own path in the addresses that GDAL and rasterio know."""

MOST_SEPARATORS = 16
"""Longer texts are not addresses, but coordinates and the like."""

TOKEN = re.compile(r"[^<>\"'\n\r]{1,4096}")
"""Pattern of texts that may be addresses in XML or JSON."""

NO_NAME = re.compile(r"[\s\d.,:;eE+\-\[\]{}()]*$|(?!file:)[a-z0-9]+://|.*\0")
"""Numbers, punctuation, and addresses of other machines."""

LARGEST_TEXT = 64 * 2**20
"""Bytes of a file that are looked through for the names of others."""


class Claims:
    """The files of a run or a batch.

    An input stands for itself, for the files that a VRT, a STAC item or an archive's address names, and for
    what GDAL would read beside them. An output stands for itself, for its sidecars, its lock and the folder
    in which it is built.
    """

    def __init__(self) -> None:
        """Nothing is claimed yet."""
        self._read: dict[Key, str] = {}
        self._found: dict[Key, tuple[str, Path]] = {}
        self._trees: dict[Path, str] = {}
        self._outputs: dict[Path, None] = {}
        self._written: dict[Key, Path] = {}
        self._seen: set[str] = set()
        self._listed: set[str] = set()

    def read(self, *named: str | Path) -> None:
        """Claim inputs.

        Args:
            named: Files, folders, or any address that GDAL knows.
        """
        for name in named:
            if str(name) in self._seen:
                continue
            self._seen.add(str(name))
            place = Path(name)
            if place.suffix == ".xml" and _is(stat.S_ISREG, place):  # the metadata of a product
                place = place.parent
            # Whatever of a product in Zarr is named, all of it is read.
            place = next((each for each in (place, *place.parents) if each.suffix == ".zarr"), place)
            if _is(stat.S_ISDIR, place):
                self._trees[place.resolve()] = str(name)
            for file in files_behind(str(name)):
                for beside in ("", *SIDECARS):
                    for key in _keys(Path(f"{file}{beside}")):
                        self._read.setdefault(key, str(name))

    def read_references(self, path: str) -> None:
        """Claim what a path of `--reference` stands for: a product, or all in a folder or a list.

        Outputs of cmcr in a folder are not read as references, so that a later run may replace them.

        Args:
            path: The path, without a date.
        """
        if path in self._listed:
            return
        self._listed.add(path)
        with suppress(InputError, OptionError):  # which are raised when the references are opened
            for each in candidates(path):
                if each.named or _is(stat.S_ISDIR, Path(each.path)):
                    self.read(each.path, *([] if each.mask is None else [each.mask]))
                else:
                    self._find(Path(each.path), path)
        if not _is(stat.S_ISDIR, Path(path)):
            self.read(path)

    def _find(self, place: Path, folder: str) -> None:
        """Claim a file in a folder of references, and what it consists of."""
        for file in files_behind(str(place)):
            for beside in ("", *SIDECARS):
                for key in _keys(Path(f"{file}{beside}")):
                    if file == place:
                        self._found.setdefault(key, (folder, place))
                    else:
                        self._read.setdefault(key, str(place))

    def write(self, path: Path) -> None:
        """Claim an output.

        Args:
            path: The output.

        Raises:
            OutputError: Another output needs one of its names.
        """
        keys: dict[Key, Path] = {}
        for name in _touched(path):
            for key in _keys(name, parents=name == path):
                keys.setdefault(key, name)
        for key, name in keys.items():
            if key in self._written:
                raise _meeting(path, name, str(self._written[key]))
        self._written |= dict.fromkeys(keys, path)
        self._outputs[path] = None

    def check(self) -> None:
        """Compare outputs with inputs.

        Raises:
            OutputError: An output, or a name that it needs, is an input.
        """
        for path in self._outputs:
            for name in _touched(path):
                for key in _keys(name):
                    if key in self._read:
                        raise _meeting(path, name, self._read[key])
                    if key in self._found and not made_by_cmcr(self._found[key][1]):
                        raise OutputError(
                            f"{path}: is or belongs to {self._found[key][1].name} in {self._found[key][0]}, "
                            "which is read for references; give the output another name with -o."
                        )
            for tree, named in self._trees.items() if os.path.lexists(path) else ():
                if tree in real_place(path).parents:
                    raise OutputError(
                        f"{path}: is a part of {named}, which is read; give the output another name with -o."
                    )


def check_writable(path: Path, overwrite: bool) -> None:
    """Check an output before any work starts.

    Args:
        path: The output.
        overwrite: Whether it may exist.

    Raises:
        OutputError: It cannot be written.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        try:
            path.lstat()
        except PermissionError as error:
            raise OutputError(
                f"{path}: you may not look into {path.parent} ({error.strerror}); expected a writable "
                "folder. Choose another with -o."
            ) from error
    if path.is_dir():
        raise OutputError(
            f"{path}: is a folder; expected the name of a file to write, such as {path / 'clear.tif'}."
        )
    if path.is_symlink():
        raise OutputError(
            f"{path}: is a link to {path.readlink()}; expected the name of a file. Give that file itself "
            "with -o, or remove the link."
        )
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: is not a regular file; expected the name of a file to write. See -o.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; give --overwrite to replace it.")
    if path.exists() and _belongs_to_another(path):
        raise OutputError(
            f"{path}: belongs to another user, in a folder where only owners may replace files (sticky bit); "
            "expected a file of yours. Choose another name with -o."
        )
    if not path.parent.is_dir():
        raise OutputError(
            f"{path}: folder {path.parent} does not exist; create it or choose another with -o."
        )
    for suffix in SIDECARS:
        sidecar = path.with_name(path.name + suffix)
        # GDAL's own cache of an image goes with the image. Anything else may be somebody's work.
        if os.path.lexists(sidecar) and not (suffix == CACHE and path.exists() and is_cache(sidecar)):
            raise OutputError(
                f"{path}: {sidecar.name} is beside it, which would be read as a part of it; expected no "
                "such file. Move it away, or choose another name with -o."
            )
    try:
        # Trying is surer than asking for permission bits: file systems can be mounted read-only.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(
            f"{path}: no file can be created in {path.parent} ({error.strerror}); expected a writable "
            "folder. Choose another with -o."
        ) from error


def _belongs_to_another(path: Path) -> bool:
    """Whether renaming a file would be refused, as in a folder like /tmp."""
    folder, user = path.parent.stat(), getattr(os, "geteuid", lambda: 0)()
    return bool(folder.st_mode & stat.S_ISVTX) and user not in (0, folder.st_uid, path.lstat().st_uid)


def files_behind(address: str) -> Iterator[Path]:
    """Find the files on this machine that reading a path may open.

    Names in XML and JSON, and archives in GDAL's paths, are found without parsing: a file too many does no
    harm, because it only must not be written to.

    Args:
        address: Any path that GDAL can open.

    Yields:
        Each file once.
    """
    here = Path()
    waiting = [(address, here), *((name, here) for name in _names(address) if address[:1] == "<")]
    seen: set[Path] = set()
    while waiting:
        text, folder = waiting.pop()
        for place in _places(text, folder):
            real = place.resolve()
            if place in seen:
                continue
            if real not in seen:
                waiting += [(name, real.parent) for name in _named_in(real)]
            seen |= {real, place}
            yield place
    # An output may be named as an input that is not there: that must not start either.
    if not address.startswith(("/vsi", "<")):
        yield Path(address)


def _places(text: str, folder: Path) -> Iterator[Path]:
    """Regular files that `text` may name, from `folder` or from here; of an archive's member, the archive."""
    for part in dict.fromkeys(_parts(text)):
        for start in {folder, Path()}:
            place = start / part
            while not os.path.lexists(place) and place != place.parent:
                place = place.parent
            # Others are not looked into: opening a pipe or a device might never end.
            if _is(stat.S_ISREG, place):
                yield place


def _parts(text: str) -> Iterator[str]:
    """`text`, and its parts between the separators of addresses."""
    yield text
    found = list(SEPARATORS.finditer(text))
    if len(found) > MOST_SEPARATORS:
        return
    starts = [0, *(each.end() for each in found)]
    ends = [*(each.start() for each in found), len(text)]
    for start in starts:
        for end in ends:
            if start < end and (start, end) != (0, len(text)):
                yield text[start:end]


def _named_in(path: Path) -> set[str]:
    """Possible names of files in a file of XML or JSON."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
            if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"<", b"{"):
                return set()
            content = (head + file.read(LARGEST_TEXT)).decode(errors="replace")
    except OSError:
        return set()
    return _names(content)


def _names(content: str) -> set[str]:
    """The tokens of XML or JSON that may be names of files on this machine."""
    names = (html.unescape(token.strip()).replace("\\/", "/") for token in TOKEN.findall(content))
    return {name for name in names if not NO_NAME.match(name)}


def _is(kind: Callable[[int], bool], path: Path) -> bool:
    """Whether `path`, which may be no path at all, leads to a file of a kind."""
    try:
        return kind(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _touched(path: Path) -> list[Path]:
    """All names that writing `path` takes up; a folder is refused anyway, and need not have a name."""
    if not path.name or _is(stat.S_ISDIR, path):
        return [path]
    sidecars = [path.with_name(path.name + suffix) for suffix in SIDECARS]
    return [path, *sidecars, lock_of(path), folder_of(path)]


def _keys(path: Path, *, parents: bool = True) -> Iterator[Key]:
    """All by which a file is known: its real paths, its inode, and the folders of outputs that hold it."""
    try:
        places = {real_place(path), path.resolve()}
    except (OSError, RuntimeError, ValueError):  # a loop of links, or no path at all
        return
    for place in places:
        yield _folded(str(place))
        for parent in place.parents if parents else ():
            if parent.name.endswith(PART):
                yield _folded(str(parent))
    try:
        found = path.stat()
    except (OSError, ValueError):
        return
    if not stat.S_ISDIR(found.st_mode):
        yield found.st_dev, found.st_ino


def _folded(path: str) -> str:
    """A path as its file system compares it, where that is known."""
    return path.casefold() if sys.platform in ("win32", "darwin") else path


def _meeting(path: Path, name: Path, other: str) -> OutputError:
    if name == path:
        return OutputError(
            f"{path}: is also used as {other} in this run; give the output another name with -o."
        )
    return OutputError(
        f"{path}: takes up the name {name.name} as well, which is also used as {other} in this run; give the "
        "output another name with -o."
    )
