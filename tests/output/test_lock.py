from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.errors import OutputError
from cmcr_cli.output.files import folder_of
from cmcr_cli.output.lock import locked
from cmcr_cli.output.parts.part_folder import note_members

fcntl = pytest.importorskip("fcntl")


def test_a_lock_that_is_removed_just_before_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two runs would hold locks of the same name on different files."""
    flock, path = fcntl.flock, tmp_path / ".a.tif.cmcr-lock"
    removed = []

    def late(file: Any, how: int) -> None:
        if not removed:
            path.unlink()
            removed.append(path)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with locked([tmp_path / "a.tif"]):
        assert path.exists()
        with pytest.raises(OutputError, match="another run"), locked([tmp_path / "a.tif"]):
            pass
        assert path.exists()
    assert not path.exists()


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(file: Any, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with locked([tmp_path / "a.tif"]):
        pass
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_taken_by_something_else_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / ".a.tif.cmcr-lock"
    path.write_text("mine")
    with pytest.raises(OutputError, match=r"it is not cmcr's.*-o"), locked([tmp_path / "a.tif"]):
        pass
    assert path.read_text() == "mine"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="cannot be written"), locked([tmp_path / "a.tif"]):
        pass
    assert path.is_symlink() and not (tmp_path / "elsewhere").exists()


def test_what_a_killed_run_has_left_is_locked_too(tmp_path: Path) -> None:
    """Another set may have one of its files by now, which must not be tidied up under it."""
    one, two, shared = (tmp_path / name for name in ("one.tif", "two.tif", "which.tif"))
    for path in (one, shared):
        folder_of(path).mkdir()
    note_members(folder_of(one), [one, shared])
    refused = pytest.raises(OutputError, match=r"which\.tif: another run")
    with locked([two, shared]), refused, locked([one]):
        pass
    with locked([one]), pytest.raises(OutputError, match="another run"), locked([shared]):
        pass


def test_all_locks_are_let_go_together(tmp_path: Path) -> None:
    first, second = tmp_path / "a.tif", tmp_path / "b.tif"
    with pytest.raises(KeyboardInterrupt), locked([first, second]):
        assert len(list(tmp_path.iterdir())) == 2
        raise KeyboardInterrupt
    with locked([second]):
        with pytest.raises(OutputError, match=r"b\.tif: another run is writing it"), locked([first, second]):
            pass
        assert [path.name for path in tmp_path.iterdir()] == [".b.tif.cmcr-lock"]
