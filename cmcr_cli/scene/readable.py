"""Inputs that can be read at all: files and folders. Pipes and devices may have no end, or never begin."""

from __future__ import annotations

import os
import posixpath
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile, ZipInfo

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from cmcr_cli.errors import InputError

ARCHIVE = re.compile(r"/vsi\w+/\{?")
"""Prefixes of GDAL's names of files inside other files."""

STDIN = re.compile(r"/vsi(stdin|fd)\b")

REMOTE = re.compile(r"/vsi(curl|s3|gs|az|adls|oss|swift|webhdfs|hdfs|mem)\w*/|\w+://")

SCHEMES = {"http://": "/vsicurl/http://", "https://": "/vsicurl/https://", "s3://": "/vsis3/",
           "gs://": "/vsigs/", "file://": ""}  # fmt: skip
"""Addresses, and how GDAL knows them."""

STREAMED = re.compile(r"/vsi(curl|s3|gs|az|oss|swift)/")

BESIDE = (".aux.xml", ".ovr", ".msk", ".aux", ".tfw", ".wld", ".rrd", ".ige")
"""Suffixes of files that GDAL opens beside a raster without being asked."""

TELLING = (".msk", ".aux.xml")
"""Those that say where a raster is valid, and what its numbers mean."""

SOURCE = re.compile(rb"<Source(?:Filename|Dataset)([^>]*)>([^<]+)</")

