"""Values that mean nothing must not pass for pixels: NaN and infinity from a network, masks, half files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmcr_cli.model import weights as weights_file
from cmcr_cli.removal.restore import steps as steps_module
from cmcr_cli.scene.bands import BANDS

Cmcr = Callable[..., Any]
Write = Callable[..., Path]


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        pixels: NDArray[Any] = file.read()
    return pixels


def refused(ended: Any, code: int, told: str) -> None:
    (line,) = (line for line in ended.err.splitlines() if "error" in line)
    assert (ended.code, ended.out) == (code, "")
    assert line.startswith("cmcr: error: ") and told in line, line


@pytest.fixture(params=["denoiser", "clouds"])
def overflowing(request: pytest.FixtureRequest, weights: Path, tmp_path: Path) -> tuple[str, Path]:
    """Finite weights, and which network of them is so large that what it makes is not finite."""
    loaded = weights_file.load(weights)
    for parameter in getattr(loaded, request.param).parameters():
        torch.nn.init.constant_(parameter, 3e38)
    path = tmp_path / "large.safetensors"
    weights_file.save(path, loaded)
    return request.param, path


def test_networks_that_overflow_are_refused(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], out: Path, overflowing: tuple[str, Path]
) -> None:
    """Compared with a threshold NaN is clear ground, and stored as an integer it may be nodata."""
    network, path = overflowing
    given[given.index("--weights") + 1] = str(path)
    if network == "clouds":
        given[given.index("--mask") + 1] = "auto"
        told = "the cloud network of the weights gave NaN"
        refused(cmcr("mask", scene["s2"], "-o", out / "mask.tif", "--weights", path), 3, told)
    else:
        told = "the weights tiny"
    for extra in ((), ("--steps", 2, "--samples", 2, "--uncertainty", out / "std.tif"), ("--no-keep-clear",)):
        refused(cmcr(*given, "--provenance", out / "which.tif", *extra), 3, told)
    assert not list(out.iterdir())


def test_a_patch_that_is_not_finite_is_repeated_in_32_bits(
    cmcr: Cmcr, given: list[str], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an overflow of 16-bit floats: once, and with the same pixels."""
    expected, resample, precise = {}, steps_module.resample, steps_module._precision
    for steps in (1, 2):
        assert cmcr(*given, "--steps", steps, "--overwrite").code == 0
        expected[steps] = read(out / "clear.tif")
    exact: list[bool] = []

    def precision(device: torch.device, wanted: bool) -> Any:
        exact.append(wanted)
        return precise(device, wanted)

    for value in (float("nan"), float("inf"), float("-inf")):

        def broken(*args: Any, value: float = value) -> Tensor:
            found = resample(*args)
            if not exact[-1]:
                found[..., 7, 9] = value
            return found

        monkeypatch.setattr(steps_module, "resample", broken)
        monkeypatch.setattr(steps_module, "_precision", precision)
        for steps, image in expected.items():
            exact.clear()
            assert cmcr(*given, "--steps", steps, "--overwrite", "--batch-size", 2).code == 0
            assert True in exact
            # Features of 16 bits wait for the second step; those of the repetition do not.
            off = np.abs(read(out / "clear.tif").astype(int) - image)
            assert off.max() <= (0 if steps == 1 else 2)


@pytest.mark.parametrize(
    ("nodata", "codes"),
    [(1, None), (1, "binary"), (1, "cmcr"), (1, "1=cloud"), (1, "omnicloudmask"), (0, "0=cloud,1=clear"),
     (2, "1=clear,2=thin"), (3, "cmcr")],
)  # fmt: skip
def test_masks_whose_cover_is_nodata_are_refused(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], write: Write, tmp_path: Path, out: Path,
    nodata: int, codes: str | None,
) -> None:  # fmt: skip
    """Nothing is removed at nodata, so all of the cloud would stay."""
    pixels = read(scene["mask"])
    pixels[pixels == 1] = nodata or 1
    given[given.index("--mask") + 1] = str(write(tmp_path / "mask.tif", pixels, nodata=nodata))
    refused(cmcr(*given, *(("--mask-codes", codes) if codes else ())), 1, f"its nodata value is {nodata}")
    assert not list(out.iterdir())


