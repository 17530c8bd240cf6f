"""Files that are not ours: no input and no other file is ever lost, whatever names are given or planted."""

from __future__ import annotations

import errno
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.output import files

Cmcr = Callable[..., Any]

BESIDE = {"--provenance": "which.tif", "--quicklook": "look.png", "--report": "look.html", "--stac": "a.json"}


def held(folder: Path) -> dict[str, bytes]:
    """Every file and link below a folder."""
    return {
        str(path.relative_to(folder)): str(path.readlink()).encode()
        if path.is_symlink()
        else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def refused(ended: Any, told: str, code: int = 1) -> None:
    assert ended.code == code and ended.out == ""
    (line,) = (line for line in ended.err.splitlines() if "error" in line)
    assert line.startswith("cmcr: error: ") and told in line, line


@pytest.mark.parametrize("words", [(), ("--overwrite",)], ids=["", "overwrite"])
@pytest.mark.parametrize("suffix", [".msk", ".ovr", ".aux.xml"])
def test_a_mask_named_like_a_sidecar(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], out: Path, suffix: str, words: tuple[str, ...]
) -> None:
    mask = out / f"clear.tif{suffix}"
    shutil.copy(scene["mask"], mask)
    before = held(out)
    refused(cmcr(*given, *words), "is beside it")  # it is not an input
    given[given.index("--mask") + 1] = str(mask)
    refused(cmcr(*given, *words), "takes up the name")
    assert held(out) == before


@pytest.mark.parametrize("option", [*BESIDE, "--uncertainty"])
@pytest.mark.parametrize(
    "name", ["clear.tif.msk", ".clear.tif.cmcr-part", ".clear.tif.cmcr-lock", "../out/clear.tif"]
)
def test_outputs_named_like_what_another_needs(
    cmcr: Cmcr, given: list[str], out: Path, option: str, name: str
) -> None:
    """Their endings tell all but the image's own name, which another raster may be given."""
    more, raster = ("--steps", 2, "--samples", 2), option in ("--provenance", "--uncertainty")
    told, code = ("also used as", 1) if raster and name.endswith(".tif") else ("; expected .", 2)
    refused(cmcr(*given, *more, option, out / name, "--overwrite"), told, code)
    assert not held(out)


def test_two_rasters_with_one_style(cmcr: Cmcr, given: list[str], out: Path) -> None:
    refused(cmcr(*given, "--provenance", out / "clear.tiff", "--qml", "--overwrite"), "also used as")
    assert not held(out)


def test_the_weights_as_output(cmcr: Cmcr, given: list[str], weights: Path, out: Path) -> None:
    own = out / "clear.tif"
    shutil.copy(weights, own)
    given[given.index("--weights") + 1] = str(own)
    before = held(out)
    refused(cmcr(*given, "--overwrite"), "also used as")
    refused(cmcr(*given[:-1], out / "new.tif", "--provenance", own, "--overwrite"), "also used as")
    assert held(out) == before


@pytest.mark.parametrize("deep", [False, True])
def test_the_source_of_a_mask_that_is_virtual(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], out: Path, deep: bool
) -> None:
    band = '<VRTRasterBand dataType="{1}" band="1"><SimpleSource><SourceFilename relativeToVRT="1">'
    band += "{0}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
    frame = '<VRTDataset rasterXSize="128" rasterYSize="128"><SRS>EPSG:32631</SRS><GeoTransform>500000, 10, '
    frame += "0, 5000000, 0, -10</GeoTransform>{0}</VRTDataset>"
    shutil.copy(scene["mask"], out / "clear.tif")
    for name, of in (("mask.vrt", "clear.tif"), ("outer.vrt", "mask.vrt")):
        (out / name).write_text(frame.format(band.format(of, "Byte")))
    given[given.index("--mask") + 1] = str(out / ("outer.vrt" if deep else "mask.vrt"))
    before = held(out)
    refused(cmcr(*given, "--overwrite"), "also used as")
    assert held(out) == before


def test_the_archive_of_an_input(cmcr: Cmcr, given: list[str], scene: dict[str, Path], out: Path) -> None:
    with zipfile.ZipFile(out / "clear.tif", "w") as archive:
        archive.write(scene["s2"], "in/s2.tif")
    before = held(out)
    for address in (f"/vsizip/{out}/clear.tif/in/s2.tif", f"/vsizip/{{{out}/clear.tif}}/in/s2.tif"):
        given[1] = address
        refused(cmcr(*given, "--overwrite"), "also used as")
    assert held(out) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links and devices")
@pytest.mark.parametrize("target", ["/dev/null", "/dev/zero", "victim", "none"])
def test_an_output_that_is_a_link(cmcr: Cmcr, given: list[str], out: Path, target: str) -> None:
    (out / "victim").write_text("mine")
    (out / "clear.tif").symlink_to(target)
    before = held(out)
    refused(cmcr(*given, "--overwrite"), "is a link to")
    refused(
        cmcr(*given[:-1], out / "a.tif", "--provenance", out / "clear.tif", "--overwrite"), "is a link to"
    )
    assert held(out) == before


