"""Too little memory and networks that do not answer: refused before the work starts, or ended in time."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rasterio
import torch
from rasterio.env import get_gdal_config

from cmcr_cli.errors import InputError
from cmcr_cli.removal.restore import budget
from cmcr_cli.runtime import limits
from cmcr_cli.runtime.device import usable_cores
from cmcr_cli.runtime.spill import SpillStore
from cmcr_cli.scene.raster import NETWORK, open_raster

Cmcr = Callable[..., Any]


def test_too_little_memory_is_refused_before_the_work(
    cmcr: Cmcr, given: list[str], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "available", lambda: 200 * 2**20)
    ended = cmcr(*given)
    assert ended.code == 1 and "leaves 200 MB" in ended.err.splitlines()[-1]
    assert not list(out.iterdir())


def test_with_less_memory_less_is_kept_and_the_pixels_are_the_same(
    cmcr: Cmcr, given: list[str], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What finds no room between two steps waits on disk."""
    room, init = [], SpillStore.__init__

    def noted(self: SpillStore, limits: dict[torch.device, int], output: Path) -> None:
        room.append(limits[torch.device("cpu")])
        init(self, limits, output)

    monkeypatch.setattr(SpillStore, "__init__", noted)
    images, worker = [], 400 * 2**20 // usable_cores()
    for left, at_work in ((None, 2**28), (10 * 2**30, 2**28), (610 * 2**20, 2**28), (None, 0)):
        monkeypatch.setattr(budget, "IN_FLIGHT", at_work)
        monkeypatch.setattr(limits, "available", lambda left=left: left)
        monkeypatch.setattr(budget, "WORKING_BYTES", 2**20 if left is None or left > 2**30 else worker)
        ended = cmcr(*given, "--steps", 2, "--overwrite", "--batch-size", 1)
        assert ended.code == 0, ended.err
        images.append((out / "clear.tif").read_bytes())
    assert len(set(images)) == 1
    assert room[0] == room[1] > room[2] > 0 > room[3]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs RLIMIT_AS")
def test_ulimit(given: list[str], out: Path) -> None:
    """In a process of its own, which may take 50 MB more than it has when all libraries are loaded."""
    code = (
        "import resource, sys; from cmcr_cli.cli.main import main; from cmcr_cli import removal\n"
        "import psutil\n"
        "limit = psutil.Process().memory_info().vms + 250 * 2**20\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "main(sys.argv[1:])"
    )
    ended = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "ulimit -v" in ended.stderr.splitlines()[-1] and "Traceback" not in ended.stderr
    assert not list(out.iterdir())


def test_requests_have_limits_that_the_user_may_change(
    scene: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "7")
    with rasterio.Env(GDAL_HTTP_MAX_RETRY="9"), open_raster(scene["s2"], "a scene"):
        found = {name: get_gdal_config(name) for name in NETWORK}
    assert {name: str(value) for name, value in found.items()} == {
        **NETWORK,
        "GDAL_HTTP_TIMEOUT": "7",
        "GDAL_HTTP_MAX_RETRY": "9",
    }


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "1")
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    monkeypatch.setenv("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR")
    started = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"/vsicurl/http://127.0.0.1:{server.getsockname()[1]}/s2.tif"
        with pytest.raises(InputError, match="cannot be opened"), open_raster(address, "a scene"):
            pass
    assert time.monotonic() - started < 20