DAMAGED_ZIP = (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""Errors that a damaged or unusual zip can cause."""

LARGEST_VRT, DEEPEST_VRT = 16 * 2**20, 8
"""Bytes of a virtual raster that is inspected, and the depth to which they are nested."""


def check_readable(path: str | Path, what: str) -> None:
    """Refuse what could keep a reader waiting, at any path GDAL knows.

    Paths that do not exist, and remote ones, are left to the code that opens them.

    Args:
        path: The file; those beside it are looked at too, and those of which a virtual raster is made.
        what: The expected content, for the message.

    Raises:
        InputError: It is a pipe, a socket or a device, or the standard input.
    """
    for found in _files(str(path), 0):
        mode = _mode(found)
        if STDIN.match(found) or not (mode is None or stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            kind = "the standard input" if mode is None else _kind(mode)
            named = f"{path}: " if found == str(path) else f"{path}: needs {found}, which "
            raise InputError(f"{named}is {kind}; expected {what} in a file. Save it as one first.")


def gdal_path(address: str) -> str:
    """Spell an address as GDAL does.

    Args:
        address: An address such as https://..., or any path.

    Returns:
        Such as /vsicurl/https://...; other paths stay as they are.
    """
    for scheme, prefix in SCHEMES.items():
        if address.startswith(scheme):
            return prefix + address[len(scheme) :]
    return address


def is_remote(path: str) -> bool:
    """Tell whether GDAL asks the network for a path.

    Args:
        path: As `gdal_path` spells it.

    Returns:
        Whether that is so.
    """
    return STREAMED.match(path) is not None


def streamed(path: str) -> str:
    """Spell a remote path so that GDAL asks for all of the file at once; some servers give no parts.

    Args:
        path: As `gdal_path` spells it.

    Returns:
        Such as /vsicurl_streaming/https://...; other paths stay as they are.
    """
    return STREAMED.sub(r"/vsi\1_streaming/", path, count=1) if is_remote(path) else path


def why_not(path: str | Path) -> str | None:
    """Tell why a file on this machine cannot be opened, which GDAL often calls missing.

    Args:
        path: A path.

    Returns:
        What it is or lacks, to follow its name in a message; None where it can be opened, or is not a path of
        this machine.
    """
    text = str(path)
    if text.startswith("/vsi") or REMOTE.match(text) or text.lstrip().startswith("<"):
        return None
    place = Path(text)
    try:
        if place.is_symlink() and not place.exists():
            return f"is a broken link to {place.readlink()}"
        if place.is_dir():
            next(place.iterdir(), None)
        else:
            with place.open("rb") as file:
                if not file.read(1):
                    return "is empty"
    except FileNotFoundError:
        above = next((each for each in place.absolute().parents if os.path.lexists(each)), place)
        return f"does not exist; {above} does" if above != place.absolute().parent else "does not exist"
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    return None


def check_sidecars(path: str, files: Iterable[str]) -> None:
    """Refuse a raster beside which there is a file that tells of it, and that GDAL could not read.

    GDAL goes on without it: what is not valid would be taken as ground, and units as the usual ones.

    Args:
        path: Of the raster.
        files: Of which it is made, as GDAL tells.

    Raises:
        InputError: That is so.
    """
    if path.startswith(("/vsi", "<")) or REMOTE.search(path):
        return
    known = {os.path.normpath(file) for file in files}
    for suffix in TELLING:
        beside = Path(f"{path}{suffix}")
        if beside.is_file() and (why := _unusable(beside, known)) is not None:
            raise InputError(
                f"{path}: its sidecar {beside.name} cannot be used ({why}); expected a readable one, as it "
                "may say where the image is valid and what its numbers mean. Repair it, or move it away."
            )


def _unusable(sidecar: Path, known: Collection[str]) -> str | None:
    why = why_not(sidecar)
    if why is None and sidecar.suffix == ".msk" and os.path.normpath(sidecar) not in known:
        return "GDAL does not know its format"
    if why is None and sidecar.suffix == ".xml":
        try:
            defusedxml.ElementTree.parse(sidecar, forbid_dtd=True)
        except (ParseError, DefusedXmlException, ValueError) as error:
            return str(error)
    return why


def _files(path: str, depth: int) -> Iterator[str]:
    """Files on this machine that opening `path` would open, by their names."""
    if STDIN.search(path):
        yield "/vsistdin/"
        return
    if REMOTE.match(path) or REMOTE.search(path[:64]):
        return
    local = path
    while match := ARCHIVE.match(local):
        local = local[match.end() :]
    # Names such as GTIFF_DIR:1:FILE and HDF5:"FILE"://BAND have the file between colons or quotes.
    for part in dict.fromkeys((local, *re.split(r'[:"]', local))):
        if not part or part.startswith("<"):
            continue
        yield from (part,) if _mode(part) is not None else ()
        for folder in Path(part).parents:
            if _mode(str(folder)) is not None:
                yield str(folder)
                break
        for suffix in BESIDE:
            yield from (name for name in (part + suffix, _stem(part) + suffix) if _mode(name) is not None)
    if depth < DEEPEST_VRT:
        for source in _sources(local):
            yield from _files(source, depth + 1)


def _sources(path: str) -> list[str]:
    """Files of which the virtual raster at `path` is made, which may also be its text."""
    if path.lstrip().startswith("<VRT"):
        text, folder = os.fsencode(path), Path()
    else:
        mode = _mode(path)
        if mode is None or not stat.S_ISREG(mode):
            return []
        folder = Path(path).parent
        try:
            with Path(path).open("rb") as file:
                text = file.read(1024)
                if b"<VRT" not in text:
                    return []
                text += file.read(LARGEST_VRT)
        except OSError:
            return []
    found = []
    for attributes, name in SOURCE.findall(text):
        source = os.fsdecode(name).strip().replace("&amp;", "&")
        relative = re.search(rb"relativeToVRT\s*=\s*[\"']1", attributes)
        found.append(str(folder / source) if relative else source)
    return found


def _mode(path: str) -> int | None:
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):
        return None


def _stem(path: str) -> str:
    return path.rpartition(".")[0] or path


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def from_zip(path: Path, choose: Callable[[list[ZipInfo]], ZipInfo]) -> tuple[str, bytes]:
    """Read one member of a product's zip.

    Args:
        path: The zip.
        choose: Picks the member among all; what it raises is raised here too.

    Returns:
        GDAL's name of the folder of the member, and its content.

    Raises:
        InputError: The zip cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entry = choose(archive.infolist())
            text = archive.read(entry)
    except (*DAMAGED_ZIP, OSError) as error:
        raise InputError(
            f"{path}: cannot be read as a zip ({error}); expected a whole product. Download it again."
        ) from error
    # The braces let GDAL find the end of the archive's name, whatever its suffix.
    return f"/vsizip/{{{path.absolute()}}}/{posixpath.dirname(entry.filename)}".rstrip("/"), text


def file_state(path: str | None) -> list[Any]:
    """Tell one state of an input file from another.

    Args:
        path: The file; None, not local or a folder: only its name counts.

    Returns:
        Path, size and time of the last change.
    """
    # Of a folder only its name: the outputs may be in it, and what counts of its files is listed.
    if path is None or not Path(path).is_file():
        return [path]
    state = Path(path).stat()
    return [str(Path(path).resolve()), state.st_size, state.st_mtime_ns]