@pytest.mark.parametrize("name", [".clear.tif.cmcr-part", ".clear.tif.cmcr-lock", ".which.tif.cmcr-part"])
@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "dangling link", "file"])
def test_a_temporary_name_that_was_planted(
    cmcr: Cmcr, given: list[str], out: Path, tmp_path: Path, name: str, kind: str
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "whole").write_text("mine")
    targets = {
        "link to a file": victim / "whole",
        "link to a folder": victim,
        "dangling link": victim / "new",
    }
    if kind == "file":
        (out / name).write_text("mine")
    else:
        (out / name).symlink_to(targets[kind])
    before = held(tmp_path)
    refused(cmcr(*given, "--provenance", out / "which.tif", "--overwrite"), name)
    assert held(tmp_path) == before


# Sets


@pytest.fixture
def everything(given: list[str], out: Path) -> list[str]:
    """A run with all outputs but one."""
    return [*given, *(str(word) for option, name in BESIDE.items() for word in (option, out / name))]


@pytest.mark.parametrize(
    ("where", "what", "at"),
    [(files, "new_file", 1), (files, "new_file", 3), (files, "flush_to_disk", 5), (files, "rename", 8)],
    ids=["picture", "item", "sync", "rename"],
)
def test_no_room_for_one_of_a_set(
    cmcr: Cmcr,
    everything: list[str],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: Any,
    what: str,
    at: int,
) -> None:
    """Whichever it is, the old set stays as it was, and nothing is left of the new one."""
    for name in ("clear.tif", *BESIDE.values()):
        (out / name).write_text(f"old {name}")
    before, call, calls = held(out), getattr(where, what), []

    def full(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return call(*args)

    monkeypatch.setattr(where, what, full)
    ended = cmcr(*everything, "--overwrite")
    refused(ended, "No space left")
    assert held(out) == before and not list(out.glob(".*"))


def test_a_run_that_was_killed_amid_its_renames_is_not_in_the_way(
    cmcr: Cmcr, given: list[str], out: Path
) -> None:
    """Its provenance had its name, the image not: the same command works, without --overwrite."""
    which = out / "which.tif"
    which.write_text("new")
    for path in (out / "clear.tif", which):
        files.folder_of(path).mkdir()
    found = which.stat()
    (files.folder_of(out / "clear.tif") / "none").write_text("0 0")
    (files.folder_of(which) / "none").write_text(f"{found.st_dev} {found.st_ino}")
    ended = cmcr(*given, "--provenance", which)
    assert ended.code == 0, ended.err
    assert sorted(held(out)) == ["clear.tif", "which.tif"] and not list(out.glob(".*"))
    (files.folder_of(which)).mkdir()
    (files.folder_of(which) / "none").write_text("0 0")
    refused(cmcr(*given, "--provenance", which), "exists already")


# Batches


@pytest.fixture
def batch(cmcr: Cmcr, weights: Path, scene: dict[str, Path], tmp_path: Path, out: Path) -> Callable[..., Any]:
    """Runs a list of scenes into `out`."""

    def run(*rows: str, name: str = "scenes.csv", words: tuple[object, ...] = ("--overwrite",)) -> Any:
        listed = tmp_path / name
        listed.write_text("\n".join(("s2,output,mask", *rows)).replace("S2", str(scene["s2"])))
        return cmcr("batch", listed, "-o", out, "--weights", weights, *words)

    return run


def test_an_output_that_a_later_scene_reads(
    batch: Callable[..., Any], scene: dict[str, Path], out: Path
) -> None:
    for name in ("a.tif", "mask.tif"):
        shutil.copy(scene["s2" if name == "a.tif" else "mask"], out / name)
    before = held(out)
    refused(batch("S2,a.tif", f"{out / 'a.tif'},b.tif"), "also used as")
    refused(batch("S2,a.tif", f"{out}/../out/a.tif,b.tif"), "also used as")
    refused(batch(f"S2,b.tif,{out / 'mask.tif'}", "S2,mask.tif"), "also used as")
    refused(batch(f"S2,b.tif,{out / 'c.tif'}", "S2,c.tif"), "also used as")
    assert held(out) == before


@pytest.mark.parametrize("other", ["./a.tif", "x/../a.tif", "link/a.tif"])
def test_two_scenes_with_one_output(batch: Callable[..., Any], out: Path, other: str) -> None:
    (out / "x").mkdir()
    (out / "link").symlink_to(out)
    ended = batch("S2,a.tif", f"S2,{other}")
    assert ended.code in (1, 2) and ended.out == ""
    assert "also used as" in ended.err or "would both be written" in ended.err
    assert held(out) == {"link": str(out).encode()}


@pytest.mark.parametrize("output", ["../a.tif", "{0}/a.tif", "x/../../a.tif", "link/a.tif"])
def test_outputs_outside_of_the_folder(
    batch: Callable[..., Any], tmp_path: Path, out: Path, output: str
) -> None:
    (out / "link").symlink_to(tmp_path)
    refused(batch(f"S2,{output.format(tmp_path)}"), "which is not in", code=2)
    assert not (tmp_path / "a.tif").exists()


def test_the_list_itself(batch: Callable[..., Any], out: Path) -> None:
    refused(batch("S2,scenes.tif", name="out/scenes.tif"), "also used as")
    assert (out / "scenes.tif").read_text().startswith("s2,output")
