from __future__ import annotations

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


def test_a_set_is_known_by_its_first_file(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("image.tif", "band.tif")]
    with FileSet(paths) as files:
        assert members_of(folder_of(paths[0])) == paths
        for path in paths:
            files.part(path).touch()
            files.finish(path)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    (tmp_path / MEMBERS).write_text("[3")
    assert members_of(tmp_path) == members_of(tmp_path / "none") == []


def killed(paths: list[Path]) -> None:
    """Leave what a run leaves that is killed when old files are aside, and one new file has its name."""
    with pytest.raises(KeyboardInterrupt), FileSet(paths):
        note = (folder_of(paths[0]) / MEMBERS).read_bytes()
        raise KeyboardInterrupt
    for path in paths:
        folder_of(path).mkdir(mode=0o700)
        path.rename(folder_of(path) / OLD)
    (folder_of(paths[0]) / MEMBERS).write_bytes(note)
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


def test_parts_of_a_killed_run_go_with_the_first(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("image.tif", "band.tif")]
    files = FileSet(paths)
    files.__enter__()
    files.part(paths[1], WHOLE).touch()
    remove_parts(paths[:1])
    assert not list(tmp_path.iterdir())
