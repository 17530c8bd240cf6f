from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cmcr_cli.errors import OutputError
from cmcr_cli.output.claims import Claims, check_writable, files_behind


def _found(address: str) -> set[Path]:
    return {path.resolve() for path in files_behind(address) if path.is_file()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a, b" / "s2:1.tif"
    path.parent.mkdir()
    path.write_bytes(b"II*\0")
    return path


@pytest.mark.parametrize(
    "address",
    [
        "{0}",
        "/vsizip/{0}/inside/b02.tif",
        "/vsizip/{{{0}}}/inside/b02.tif",
        "/vsitar//vsigzip/{0}/x",
        "/vsisubfile/100_2000,{0}",
        "/vsicached?chunk_size=4096&file={0}",
        "vrt://{0}?bands=1",
        "zip://{0}!x.tif",
        "GTIFF_DIR:1:{0}",
        'NETCDF:"{0}":b02',
        "file://{0}",
        '<VRTDataset><SourceFilename relativeToVRT="0">{0}</SourceFilename></VRTDataset>',
    ],
)
def test_files_in_addresses(source: Path, address: str) -> None:
    assert source.resolve() in _found(address.format(source))


def test_files_behind_files_behind_files(tmp_path: Path, source: Path) -> None:
    """A STAC item names a VRT, which names another, which names the first and a raster in an archive."""
    raster = tmp_path / "in & out.zip"
    raster.write_bytes(b"PK")
    inner, outer, item = (tmp_path / name for name in ("inner.vrt", "outer.vrt", "item.json"))
    inner.write_text("<VRTDataset><S>outer.vrt</S><S>/vsizip/in &amp; out.zip/b.tif</S></VRTDataset>")
    outer.write_text("  <VRTDataset><S>inner.vrt</S></VRTDataset>")
    item.write_text(json.dumps({"assets": {"B02": {"href": "./outer.vrt"}, "x": {"href": str(source)}}}))
    expected = {path.resolve() for path in (item, outer, inner, raster, source)}
    assert _found(str(item)) == expected
    assert _found(str(item).replace("item", "x/../item")) == set(), "a folder that is not there"


def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert _found(str(tmp_path / "pipe")) == set()
    assert _found("/dev/zero") == set()


@pytest.mark.parametrize(
    "output",
    [
        "s2.tif",
        "x/../s2.tif",
        "linked.tif",
        "pointing.tif",
        "folder/s2.tif",
        "s2.tif.aux.xml",
        "s2.tif.msk",
        "gone.tif",
    ],
)
def test_outputs_that_meet_inputs(tmp_path: Path, output: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / "s2.tif").write_bytes(b"")
    (tmp_path / "linked.tif").hardlink_to(tmp_path / "s2.tif")
    (tmp_path / "pointing.tif").symlink_to("s2.tif")
    claims = Claims()
    claims.read(tmp_path / "s2.tif", tmp_path / "gone.tif", "/vsicurl/https://example.com/s2.tif")
    claims.write(tmp_path / "new.tif")
    claims.check()
    claims.write(tmp_path / output)
    with pytest.raises(OutputError, match="also used"):
        claims.check()


def test_two_outputs_of_one_name_are_told_by_that_name(tmp_path: Path) -> None:
    claims = Claims()
    claims.write(tmp_path / "o.tif")
    with pytest.raises(OutputError, match=r"o\.tif: is also used as .*o\.tif in this run"):
        claims.write(tmp_path / "x" / ".." / "o.tif")


@pytest.mark.parametrize(
    "read",
    ["o.tif.msk", "o.tif.aux.xml", ".o.tif.cmcr-part", ".o.tif.cmcr-part/rows.raw", ".o.tif.cmcr-lock"],
)
def test_inputs_that_bear_names_an_output_needs(tmp_path: Path, read: str) -> None:
    claims = Claims()
    claims.read(tmp_path / read)
    claims.write(tmp_path / "o.tif")
    with pytest.raises(OutputError, match=r"takes up the name|also used"):
        claims.check()


@pytest.mark.parametrize(
    "other",
    [
        "o.tif",
        "x/../o.tif",
        "folder/o.tif",
        "o.tif.msk",
        ".o.tif.cmcr-part",
        ".o.tif.cmcr-part/whole",
        ".o.tif.cmcr-lock",
    ],
)
def test_outputs_that_meet_each_other(tmp_path: Path, other: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path)
    for first, second in (("o.tif", other), (other, "o.tif")):
        claims = Claims()
        claims.write(tmp_path / first)
        with pytest.raises(OutputError, match="also used"):
            claims.write(tmp_path / second)


@pytest.mark.parametrize("address", ["a" * 5000, "/" + "a/" * 3000, "<VRTDataset>" + "x" * 5000, "\0", ""])
def test_addresses_that_are_no_paths(tmp_path: Path, address: str) -> None:
    claims = Claims()
    claims.read(address)
    claims.write(tmp_path / "o.tif")
    claims.check()


def test_files_of_a_product_stay(tmp_path: Path) -> None:
    (tmp_path / "p.SAFE").mkdir()
    metadata, other = tmp_path / "p.SAFE" / "MTD_MSIL1C.xml", tmp_path / "p.SAFE" / "manifest.safe"
    metadata.write_text("<a/>")
    other.write_text("<a/>")
    for named in (metadata, tmp_path / "p.SAFE"):
        claims = Claims()
        claims.read(named)
        claims.write(tmp_path / "p.SAFE" / "new.tif")
        claims.check()
        claims.write(other)
        with pytest.raises(OutputError, match="is a part of"):
            claims.check()


def test_files_of_a_product_in_zarr_stay(tmp_path: Path) -> None:
    array = tmp_path / "p.zarr" / "measurements" / "reflectance" / "r10m" / "b02"
    array.mkdir(parents=True)
    (array / "0.0").write_text("")
    for named in (tmp_path / "p.zarr", array.parent / "b03", tmp_path / "p.zarr" / ".zgroup"):
        claims = Claims()
        claims.read(named)
        claims.write(array / "0.0")
        with pytest.raises(OutputError, match="is a part of"):
            claims.check()


def test_check_writable_names_the_cure(tmp_path: Path) -> None:
    there = tmp_path / "there.tif"
    there.write_bytes(b"")
    (tmp_path / "pointing.tif").symlink_to(there)
    (tmp_path / "dangling.tif").symlink_to(tmp_path / "none.tif")
    for folder in (Path(), Path("/"), Path(".."), tmp_path):
        claims = Claims()
        claims.read(folder)
        claims.write(tmp_path / "new.tif")
        claims.check()
        Claims().write(folder)
        with pytest.raises(OutputError, match="is a folder"):
            check_writable(folder, overwrite=True)
    check_writable(tmp_path / "new.tif", overwrite=False)
    check_writable(there, overwrite=True)
    for path, told in (
        (there, "--overwrite"),
        (tmp_path, "is a folder"),
        (tmp_path / "none" / "new.tif", "does not exist"),
        (there / "new.tif", "does not exist"),
        (tmp_path / "pointing.tif", "is a link to"),
        (tmp_path / "dangling.tif", "is a link to"),
    ):
        with pytest.raises(OutputError, match=told):
            check_writable(path, overwrite=False)
    assert {path.name for path in tmp_path.iterdir()} == {"there.tif", "pointing.tif", "dangling.tif"}


def test_sidecars_that_are_not_gdals_are_refused(tmp_path: Path) -> None:
    path, cache = tmp_path / "o.tif", tmp_path / "o.tif.aux.xml"
    cache.write_text("<PAMDataset/>")
    with pytest.raises(OutputError, match="beside it"):
        check_writable(path, overwrite=True)  # of what?
    path.write_bytes(b"old")
    check_writable(path, overwrite=True)
    for suffix in (".msk", ".ovr"):
        (tmp_path / f"o.tif{suffix}").write_bytes(b"II*\0")
        with pytest.raises(OutputError, match="beside it"):
            check_writable(path, overwrite=True)
        (tmp_path / f"o.tif{suffix}").unlink()
    cache.write_text("mine")
    with pytest.raises(OutputError, match="beside it"):
        check_writable(path, overwrite=True)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write to")
def test_folders_and_devices_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no file can be created"):
        check_writable(Path("/proc/new.tif"), overwrite=False)
    with pytest.raises(OutputError, match="not a regular file"):
        check_writable(Path("/dev/null"), overwrite=True)
    (tmp_path / "o.tif").symlink_to("/dev/null")
    with pytest.raises(OutputError, match="is a link to /dev/null"):
        check_writable(tmp_path / "o.tif", overwrite=True)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs users of POSIX")
def test_a_file_that_only_its_owner_may_replace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder like /tmp, the rename would fail when all the work is done."""
    (tmp_path / "o.tif").touch()
    check_writable(tmp_path / "o.tif", overwrite=True)
    tmp_path.chmod(0o1777)
    check_writable(tmp_path / "o.tif", overwrite=True)
    other = tmp_path.stat().st_uid + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    check_writable(tmp_path / "p.tif", overwrite=True)
    with pytest.raises(OutputError, match="belongs to another user"):
        check_writable(tmp_path / "o.tif", overwrite=True)


def test_folders_that_nobody_may_look_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user who is not root has them."""

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "lstat", denied)
    with pytest.raises(
        OutputError, match=r"a\.tif: you may not look into .*Permission denied.*another with -o"
    ):
        check_writable(tmp_path / "a.tif", overwrite=False)
