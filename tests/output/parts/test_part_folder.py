from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cmcr_cli.errors import OutputError
from cmcr_cli.output.files import FileSet, folder_of, put_back, remove_parts
from cmcr_cli.output.parts.part_folder import MEMBERS, OLD, WHOLE, claim_folder, members_of


def test_a_folder_that_is_not_ours_is_left(tmp_path: Path) -> None:
    folder = tmp_path / ".a.tif.cmcr-part"
    claim_folder(folder)
    (folder / "somebody.txt").touch()
    with pytest.raises(OutputError, match=r"did not make \(somebody\.txt\)"):
        claim_folder(folder)


def test_a_set_is_known_by_each_of_its_files(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("image.tif", "band.tif")]
    with FileSet(paths) as files:
        assert all(members_of(folder_of(path), path) == paths for path in paths)
        for path in paths:
            files.part(path).touch()
            files.finish(path)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    (tmp_path / MEMBERS).write_text("[3")
    assert members_of(tmp_path, paths[0]) == members_of(tmp_path / "none", paths[0]) == []


def killed(paths: list[Path]) -> None:
    """Leave what a run leaves that is killed when old files are aside, and one new file has its name."""
    with pytest.raises(KeyboardInterrupt), FileSet(paths):
        note = (folder_of(paths[0]) / MEMBERS).read_bytes()
        raise KeyboardInterrupt
    for path in paths:
        folder_of(path).mkdir(mode=0o700)
        path.rename(folder_of(path) / OLD)
        (folder_of(path) / MEMBERS).write_bytes(note)
    paths[1].write_text("new")


@pytest.mark.parametrize("how", [put_back, remove_parts, lambda paths: FileSet(paths).__enter__()])
def test_members_that_nobody_names_go_back_too(how: object, tmp_path: Path) -> None:
    """Names of bands in their own pixels are not known before the scene is open."""
    paths = [tmp_path / name for name in ("image.tif", "band.tif")]
    for path in paths:
        path.write_text("old")
    killed(paths)
    assert callable(how)
    how(paths[:1])
    assert [path.read_text() for path in paths] == ["old", "old"]
    if how is not put_back:
        assert not folder_of(paths[1]).exists()


def test_a_file_of_a_killed_set_goes_back_before_another_set_takes_it(tmp_path: Path) -> None:
    """Else the only copy of the old file would be tidied up as ours."""
    one, two, shared = (tmp_path / name for name in ("one.tif", "two.tif", "which.tif"))
    for path in (one, shared):
        path.write_text("old")
    killed([one, shared])
    (folder_of(one) / "rows.raw").touch()  # for --resume of the other run
    with pytest.raises(KeyboardInterrupt), FileSet([two, shared]):
        assert shared.read_text() == one.read_text() == "old"
        raise KeyboardInterrupt
    assert shared.read_text() == one.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == [".one.tif.cmcr-part"]


def test_a_copy_of_a_folder_does_not_touch_the_original(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    paths = [tmp_path / "there" / name for name in ("image.tif", "band.tif")]
    for path in paths:
        path.write_text("old")
    killed(paths)
    before = {path: path.lstat().st_mtime_ns for path in (tmp_path / "there").rglob("*")}
    shutil.copytree(tmp_path / "there", tmp_path / "here", symlinks=True)
    with pytest.raises(KeyboardInterrupt), FileSet([tmp_path / "here" / "image.tif"]):
        raise KeyboardInterrupt
    assert before == {path: path.lstat().st_mtime_ns for path in (tmp_path / "there").rglob("*")}


def test_parts_of_a_killed_run_go_with_the_first(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("image.tif", "band.tif")]
    files = FileSet(paths)
    files.__enter__()
    files.part(paths[1], WHOLE).touch()
    remove_parts(paths[:1])
    assert not list(tmp_path.iterdir())
