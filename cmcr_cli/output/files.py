"""Files that take their names whole: built in hidden folders beside them, and renamed together or not at all.

A set has a first file, which readers may trust: while it bears its name, all others belong to it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from cmcr_cli.errors import OutputError
from cmcr_cli.output.parts.part_folder import (
    KEPT,
    MEMBERS,
    NONE,
    OLD,
    WHOLE,
    claim_folder,
    clear,
    empty,
    is_ours,
    members_of,
    note_members,
    real_place,
)
from cmcr_cli.output.write_errors import output_errors

SIDECARS = (".aux.xml", ".ovr", ".msk")
"""Suffixes of files GDAL reads beside a raster; left from a raster that was replaced, they would mislead."""

CACHE = ".aux.xml"
"""The one of them that GDAL makes by itself, of statistics, when somebody looks at a raster."""

PART = ".cmcr-part"
"""End of the name of the folder in which an output is built."""

State = tuple[int, int, int, int]


class FileSet:
    """Context manager for files that belong together: in the end all bear their names, or none does.

    Each is built in a folder of its own, which nobody else may enter, and handed over with `finish`. On
    leaving, all are synchronized and then renamed, the first of `paths` last. What they replace is moved
    aside before, the first one at first: an old image is never beside a new provenance. Any exception puts
    everything back. A process that is killed in between leaves no file under the first name; the next set of
    these paths then puts the old files back, before it does anything else.
    """

    def __init__(self, paths: Sequence[Path], *, overwrite: bool = True, kept: bool = False) -> None:
        """Set of `paths`, nothing of which is touched yet.

        Args:
            paths: The files; the first is the one to trust.
            overwrite: Whether files may be replaced that are there already.
            kept: Whether to keep what `--resume` can use when an exception is on its way.
        """
        # By their real places, so that a link on the way that changes during the run leads nowhere else.
        self._places = {path: real_place(path) for path in paths}
        self.paths, self.kept, self._overwrite = list(self._places.values()), kept, overwrite
        self._finished: set[Path] = set()
        self._keep: tuple[str, ...] = ()
        self._before: dict[Path, State | None] = {}

    def __enter__(self) -> Self:
        """Make the folders, and tidy up what a killed run has left; OutputError when they are not ours."""
        opened: list[Path] = []
        needed: tuple[str, ...] = (*KEPT, OLD, NONE, MEMBERS)
        try:
            with output_errors(self.paths[0]):
                for path in self.paths:
                    claim_folder(folder_of(path))
                    opened.append(path)
                former = _former_sets(self.paths)
                for each in former:
                    _put_back(each)
                needed = KEPT
                _tidy(former, self.paths)
                for path in self.paths:
                    clear(folder_of(path), KEPT if self.kept else ())
                    self._before[path] = _state(path)
                for path in self.paths if len(self.paths) > 1 else ():
                    note_members(folder_of(path), self.paths)
        except BaseException:
            for path in opened:
                empty(folder_of(path), needed)
            raise
        return self

    def part(self, path: Path, name: str = WHOLE) -> Path:
        """Name a file in the folder in which an output is built.

        Args:
            path: The output.
            name: Of the file.

        Returns:
            Path of the file.
        """
        return folder_of(self._places.get(path, path)) / name

    def finish(self, path: Path) -> None:
        """State that an output is built: its file WHOLE is complete.

        Args:
            path: The output.
        """
        self._finished.add(self._places.get(path, path))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give all files their names, or put everything back; remove the folders."""
        self._keep = KEPT if self.kept else ()
        try:
            if kind is None:
                self._publish()
                self._keep = ()
        finally:
            self._empty_folders()

    def _empty_folders(self) -> None:
        """Remove the folders; a stop that comes meanwhile waits until all are gone."""
        left, stop = list(self.paths), None
        while left:
            try:
                empty(folder_of(left[-1]), self._keep)
                left.pop()
            except KeyboardInterrupt as error:
                stop = error
        if stop is not None:
            raise stop

    def _publish(self) -> None:
        if unfinished := set(self.paths) - self._finished:
            raise ValueError(f"never finished: {sorted(map(str, unfinished))}")
        with output_errors(self.paths[0]):
            for path in self.paths:
                self._check_unchanged(path)
                flush_to_disk(self.part(path))
        moves: list[tuple[Path, Path]] = []
        try:
            for source, target in self._renames():
                with output_errors(target):
                    moves.append((source, target))
                    rename(source, target)
        except BaseException:
            # Once the first file has its name the set is complete, and there is nothing to put back.
            if os.path.lexists(self.part(self.paths[0])) and not _undone(moves):
                # From which the next set of these paths puts back.
                self._keep = (*self._keep, OLD, NONE, MEMBERS)
            raise
        for folder in {path.parent for path in self.paths}:
            with contextlib.suppress(OSError):  # too late to fail: all bear their names
                flush_to_disk(folder)

    def _renames(self) -> Iterator[tuple[Path, Path]]:
        """All renames in order: old files aside, the first one first; new ones in, the first one last."""
        if len(self.paths) > 1:
            for path in self.paths:
                if self._before[path] is None:
                    _note_none(folder_of(path))
            for path in self.paths:
                if self._before[path] is not None:
                    yield path, self.part(path, OLD)
        for path in self.paths:
            cache = path.with_name(path.name + CACHE)
            if self._before[path] is not None and is_cache(cache):
                yield cache, self.part(path, OLD + CACHE)
        for path in reversed(self.paths):
            yield self.part(path), path

    def _check_unchanged(self, path: Path) -> None:
        """Raise OutputError when somebody else has written `path` since this set was opened."""
        now = _state(path)
        if now is not None and (now != self._before[path] or not self._overwrite):
            raise OutputError(
                f"{path}: was written by something else during this run, and is left as it is; expected "
                "no other user who may write there. Choose another name with -o."
            )


