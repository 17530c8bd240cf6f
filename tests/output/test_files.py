from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.errors import OutputError
from cmcr_cli.output import files
from cmcr_cli.output.files import FileSet, folder_of, remove_parts, write_whole

NAMES = ("clear.tif", "which.tif", "look.png")


def _paths(folder: Path, old: str = "all") -> list[Path]:
    """Paths of a set, of which there are old files: all, none, the first or the others."""
    paths = [folder / name for name in NAMES]
    for path in {"all": paths, "none": [], "first": paths[:1], "others": paths[1:]}[old]:
        path.write_text(f"old {path.name}")
    return paths


def _build(paths: list[Path], **settings: Any) -> None:
    with FileSet(paths, **settings) as made:
        for path in paths:
            write_whole(path, f"new {path.name}".encode(), made)


def _contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


NEW = {name: f"new {name}" for name in NAMES}


def _failing(monkeypatch: pytest.MonkeyPatch, name: str, at: int, stop: Callable[[], None]) -> None:
    """Have the call number `at` of a function of files stop."""
    call, calls = getattr(files, name), []

    def counted(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == at:
            stop()
        return call(*args)

    monkeypatch.setattr(files, name, counted)


def _full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _interrupted() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("old", ["all", "none", "first", "others"])
def test_all_bear_their_names_in_the_end(tmp_path: Path, old: str) -> None:
    _build(_paths(tmp_path, old))
    assert _contents(tmp_path) == NEW and len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("stop", [_full, _interrupted])
@pytest.mark.parametrize("old", ["all", "none", "first", "others"])
@pytest.mark.parametrize("name", ["flush_to_disk", "rename", "new_file"])
def test_a_failure_anywhere_puts_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, old: str, stop: Callable[[], None]
) -> None:
    """At every sync, rename and new file of a set; a sync of folders after the last rename is too late."""
    for at in range(1, 20):
        folder = tmp_path / str(at)
        folder.mkdir()
        paths = _paths(folder, old)
        before = _contents(folder)
        with monkeypatch.context() as patched:
            _failing(patched, name, at, stop)
            try:
                _build(paths)
            except (OutputError, KeyboardInterrupt):
                assert _contents(folder) in (before, NEW)
                assert _contents(folder) == before or name == "flush_to_disk"
            else:
                assert _contents(folder) == NEW
                assert at > 2
        assert not list(folder.glob(".*"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("old", ["all", "none", "first", "others"])
@pytest.mark.parametrize("name", ["flush_to_disk", "rename", "new_file"])
def test_a_kill_anywhere_leaves_an_old_or_a_new_set_or_none_that_could_be_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, old: str
) -> None:
    for at in range(1, 20):
        folder = tmp_path / str(at)
        folder.mkdir()
        paths = _paths(folder, old)
        before = _contents(folder)
        child = os.fork()
        if not child:
            try:
                _failing(monkeypatch, name, at, lambda: os._exit(9))
                _build(paths)
            finally:
                os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        left = _contents(folder)
        if NAMES[0] in left:
            assert left in (before, NEW), "a set whose first file is there is whole"
        # The next set puts the old files back before it does anything else, even when it fails.
        with pytest.raises(KeyboardInterrupt), FileSet(paths):
            assert _contents(folder) == (NEW if left == NEW else before)
            raise KeyboardInterrupt
        assert not list(folder.glob(".*"))
        if not killed:
            break
    assert at > 1


def test_a_batch_tidies_up_after_a_worker(tmp_path: Path) -> None:
    paths = _paths(tmp_path)
    for path in paths:
        folder_of(path).mkdir()
        path.rename(folder_of(path) / "old")
    paths[1].write_text("new")
    remove_parts(paths)
    assert _contents(tmp_path) == {name: f"old {name}" for name in NAMES}
    assert not list(tmp_path.glob(".*"))


def test_what_somebody_else_writes_meanwhile_stays(tmp_path: Path) -> None:
    paths = _paths(tmp_path, "first")
    for intruder, overwrite in ((paths[0], True), (paths[1], True), (paths[2], False)):
        with (
            pytest.raises(OutputError, match="written by something else"),
            FileSet(paths, overwrite=overwrite) as made,
        ):
            for path in paths:
                write_whole(path, b"new", made)
            intruder.write_text("somebody else's work")
        assert intruder.read_text() == "somebody else's work"
        assert not list(tmp_path.glob(".*"))
        intruder.unlink()
        paths[0].write_text("old")


def test_a_set_that_is_not_finished_is_not_written(tmp_path: Path) -> None:
    paths = _paths(tmp_path)
    with pytest.raises(ValueError, match="never finished"), FileSet(paths) as made:
        write_whole(paths[0], b"new", made)
    assert _contents(tmp_path)["clear.tif"] == "old clear.tif" and not list(tmp_path.glob(".*"))


def test_what_can_be_resumed_is_kept_but_no_links(tmp_path: Path) -> None:
    path, other = tmp_path / "clear.tif", tmp_path / "other"
    other.write_text("mine")
    with pytest.raises(KeyboardInterrupt), FileSet([path], kept=True) as made:
        for name in ("rows.raw", "journal.json", "whole"):
            made.part(path, name).write_text(name)
        raise KeyboardInterrupt
    folder = folder_of(path)
    assert {each.name for each in folder.iterdir()} == {"rows.raw", "journal.json"}
    (folder / "rows.raw").unlink()
    (folder / "rows.raw").symlink_to(other)
    (folder / "survey.npz").hardlink_to(other)
    with FileSet([path], kept=True) as made:
        assert {each.name for each in folder.iterdir()} == {"journal.json"}
        write_whole(path, b"new", made)
    assert _contents(tmp_path) == {"clear.tif": "new", "other": "mine"} and not folder.exists()


@pytest.mark.parametrize("kind", ["file", "link", "dangling", "foreign file", "foreign folder"])
def test_a_folder_that_is_not_ours_is_refused_and_stays(tmp_path: Path, kind: str) -> None:
    paths, elsewhere = _paths(tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "whole").write_text("mine")
    folder = folder_of(paths[1])
    if kind == "file":
        folder.write_text("mine")
    elif kind in ("link", "dangling"):
        folder.symlink_to(elsewhere if kind == "link" else tmp_path / "none")
    else:
        folder.mkdir()
        (folder / "rows.raw").mkdir() if kind.endswith("folder") else (folder / "notes").write_text("mine")
    before = _contents(tmp_path)
    with pytest.raises(OutputError, match="did not make"):
        _build(paths)
    assert _contents(tmp_path) == before and os.path.lexists(folder) and not folder_of(paths[0]).exists()
    assert (elsewhere / "whole").read_text() == "mine"
    assert kind != "foreign file" or (folder / "notes").read_text() == "mine"


def test_a_planted_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (path,), victim = _paths(tmp_path)[:1], tmp_path / "victim"
    victim.write_text("mine")
    with FileSet([path]) as made:
        made.part(path).symlink_to(victim)
        write_whole(path, b"new", made)
    assert victim.read_text() == "mine" and path.read_text() == "new" and not path.is_symlink()


@pytest.mark.skipif(os.name == "nt", reason="needs permissions")
def test_nobody_else_may_enter_the_folder(tmp_path: Path) -> None:
    (path,) = _paths(tmp_path)[:1]
    folder = folder_of(path)
    with FileSet([path]) as made:
        assert folder.stat().st_mode & 0o077 == 0
        write_whole(path, b"new", made)
    folder.mkdir()
    folder.chmod(0o777)
    with FileSet([path]) as made:
        assert folder.stat().st_mode & 0o077 == 0
        write_whole(path, b"newer", made)


def test_the_cache_of_an_old_image_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And comes back with it; other files beside an image are not touched."""
    (path,) = _paths(tmp_path)[:1]
    cache, mask = (path.with_name(path.name + suffix) for suffix in (".aux.xml", ".msk"))
    cache.write_text("<PAMDataset/>")
    mask.write_text("mine")
    with monkeypatch.context() as patched, pytest.raises(OutputError):
        _failing(patched, "rename", 2, _full)
        _build([path])
    assert cache.is_file() and path.read_text() == "old clear.tif"
    _build([path])
    assert not cache.exists() and mask.read_text() == "mine"
    cache.write_text("not GDAL's")
    _build([path])
    assert cache.read_text() == "not GDAL's"


def test_a_link_on_the_way_may_change_during_the_run(tmp_path: Path) -> None:
    """What was checked at the start is where the files come."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "o.tif").write_text(name)
    link = tmp_path / "link"
    link.symlink_to("here")
    with FileSet([link / "o.tif", link / "p.tif"]) as files:
        link.unlink()
        link.symlink_to("there")
        for path in (link / "o.tif", link / "p.tif"):
            write_whole(path, b"new", files)
    assert [path.read_text() for path in (tmp_path / "here").iterdir()] == ["new", "new"]
    assert [path.read_text() for path in (tmp_path / "there").iterdir()] == ["there"]


@pytest.mark.parametrize("at", [1, 2, len(NAMES)])
def test_a_stop_while_folders_are_removed_waits_until_all_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    paths = _paths(tmp_path)
    _failing(monkeypatch, "empty", at, _interrupted)
    with pytest.raises(KeyboardInterrupt):
        _build(paths)
    assert _contents(tmp_path) == NEW and len(list(tmp_path.iterdir())) == len(NAMES)
