"""Inputs that can be read at all: files and folders. Pipes and devices may have no end, or never begin."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from cmcr_cli.errors import InputError

ARCHIVE = re.compile(r"/vsi\w+/\{?")
"""Prefixes of GDAL's names of files inside other files."""

STDIN = re.compile(r"/vsi(stdin|fd)\b")

ELSEWHERE = re.compile(r"/vsi(curl|s3|gs|az|adls|oss|swift|webhdfs|hdfs|mem)\w*/|\w+://")

BESIDE = (".aux.xml", ".ovr", ".msk", ".aux", ".tfw", ".wld", ".rrd", ".ige")
"""Suffixes of files that GDAL opens beside a raster without being asked."""

SOURCE = re.compile(rb"<Source(?:Filename|Dataset)([^>]*)>([^<]+)</")

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


def _files(path: str, depth: int) -> Iterator[str]:
    """Files on this machine that opening `path` would open, by their names."""
    if STDIN.search(path):
        yield "/vsistdin/"
        return
    if ELSEWHERE.match(path) or ELSEWHERE.search(path[:64]):
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