def folder_of(path: Path) -> Path:
    """Name the hidden folder in which an output is built, the same in every run.

    Args:
        path: The output.

    Returns:
        Path of the folder, beside the output.
    """
    return path.with_name(f".{path.name}{PART}")


def lock_of(path: Path) -> Path:
    """Name the hidden file beside an output whose lock shows that a run writes it.

    Args:
        path: The output.

    Returns:
        Path of the file.
    """
    return path.with_name(f".{path.name}.cmcr-lock")


def is_cache(path: Path) -> bool:
    """Recognise a file of statistics that GDAL has made beside a raster.

    Args:
        path: Any file.

    Returns:
        Whether it is one; a link to one is not.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as file:
            return file.read(64).lstrip().startswith(b"<PAMDataset")
    except OSError:
        return False


def write_whole(path: Path, content: bytes, files: FileSet | None = None) -> None:
    """Write a file, whole or not at all.

    Args:
        path: The file.
        content: Its bytes.
        files: Set of outputs that it belongs to; None: alone.

    Raises:
        OutputError: It cannot be written.
    """
    with FileSet([path]) if files is None else nullcontext(files) as own, output_errors(path):
        part = own.part(path)
        with new_file(part) as file:
            file.write(content)
        own.finish(path)


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Open an empty file for writing. Whatever has its name is removed, and no link is followed.

    Args:
        path: The file.

    Yields:
        The open file.
    """
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        yield file


def rename(source: Path, target: Path) -> None:
    """Rename a file within its file system. All renames of a set go through here.

    Args:
        source: The file.
        target: Its new name; what has it is replaced.
    """
    source.replace(target)


def flush_to_disk(path: Path) -> None:
    """Synchronize a file, or the names in a folder, to disk.

    Args:
        path: File or folder.

    Raises:
        OSError: It cannot be done.
    """
    folder = path.is_dir()
    if folder and os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that know no such thing
            raise
    finally:
        os.close(handle)


def remove_parts(paths: Sequence[Path]) -> None:
    """Remove what a killed run has left beside a set of outputs; files that it has moved aside return.

    Args:
        paths: The set.
    """
    former = _former_sets(paths)
    if put_back(paths):
        _tidy(former, paths)
        for path in paths:
            empty(folder_of(path), ())


def put_back(paths: Sequence[Path]) -> bool:
    """Undo the renames of runs that were killed between them. The caller holds the locks.

    Args:
        paths: The set of outputs.

    Returns:
        False if a folder is not cmcr's, or there is none.
    """
    there = [folder for folder in map(folder_of, paths) if os.path.lexists(folder)]
    if not there or not all(map(is_ours, there)):
        return False
    for each in _former_sets(paths):
        _put_back(each)
    return True


def with_members(paths: Sequence[Path]) -> list[Path]:
    """Find what else belongs to sets that killed runs have begun to build with one of these outputs.

    Args:
        paths: A set of outputs.

    Returns:
        The paths, and the others after them.
    """
    others = dict.fromkeys(path for each in _former_sets(paths) for path in each if path not in paths)
    return [*paths, *others]


def _former_sets(paths: Sequence[Path]) -> list[list[Path]]:
    """Sets of killed runs with one of `paths`, as far as they are ours, and `paths` themselves."""
    own = {real_place(path): path for path in paths}
    found: dict[tuple[Path, ...], None] = {}
    for path in paths:
        members = tuple(own.get(each, each) for each in members_of(folder_of(path), path))
        if members and all(each in paths or _has_our_folder(each) for each in members[:1]):
            found[tuple(each for each in members if each in paths or _has_our_folder(each))] = None
    # Last, since an image that has returned tells that its set is whole.
    return [list(each) for each in (*found, tuple(paths)) if each]


def _has_our_folder(path: Path) -> bool:
    try:
        return folder_of(path).is_dir() and is_ours(folder_of(path))
    except OSError:  # nobody can write there
        return False


def _tidy(former: Sequence[Sequence[Path]], paths: Sequence[Path]) -> None:
    """Remove the folders of what only earlier runs of the same image have built."""
    for each in former:
        for path in each if each[0] in paths else ():
            if path not in paths:
                empty(folder_of(path), ())


def _undone(moves: Sequence[tuple[Path, Path]]) -> bool:
    """Undo renames, the last one first; False when one could not be, and those before it are left."""
    try:
        for source, target in reversed(moves):
            if os.path.lexists(target) and not os.path.lexists(source):
                rename(target, source)
    except OSError:
        return False
    return True


def _state(path: Path) -> State | None:
    """Identity of a file, to notice another that has taken its name; None if there is no file."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _note_none(folder: Path) -> None:
    """Write down that the file WHOLE of this folder replaces none, and how it will be known again."""
    found = (folder / WHOLE).stat()
    with output_errors(folder), new_file(folder / NONE) as file:
        file.write(f"{found.st_dev} {found.st_ino}".encode())


def _put_back(paths: Sequence[Path]) -> None:
    """Undo the renames of a run that was killed before the first file had its name."""
    first = folder_of(paths[0])
    begun = any(os.path.lexists(first / name) for name in (OLD, NONE))
    if os.path.lexists(paths[0]) or not begun:
        return
    for path in reversed(paths):
        folder = folder_of(path)
        if os.path.lexists(folder / OLD):
            rename(folder / OLD, path)
            if os.path.lexists(folder / (OLD + CACHE)):
                rename(folder / (OLD + CACHE), path.with_name(path.name + CACHE))
        elif (folder / NONE).is_file() and os.path.lexists(path):
            found = path.lstat()
            if (folder / NONE).read_bytes() == f"{found.st_dev} {found.st_ino}".encode():
                path.unlink()
