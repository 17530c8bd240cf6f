"""Input that is odd or wrong, through the whole command: a right result or one line that says what to do."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from cmcr_cli.scene.bands import BANDS, RADAR_BANDS

Cmcr = Callable[..., Any]
Pixels = dict[str, NDArray[Any]]
Write = Callable[..., Path]

POLE = Affine(10, 0, -640, 0, -10, 640)


def failed(ended: Any, code: int, told: str) -> None:
    (line,) = (line for line in ended.err.splitlines() if "error" in line)
    assert ended.code == code
    assert line.startswith("cmcr: error: ") and told in line
    assert "Traceback" not in ended.err


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        pixels: NDArray[Any] = file.read()
    return pixels


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda dn: dn * 0, "every pixel is nodata"),
        (lambda dn: dn * 0 + 65_535, "its 13 bands have no names"),
        (lambda dn: (dn // 100).astype(np.uint8), "uint8 pixels"),
        (lambda dn: dn.astype(np.complex64), "complex64 pixels"),
        (lambda dn: dn[:2].astype(np.float32), "Sentinel-2 scene comes first"),
        (lambda dn: dn[:5], "5 bands without names"),
    ],
)
def test_scene_of_other_content(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], write: Write, tmp_path: Path, out: Path,
    change: Callable[[NDArray[Any]], NDArray[Any]], told: str,
) -> None:  # fmt: skip
    given[1] = str(write(tmp_path / "s2.tif", change(read(scene["s2"]))))
    failed(cmcr(*given), 1, told)
    assert not list(out.iterdir())


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ((*BANDS[:12], "B11"), "duplicate band names"),
        ((*BANDS[:12], "B13"), "'B13' is not known as a band"),
        (("B01", "B05", "B06", "B07"), "at least B02 B03 B04 B08"),
    ],
)
def test_bands_of_other_names(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], write: Write, tmp_path: Path,
    names: tuple[str, ...], told: str,
) -> None:  # fmt: skip
    given[1] = str(write(tmp_path / "s2.tif", read(scene["s2"])[: len(names)], names))
    failed(cmcr(*given), 1, told)


@pytest.mark.parametrize(
    ("transform", "told"),
    [
        (Affine(9.8, 1.7, 500_000, 1.7, -9.8, 5_000_000), "rotated"),
        (Affine(0, 0, 500_000, 0, 0, 5_000_000), "geotransform"),
        (Affine(10, 0, float("nan"), 0, -10, 5_000_000), "geotransform"),
        (Affine(float("inf"), 0, 500_000, 0, -10, 5_000_000), "geotransform"),
    ],
)
def test_grids_that_cannot_be_used(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], write: Write, tmp_path: Path,
    transform: Affine, told: str,
) -> None:  # fmt: skip
    given[1] = str(write(tmp_path / "s2.tif", read(scene["s2"]), BANDS, transform=transform))
    del given[2]  # without radar, which might be refused first
    failed(cmcr(*given), 1, told)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:3413", POLE),
        ("EPSG:3031", POLE),
        ("EPSG:32661", Affine(10, 0, 1_999_360, 0, -10, 2_000_640)),
        ("EPSG:4326", Affine(1e-4, 0, 179.995, 0, -1e-4, 10)),
        ("EPSG:32660", Affine(10, 0, 832_000, 0, -10, 1000)),
        ("EPSG:32631", Affine(10, 0, 500_000, 0, 10, 5_000_000)),
        ("EPSG:32631", Affine(-10, 0, 501_280, 0, -10, 5_000_000)),
    ],
    ids=["pole", "south pole", "UPS", "antimeridian in degrees", "antimeridian", "south-up", "mirrored"],
)
def test_places_and_directions(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], write: Write, tmp_path: Path, out: Path,
    crs: str, transform: Affine,
) -> None:  # fmt: skip
    """Poles, the antimeridian, rows that run north: the same pixels as anywhere else, and a STAC item."""
    before, mask = read(scene["s2"]), read(scene["mask"])
    place = {"crs": crs, "transform": transform}
    given[1] = str(write(tmp_path / "s2.tif", before, BANDS, **place))
    given[2] = str(write(tmp_path / "s1.tif", read(scene["s1"]), RADAR_BANDS, **place))
    given[4] = str(write(tmp_path / "mask.tif", mask, ("mask",), **place))
    which = out / "which.tif"
    ended = cmcr(*given, "--provenance", which, "--stac", out / "item.json")
    assert ended.code == 0, ended.err
    after, observed = read(out / "clear.tif"), read(which)[0] == 1
    assert np.array_equal(after[:, observed], before[:, observed]) and observed.any()
    assert (after[:, ~observed] != before[:, ~observed]).any()
    assert not observed[mask[0] == 1].any()
    with rasterio.open(out / "clear.tif") as file:
        assert (file.crs, file.transform) == (rasterio.CRS.from_string(crs), transform)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 200), (200, 1)])
def test_single_pixels_and_rows(
    cmcr: Cmcr, given: list[str], pixels: Callable[[int, int], Pixels], write: Write, tmp_path: Path,
    out: Path, height: int, width: int,
) -> None:  # fmt: skip
    """With all that can be written beside: pictures and statistics of a single pixel, too."""
    made = pixels(height, width)
    for index, name in ((1, "s2"), (2, "s1"), (4, "mask")):
        given[index] = str(write(tmp_path / f"{name}.tif", made[name], BANDS if name == "s2" else None))
    beside = ["--quicklook", out / "a.png", "--report", out / "a.html", "--stac", out / "a.json"]
    beside += ["--mask-codes", "binary"]  # a single 1 may mean other things, too
    ended = cmcr(*given, *beside, "--steps", 2, "--samples", 2, "--uncertainty", out / "std.tif")
    assert ended.code == 0, ended.err
    assert read(out / "clear.tif").shape == (13, height, width)


def test_20_000_columns(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], write: Write, tmp_path: Path, out: Path
) -> None:
    names = ("B02", "B03", "B04", "B08")
    chosen = read(scene["s2"])[[BANDS.index(name) for name in names], 40:43]
    before = np.tile(chosen, (1, 1, 157))[:, :, :20_000]
    mask = np.zeros((1, 3, 20_000), np.uint8)
    mask[:, :, 19_990:] = 1
    given[1] = str(write(tmp_path / "s2.tif", before, names))
    given[4] = str(write(tmp_path / "mask.tif", mask))
    del given[2]  # no radar
    ended = cmcr(*given, "--co", "BLOCKSIZE=128")  # there are but 3 rows
    assert ended.code == 0, ended.err
    after = read(out / "clear.tif")
    assert np.array_equal(after[:, :, :19_000], before[:, :, :19_000])
    assert (after[:, :, 19_990:] != before[:, :, 19_990:]).any()


@pytest.mark.parametrize("value", ["nan", "inf", "1e9", "-70000", "5000"])
def test_absurd_offsets(cmcr: Cmcr, given: list[str], value: str) -> None:
    failed(cmcr(*given, "--offset", value), 2, "--offset")


def test_arguments_in_the_wrong_order(cmcr: Cmcr, given: list[str]) -> None:
    given[1], given[2] = given[2], given[1]
    failed(cmcr(*given), 1, "Sentinel-2 scene comes first")


@pytest.mark.parametrize(
    ("change", "units", "told"),
    [
        (lambda db: db * np.nan, "auto", "no pixel over the scene is valid"),
        (lambda db: db * 0 + np.inf, "auto", "no pixel over the scene is valid"),
        (lambda db: db * 0 + 1e38, "auto", "median of its values is 1e+38"),
        (lambda db: 400 * 10 ** (db / 20), "auto", "Calibrate digital numbers"),
        (lambda db: db, "linear", "never negative"),
        (lambda db: db[:1], "auto", "1 bands"),
    ],
)
def test_radar_that_cannot_be_used(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], write: Write, tmp_path: Path,
    change: Callable[[NDArray[Any]], NDArray[Any]], units: str, told: str,
) -> None:  # fmt: skip
    given[2] = str(write(tmp_path / "s1.tif", change(read(scene["s1"])).astype(np.float32)))
    failed(cmcr(*given, "--s1-units", units), 1, told)


def test_radar_with_holes_and_infinity(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], write: Write, tmp_path: Path, out: Path
) -> None:
    db = read(scene["s1"])
    db[0, :50], db[1, 60:70], db[:, 80] = np.inf, -np.inf, np.nan
    given[2] = str(write(tmp_path / "s1.tif", db))
    assert cmcr(*given).code == 0
    assert (read(out / "clear.tif") > 0).all()


@pytest.mark.parametrize("cover", [0, 1], ids=["all clear", "all cloud"])
def test_all_alike(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], write: Write, tmp_path: Path, out: Path, cover: int
) -> None:
    before = read(scene["s2"])
    given[4] = str(write(tmp_path / "mask.tif", read(scene["mask"]) * 0 + np.uint8(cover)))
    assert cmcr(*given, "--mask-codes", "binary").code == 0
    assert np.array_equal(read(out / "clear.tif"), before) != bool(cover)


@pytest.mark.parametrize("name", ["s2", "s1", "mask"])
def test_damaged_files(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], tmp_path: Path, out: Path, name: str
) -> None:
    """A few of what `benchmarks/faults.py fuzz` tries in thousands: cut short, and with bits flipped."""
    chance = random.Random(name)
    content = scene[name].read_bytes()
    path = tmp_path / f"{name}.tif"
    given[{"s2": 1, "s1": 2, "mask": 4}[name]] = str(path)
    for number in range(8):
        damaged = bytearray(content)
        if number % 2:
            damaged = damaged[: chance.randrange(len(content))]
        else:
            for _ in range(4):
                damaged[chance.choice((chance.randrange(600), -1 - chance.randrange(600)))] ^= (
                    1 << chance.randrange(8)
                )
        path.write_bytes(damaged)
        ended = cmcr(*given)
        if ended.code:
            assert ended.code in (1, 4) and ended.err.count("cmcr: error: ") == 1, ended.err
            assert not list(out.iterdir())
        else:
            (out / "clear.tif").unlink()
        assert "Traceback" not in ended.err and "unexpected" not in ended.err, ended.err


def test_messages_that_are_no_utf8(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], tmp_path: Path
) -> None:
    """GDAL quotes the damaged metadata, and rasterio would print a traceback for that."""
    damaged = scene["s1"].read_bytes().replace(b"<Item name=", b"<Item \xe5ame ")
    path = tmp_path / "s1.tif"
    path.write_bytes(damaged)
    given[2] = str(path)
    ended = cmcr(*given)
    assert damaged != scene["s1"].read_bytes() and ended.code == 0
    assert "Traceback" not in ended.err and "UnicodeDecodeError" not in ended.err


def test_names_that_shells_and_libraries_stumble_over(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "an \"odd\" 'name' $(touch here)\n; ünï 雲 %41 #?"
    folder.mkdir()
    for index, name in ((1, "s2"), (2, "s1"), (4, "mask")):
        given[index] = str(shutil.copy(scene[name], folder / f"{name} &.tif"))
    beside = {"--provenance": "w,h.tif", "--quicklook": "a b.png", "--report": "<r>.html", "--stac": "i.json"}
    words = [str(word) for option, name in beside.items() for word in (option, folder / name)]
    ended = cmcr(*given[:-1], folder / "clear 'x'.tif", *words)
    assert ended.code == 0, ended.err
    written = {"clear 'x'.tif", *beside.values()}
    assert {path.name for path in folder.iterdir()} == {"s2 &.tif", "s1 &.tif", "mask &.tif", *written}
    assert not Path("here").exists()
