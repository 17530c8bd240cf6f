"""Odd metadata, names and settings: each is told in one sentence before the work starts, or does no harm."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from cmcr_cli.cli.console import printable
from cmcr_cli.errors import OptionError
from cmcr_cli.removal import RemoveOptions
from cmcr_cli.scene.bands import BANDS

Cmcr = Callable[..., Any]
Write = Callable[..., Path]


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        pixels: NDArray[Any] = file.read()
    return pixels


def refused(ended: Any, told: str, code: int = 1) -> None:
    """One line that a terminal takes as it is."""
    assert ended.code == code, ended.err
    (line,) = (line for line in ended.err.splitlines() if "error" in line)
    assert line.startswith("cmcr: error: ") and re.search(told, line), line
    assert "Traceback" not in ended.err
    assert_plain(ended)


def assert_plain(ended: Any) -> None:
    assert all(char.isprintable() or char in "\n\t" for char in ended.out + ended.err)


@pytest.fixture
def item(scene: dict[str, Path], write: Write, tmp_path: Path) -> dict[str, Any]:
    """A Sentinel-2 item of whole files, as JSON has it."""
    pixels = read(scene["s2"])
    assets = {}
    for name, band in zip(BANDS, pixels, strict=True):
        write(tmp_path / f"{name}.tif", band[None])
        assets[name] = {"href": f"./{name}.tif", "type": "image/tiff", "roles": ["data"], "gsd": 10}
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": "s2", "assets": assets,
        "properties": {"datetime": "2024-06-01T10:20:31Z"},
    }  # fmt: skip


ODD_ASSETS = [
    ("gsd", "ten"), ("gsd", [10]), ("gsd", {}), ("gsd", float("nan")), ("gsd", -1), ("gsd", True),
    ("gsd", 10**400),
    ("roles", 5), ("roles", "data"), ("roles", [["data"]]), ("roles", {"data": 1}),
    ("type", 7), ("type", ["image/tiff"]),
    ("href", "./B02\0.tif"), ("href", "./B02\ud800.tif"), ("href", "./\x1b[31mB02.tif"),
    ("bands", 3), ("bands", "B02"), ("bands", ["B02"]), ("bands", [[]]), ("eo:bands", {"name": "B02"}),
    ("raster:bands", 1), ("raster:bands", [7]), ("raster:bands", [{"scale": "x"}]),
    ("raster:bands", [{"scale": "0", "offset": 1}]), ("raster:bands", [{"offset": "nan"}]),
    ("raster:bands", [{"offset": 10**400}]), ("raster:scale", ["x"]), ("raster:offset", {"a": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), ODD_ASSETS, ids=lambda value: ascii(value)[:24])
def test_assets_of_odd_shapes(
    cmcr: Cmcr, given: list[str], item: dict[str, Any], tmp_path: Path, out: Path, name: str, value: Any
) -> None:
    item["assets"]["B02"][name] = value
    path = tmp_path / "s2.json"
    path.write_text(json.dumps(item))
    refused(cmcr(given[0], path, *given[2:]), r"s2\.json: .*; expected ")
    assert not list(out.iterdir())


ODD_ITEMS = [
    {"id": 7}, {"id": "\x1b[31m\0\ud800 & < > 雲"}, {"id": {"a": ["b"]}}, {"stac_extensions": 7},
    {"bbox": "here"},
    {"properties": {"datetime": 7}}, {"properties": {"datetime": "9999-12-31T23:59:59-14:00"}},
    {"properties": {"datetime": "0001-01-01T00:00:00+14:00"}}, {"properties": {"datetime": ["2024"]}},
    {"properties": {"datetime": "\0\x1b[2J"}},
    {"properties": {"view:sun_azimuth": [], "view:sun_elevation": {}, "s2:processing_baseline": [4]}},
    {"properties": {"s2:mean_solar_azimuth": "x", "s2:mean_solar_zenith": 10**400}},
]  # fmt: skip


@pytest.mark.parametrize("change", ODD_ITEMS, ids=lambda value: ascii(value)[:40])
def test_items_whose_odd_fields_do_not_matter(
    cmcr: Cmcr, given: list[str], item: dict[str, Any], tmp_path: Path, out: Path, change: dict[str, Any]
) -> None:
    path = tmp_path / "s2.json"
    path.write_text(json.dumps({**item, **change}))
    extras = ("--stac", out / "item.json", "--report", out / "look.html")
    ended = cmcr(given[0], path, *given[2:], *extras)
    if "properties" in change:  # which had the date
        refused(ended, "--datetime")
        ended = cmcr(given[0], path, *given[2:], *extras, "--datetime", "2024-06-02")
    assert ended.code == 0, ended.err
    assert_plain(ended)
    made = json.loads((out / "item.json").read_text())["properties"]
    assert ("start_datetime" in made) == ("properties" in change)
    assert np.array_equal(read(out / "clear.tif")[:, 100:], read(Path(given[1]))[:, 100:])


def test_a_product_of_the_year_9999(
    cmcr: Cmcr, given: list[str], make_product: Callable[..., Any], tmp_path: Path, out: Path
) -> None:
    """Its time cannot be true, so that of its name counts."""
    product = make_product(size=120)
    metadata = next(product.folder.glob("MTD*.xml"))
    text = metadata.read_text()
    for time in ("9999-12-31T23:59:59.999-12:00", "0001-01-01T00:00:00+12:00", "soon"):
        metadata.write_text(text.replace("2024-06-01T10:20:31.024Z", time))
        args = (
            "remove",
            product.folder,
            "--mask",
            "scl",
            *given[5:],
            "--overwrite",
            "--stac",
            out / "i.json",
        )
        ended = cmcr(*args)
        assert ended.code == 0, ended.err
        made = json.loads((out / "i.json").read_text())["properties"]
        assert made["datetime"] == "2024-06-01T10:20:31.000000Z"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('encoding="UTF-8"', 'encoding="klingon"', "cannot be parsed"),
        ('encoding="UTF-8"', 'encoding="cp037"', "cannot be parsed"),
        (">-1000<", ">NaN<", "says 'NaN'"),
        (">10000<", ">inf<", "says 'inf'"),
        (">-1000<", ">\x1b[31m<", "cannot be parsed"),
    ],
)
def test_products_with_odd_metadata(
    cmcr: Cmcr, given: list[str], make_product: Callable[..., Any], out: Path, old: str, new: str, told: str
) -> None:
    product = make_product(size=120)
    metadata = next(product.folder.glob("MTD*.xml"))
    metadata.write_text(metadata.read_text().replace(old, new))
    refused(cmcr("remove", product.folder, *given[5:]), told)


def test_a_zip_with_a_damaged_entry(
    cmcr: Cmcr, given: list[str], make_product: Callable[..., Any], tmp_path: Path
) -> None:
    product, path = make_product(size=120), tmp_path / "S2A_MSIL2A_X.SAFE.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(next(product.folder.glob("MTD*.xml")), "S2A_MSIL2A_X.SAFE/MTD_MSIL2A.xml")
    content = bytearray(path.read_bytes())
    content[100:140] = b"\xff" * 40
    path.write_bytes(content)
    refused(cmcr("remove", path, *given[5:]), "cannot be read as a zip")


@pytest.mark.parametrize("which", ["description", "tag", "tag of a band"])
@pytest.mark.parametrize("role", [1, 2, 4], ids=["s2", "s1", "mask"])
def test_texts_that_are_no_utf8(
    cmcr: Cmcr, given: list[str], write: Write, tmp_path: Path, out: Path, which: str, role: int
) -> None:
    pixels, path = read(Path(given[role])), tmp_path / "file.tif"
    write(path, pixels)
    with rasterio.open(path, "r+") as file:
        if which == "description":
            file.set_band_description(1, "B01 XXXX")
        else:
            file.update_tags(*([1] if which == "tag of a band" else []), NOTE="XXXX")
    content = path.read_bytes()
    assert b"XXXX" in content
    path.write_bytes(content.replace(b"XXXX", b"\xe9\xff\xfe\x80"))
    given[role] = str(path)
    ended = cmcr(*given)
    if which == "description":
        refused(ended, "are not UTF-8")
        assert not list(out.iterdir())
    else:  # GDAL leaves out what it cannot read of its tags
        assert ended.code == 0, ended.err
        assert_plain(ended)


@pytest.mark.parametrize("text", ["\x1b[31mred", "B02\nB03", "\r\x9b2J", "\u202egnp", "\x07" * 300])
def test_escape_sequences_of_files_do_not_reach_a_terminal(
    cmcr: Cmcr, given: list[str], write: Write, tmp_path: Path, text: str
) -> None:
    """In descriptions, tags, names of files and of weights."""
    path = tmp_path / f"s2 {text[:20]}.tif"
    write(path, read(Path(given[1]))[:5], ("B01", "B02", text, "B04", "B05"))
    given[1] = str(path)
    refused(cmcr(*given), "5 bands|3 of 5|4 of 5|not known as a band|duplicate")
    ended = cmcr("validate", path, "-vv")
    assert_plain(ended)
    listed = tmp_path / "scenes.csv"
    listed.write_bytes(f's2,s1,output\n"{path}",,"c{text[:4]}.tif"\n'.encode())
    assert_plain(cmcr("batch", listed, "-o", tmp_path / "out", *given[5:7]))


def test_what_a_terminal_is_shown() -> None:
    assert printable("a\tb\n雲 ü") == "a\tb\n雲 ü"
    assert printable("\x1b[0m\r\x00\x9b\u202e\udce9") == "\\x1b[0m\\r\\x00\\x9b\\u202e\\udce9"

    class Ascii:
        encoding = "ascii"

    assert printable("雲", Ascii()) == "\\u96f2"  # type: ignore[arg-type]


OUTPUTS = ("-o", "--provenance", "--quicklook", "--report", "--stac")


@pytest.mark.parametrize("option", OUTPUTS)
@pytest.mark.parametrize("name", ["n" * 256, "雲" * 90, "n" * 400])
def test_names_that_leave_no_room(cmcr: Cmcr, given: list[str], out: Path, option: str, name: str) -> None:
    if option == "-o":
        given = given[:-2]
    ending = {"--quicklook": ".png", "--report": ".html", "--stac": ".json"}.get(option, ".tif")
    refused(cmcr(*given, option, out / f"{name}{ending}"), "bytes; expected at most", code=2)
    refused(cmcr(*given, option, out / name / f"o{ending}"), "at most", code=2)
    refused(cmcr(*given, option, out / "/".join(["f" * 200] * 20) / f"o{ending}"), "altogether", code=2)
    assert not list(out.iterdir())


@pytest.mark.parametrize("option", ["s2", "s1", "mask", "aoi", "output", "weights", "stac"])
def test_names_with_a_zero_byte(option: str) -> None:
    with pytest.raises(OptionError, match="zero byte"):
        RemoveOptions(**{"s2": "s2.tif", "output": Path("o.tif"), option: "a\0b.tif"})  # type: ignore[arg-type]


def test_long_names_that_fit(cmcr: Cmcr, given: list[str], scene: dict[str, Path], out: Path) -> None:
    files = [out / ("n" * 214 + ending) for ending in ("o.tif", "p.tif", "q.png", "r.html", "s.json")]
    words = [word for pair in zip(OUTPUTS, files, strict=True) for word in pair]
    ended = cmcr(*given[:-2], *words, "--resume")
    assert ended.code == 0, ended.err
    assert sorted(out.iterdir()) == sorted(files)
    assert cmcr("mask", scene["s2"], "-o", out / ("m" * 240 + ".tif"), *given[5:7]).code == 2
    args = ("mask", scene["s2"], "-o", out / "m.tif", "--confidence", out / ("c" * 240 + ".tif"), *given[5:7])
    assert cmcr(*args).code == 2
    assert len(list(out.iterdir())) == len(files)


@pytest.mark.parametrize("role", [1, 2, 4, 6], ids=["s2", "s1", "mask", "weights"])
@pytest.mark.parametrize("name", ["n" * 300 + ".tif", "a" * 5000, "<VRTDataset" + " " * 300 + ">"])
def test_inputs_that_no_file_can_be(cmcr: Cmcr, given: list[str], out: Path, role: int, name: str) -> None:
    given[role] = name
    (out / "clear.tif").write_bytes(b"mine")
    ended = cmcr(*given, "--overwrite")
    refused(ended, ".", code=ended.code if ended.code in (1, 2, 3) else -1)
    assert [path.read_bytes() for path in out.iterdir()] == [b"mine"]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("CPL_TMPDIR", "missing", "CPL_TMPDIR"),
        ("CPL_TMPDIR", "/dev/null", "CPL_TMPDIR"),
        ("GDAL_NUM_THREADS", "abc", "GDAL_NUM_THREADS"),
        ("GDAL_NUM_THREADS", "-3", "GDAL_NUM_THREADS"),
        ("GDAL_NUM_THREADS", "0", "GDAL_NUM_THREADS"),
        ("GDAL_NUM_THREADS", "", "GDAL_NUM_THREADS"),
        ("GDAL_NUM_THREADS", "99999999999", "GDAL_NUM_THREADS"),
    ],
)
def test_settings_that_cannot_be(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], out: Path, monkeypatch: pytest.MonkeyPatch,
    name: str, value: str, told: str,
) -> None:  # fmt: skip
    monkeypatch.setenv(name, value)
    refused(cmcr(*given), told, code=2)
    refused(cmcr("mask", scene["s2"], "-o", out / "m.tif", *given[5:7]), told, code=2)
    assert not list(out.iterdir())


@pytest.mark.parametrize("name", ["CPL_TMPDIR", "GDAL_NUM_THREADS"])
def test_settings_that_can(
    cmcr: Cmcr, given: list[str], tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    for value in (str(folder),) if name == "CPL_TMPDIR" else ("2", "ALL_CPUS", "all_cpus"):
        monkeypatch.setenv(name, value)
        ended = cmcr(*given, "--overwrite")
        assert ended.code == 0, ended.err
    assert not list(folder.iterdir())


@pytest.mark.parametrize("role", [1, 2, 4], ids=["s2", "s1", "mask"])
@pytest.mark.parametrize("kind", ["strips", "vrt", "warped"])
def test_errors_that_gdal_was_told_to_ignore(
    cmcr: Cmcr, given: list[str], write: Write, tmp_path: Path, out: Path,
    monkeypatch: pytest.MonkeyPatch, role: int, kind: str,
) -> None:  # fmt: skip
    """A file that is cut short is refused, also with GTIFF_IGNORE_READ_ERRORS."""
    monkeypatch.setenv("GTIFF_IGNORE_READ_ERRORS", "YES")
    path, pixels = tmp_path / "cut.tif", read(Path(given[role]))
    write(path, pixels, BANDS if role == 1 else None, compress="deflate", blockysize=8, interleave="pixel")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 58 // 100])
    given[role] = str(path)
    if kind != "strips":
        if role == 1 and kind == "warped":
            pytest.skip("the scene is never warped")
        given[role] = str(tmp_path / "cut.vrt")
        shift = 5 if kind == "warped" else 0
        kinds = {1: "UInt16", 2: "Float32", 4: "Byte"}
        bands = "".join(
            f'<VRTRasterBand dataType="{kinds[role]}" band="{n}"><SimpleSource><SourceFilename '
            f'relativeToVRT="1">cut.tif</SourceFilename><SourceBand>{n}</SourceBand></SimpleSource></VRTRasterBand>'
            for n in range(1, len(pixels) + 1)
        )
        Path(given[role]).write_text(
            '<VRTDataset rasterXSize="128" rasterYSize="128"><SRS>EPSG:32631</SRS><GeoTransform>'
            f"{500_000 + shift}, 10, 0, {5_000_000 + shift}, 0, -10</GeoTransform>{bands}</VRTDataset>"
        )
    refused(cmcr(*given), "cannot be read|cannot be opened")
    assert not list(out.iterdir())


def test_settings_of_users_stay_theirs(scene: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from rasterio.env import get_gdal_config

    from cmcr_cli.scene.raster import open_raster

    monkeypatch.setenv("GTIFF_IGNORE_READ_ERRORS", "YES")
    with open_raster(scene["s2"], "a scene"):
        assert get_gdal_config("GTIFF_IGNORE_READ_ERRORS", normalize=False) == "NO"
    assert get_gdal_config("GTIFF_IGNORE_READ_ERRORS", normalize=False) == "YES"


def test_lists_with_odd_cells(cmcr: Cmcr, scene: dict[str, Path], tmp_path: Path, out: Path) -> None:
    listed = tmp_path / "scenes.csv"
    for content, code in (
        (b"s2\0.tif,,o.tif\n", 2),
        (b"\xff\xfe\x00", 1),
        (b'"' * 3, 1),
        (b"a," * 200_000, 1),
    ):
        listed.write_bytes(content)
        ended = cmcr("batch", listed, "-o", out)
        assert ended.code in (1, 2), code
        assert "unexpected error" not in ended.err + ended.out and "Traceback" not in ended.err
        assert_plain(ended)


def test_memory_that_runs_out_is_told(
    cmcr: Cmcr, given: list[str], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*args: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("cmcr_cli.removal.pipeline.survey", out_of_memory)
    refused(cmcr(*given), "memory ran out; expected")
    assert not list(out.iterdir())