@pytest.mark.parametrize("north", [False, True], ids=["east", "north"])
def test_areas_of_a_neighbouring_tile(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], tmp_path: Path, out: Path, north: bool
) -> None:
    """It shares an edge with the scene, and no pixel."""
    with rasterio.open(scene["s2"]) as file:
        west, south, east, top = file.bounds
    x, y = (0, top - south) if north else (east - west, 0)
    ring = [(west, south), (east, south), (east, top), (west, top), (west, south)]
    aoi = tmp_path / "neighbour.geojson"
    crs = {"type": "name", "properties": {"name": "EPSG:32631"}}
    polygon = {"type": "Polygon", "coordinates": [[[a + x, b + y] for a, b in ring]], "crs": crs}
    aoi.write_text(json.dumps(polygon))
    refused(cmcr(*given, "--aoi", aoi), 4, "only touches the edge of the scene")
    assert not list(out.iterdir())


def test_a_box_around_the_whole_world(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], out: Path
) -> None:
    ended = cmcr(*given, "--bbox", "-180,-90,180,90")
    assert ended.code == 0, ended.err
    assert read(out / "clear.tif").shape == (len(BANDS), 128, 128)


@pytest.mark.parametrize("what", ["lost", "cut short", "of another run"])
@pytest.mark.parametrize("extra", ["provenance", "quicklook", "report", "stac"])
def test_a_set_that_is_not_whole_is_not_skipped(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], tmp_path: Path, out: Path, extra: str, what: str
) -> None:
    """What is asked for beside the image is part of what is done."""
    listed = tmp_path / "scenes.csv"
    listed.write_text(f"{scene['s2']},{scene['s1']},clear.tif\n")
    args = ("batch", listed, "-o", out, *given[3:7], "--skip-existing", "--json", f"--{extra}")
    if what == "of another run":
        if extra != "provenance":
            pytest.skip("only rasters say of which run they are")
        assert json.loads(cmcr(*args, "--seed", 5).out)["done"] == 1
        other = (out / "clear_provenance.tif").read_bytes()
        (out / "clear.tif").unlink()
        (out / "clear_provenance.tif").unlink()
    assert json.loads(cmcr(*args).out)["done"] == 1
    assert json.loads(cmcr(*args).out)["skipped"] == 1
    (beside,) = (path for path in out.iterdir() if path.name != "clear.tif")
    image, content = (out / "clear.tif").read_bytes(), beside.read_bytes()
    if what == "lost":
        beside.unlink()
    else:
        beside.write_bytes(other if what == "of another run" else content[: len(content) // 2])
    ended = cmcr(*args)
    (told,) = json.loads(ended.out)["scenes"]
    assert (ended.code, told["status"]) == (1, "failed")
    assert beside.name in told["error"] and "--overwrite" in told["error"]
    assert (out / "clear.tif").read_bytes() == image
    assert json.loads(cmcr(*args, "--overwrite").out)["done"] == 1
    assert json.loads(cmcr(*args).out)["skipped"] == 1


def test_what_is_no_whole_image_is_not_skipped(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], tmp_path: Path, out: Path
) -> None:
    """Only a complete image counts as done; anything else is not ours to replace without being told."""
    assert cmcr(*given).code == 0
    whole, listed = (out / "clear.tif").read_bytes(), tmp_path / "scenes.csv"
    listed.write_text(f"{scene['s2']},{scene['s1']},clear.tif\n")
    args = ("batch", listed, "-o", out, *given[3:7], "--skip-existing", "--json")
    for content in (b"", b"mine", whole[:300], whole[: len(whole) // 2], whole[:-100]):
        (out / "clear.tif").write_bytes(content)
        ended = cmcr(*args)
        (scene_told,) = json.loads(ended.out)["scenes"]
        assert (ended.code, scene_told["status"]) == (1, "failed"), len(content)
        assert "is not a complete image" in scene_told["error"] and "--overwrite" in scene_told["error"]
        assert (out / "clear.tif").read_bytes() == content
    (out / "clear.tif").write_bytes(whole)
    assert json.loads(cmcr(*args).out)["skipped"] == 1
    (out / "clear.tif").write_bytes(b"")
    assert json.loads(cmcr(*args, "--overwrite").out)["done"] == 1
    assert read(out / "clear.tif").shape == (len(BANDS), 128, 128)
