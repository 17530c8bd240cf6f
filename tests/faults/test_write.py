"""Outputs that cannot be written, or must not be: one message, exit 1, nothing lost and nothing left."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.output.lock import locked

fcntl, resource = (pytest.importorskip(name) for name in ("fcntl", "resource"))

Cmcr = Callable[..., Any]

BESIDE = {
    "--provenance": "which.tif",
    "--quicklook": "look.png",
    "--report": "look.html",
    "--stac": "item.json",
}


def refused(ended: Any, told: str) -> None:
    assert (ended.code, ended.out) == (1, ""), ended
    (line,) = (line for line in ended.err.splitlines() if "error" in line)
    assert line.startswith("cmcr: error: ") and told in line, line


@contextmanager
def quota(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [0, 100, 20_000, 300_000, 1_500_000])
def test_quota(cmcr: Cmcr, given: list[str], out: Path, size: int) -> None:
    """The journal, the mask, the temporary file and the COG are cut in turn; what was there before stays."""
    (out / "clear.tif").write_bytes(b"before")
    beside = [word for option, name in BESIDE.items() for word in (option, str(out / name))]
    with quota(size):
        # Not compressed, the COG is the largest file: its blocks are filled up.
        ended = cmcr(*given, *beside, "--overwrite", "--co", "COMPRESS=NONE")
    refused(ended, "cannot be written")
    assert (out / "clear.tif").read_bytes() == b"before"
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


def test_output_on_another_file_system(cmcr: Cmcr, given: list[str], tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not os.access(other, os.W_OK) or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system, such as /dev/shm")
    folder = other / f"cmcr-{os.getpid()}"
    folder.mkdir()
    try:
        assert cmcr(*given[:-1], folder / "clear.tif").code == 0
        assert [path.name for path in folder.iterdir()] == ["clear.tif"]
    finally:
        shutil.rmtree(folder)


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_may_not_be_written(cmcr: Cmcr, given: list[str], out: Path) -> None:
    out.chmod(0o500)
    try:
        refused(cmcr(*given), "no file can be created")
    finally:
        out.chmod(0o700)


@pytest.mark.parametrize("kind", ["vrt", "item"])
def test_output_that_the_input_is_made_of(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], out: Path, kind: str
) -> None:
    """A VRT and a STAC item name other files; none of them may be replaced, whatever it is given as."""
    source = out / "clear.tif"
    shutil.copy(scene["s2" if kind == "vrt" else "mask"], source)
    made = out / ("s2.vrt" if kind == "vrt" else "s1.json")
    if kind == "vrt":
        band = '<VRTRasterBand dataType="UInt16" band="{0}"><SimpleSource><SourceFilename relativeToVRT="1">'
        band += "clear.tif</SourceFilename><SourceBand>{0}</SourceBand></SimpleSource></VRTRasterBand>"
        made.write_text(
            '<VRTDataset rasterXSize="128" rasterYSize="128"><SRS>EPSG:32631</SRS><GeoTransform>500000, 10, '
            f"0, 5000000, 0, -10</GeoTransform>{''.join(band.format(n) for n in range(1, 14))}</VRTDataset>"
        )
        given[1] = str(made)
    else:
        assets = {name: {"href": "./clear.tif"} for name in ("vv", "vh")}
        item = {"type": "Feature", "stac_version": "1.0.0", "id": "s1", "properties": {}, "assets": assets}
        made.write_text(json.dumps(item))
        given[2] = str(made)
    before = source.read_bytes()
    refused(cmcr(*given, "--overwrite"), "is also used as")
    assert source.read_bytes() == before
    assert {path.name for path in out.iterdir()} <= {source.name, made.name}


def test_two_runs_that_share_only_a_provenance(cmcr: Cmcr, given: list[str], out: Path) -> None:
    with locked([out / "which.tif"]):
        refused(cmcr(*given, "--provenance", out / "which.tif"), "another run is writing it")
    assert not list(out.iterdir())
    ended = cmcr(*given, "--provenance", out / "which.tif")
    assert ended.code == 0, ended.err


def test_a_mask_that_another_run_writes(cmcr: Cmcr, scene: dict[str, Path], weights: Path, out: Path) -> None:
    with locked([out / "mask.tif"]):
        refused(cmcr("mask", scene["s2"], "-o", out / "mask.tif", "--weights", weights), "another run")
    assert not list(out.iterdir())
