"""Pipes, sockets and devices as inputs: refused, since they may have no end, or never begin."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")

Cmcr = Callable[..., Any]


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe.tif"
    os.mkfifo(path)
    return path


ENDLESS = ["s2", "s1", "mask", "aoi", "weights", "product", "item", "list", "beside", "vrt", "in a zip"]


@pytest.mark.parametrize("where", ENDLESS)
def test_pipes_are_refused_and_not_waited_for(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], tmp_path: Path, out: Path, pipe: Path, where: str
) -> None:
    args: list[object] = [*given]
    name, told = str(pipe), "is a pipe"
    if where in ("s2", "s1", "mask"):
        args[{"s2": 1, "s1": 2, "mask": 4}[where]] = name
    elif where == "aoi":
        args += ["--aoi", name]
    elif where == "weights":
        args[args.index("--weights") + 1], told = name, "no such weights file"
    elif where == "product":
        folder = tmp_path / "S2A_MSIL2A_X.SAFE"
        folder.mkdir()
        os.mkfifo(folder / "MTD_MSIL2A.xml")
        args[1] = folder
    elif where == "item":
        args[2] = pipe.rename(tmp_path / "s1.json")
    elif where == "list":
        args, told = ["batch", name, "-o", out], "a pipe or a device"
    elif where == "beside":
        copy = tmp_path / "s2.tif"
        copy.write_bytes(scene["s2"].read_bytes())
        pipe.rename(tmp_path / "s2.tif.aux.xml")
        args[1] = copy
    elif where == "vrt":
        vrt = tmp_path / "s2.vrt"
        vrt.write_text(
            '<VRTDataset rasterXSize="128" rasterYSize="128"><VRTRasterBand dataType="UInt16" band="1">'
            '<SimpleSource><SourceFilename relativeToVRT="1">pipe.tif</SourceFilename></SimpleSource>'
            "</VRTRasterBand></VRTDataset>"
        )
        args[1] = vrt
    else:
        args[1] = f"/vsizip/{pipe}/s2.tif"
    ended = cmcr(*args)
    (line,) = (line for line in ended.err.splitlines() if "error" in line)
    assert ended.code == (3 if where == "weights" else 1) and line.startswith("cmcr: error: ")
    assert told in line, line
    assert not list(out.iterdir())


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom", "/dev/tty", "/vsistdin/", "socket"])
def test_devices_are_refused(cmcr: Cmcr, given: list[str], tmp_path: Path, device: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        if device == "socket":
            device = str(tmp_path / "s")
            server.bind(device)
        if device.startswith("/dev") and not Path(device).exists():
            pytest.skip(f"has no {device}")
        ended = cmcr(*given[:1], device, *given[2:])
        assert ended.code == 1 and "in a file. Save it as one first." in ended.err
        ended = cmcr(*given, "--aoi", device)
        assert ended.code == 1 and ("GeoJSON" in ended.err), ended.err


def test_lists_from_a_shells_pipe(scene: dict[str, Path], weights: Path, out: Path) -> None:
    if not Path("/dev/fd").exists():
        pytest.skip("has no /dev/fd")
    source, sink = os.pipe()
    os.write(sink, f"{scene['s2']}\n".encode())
    os.close(sink)
    args = ["batch", f"/dev/fd/{source}", "-o", out, "--mask", scene["mask"], "--weights", weights]
    command = [sys.executable, "-m", "cmcr_cli", *map(str, args)]
    ended = subprocess.run(command, capture_output=True, text=True, pass_fds=[source], check=False)
    os.close(source)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "1 done, 0 skipped, 0 failed"
