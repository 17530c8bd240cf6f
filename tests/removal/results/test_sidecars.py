from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from cmcr_cli.cli.commands.batch import _line
from cmcr_cli.cli.commands.remove import _summary
from cmcr_cli.cli.console import print_json
from cmcr_cli.output.validation import validate_output
from cmcr_cli.removal import RemoveOptions, Report, remove, write_mask
from cmcr_cli.removal.many_scenes import Outcome
from cmcr_cli.removal.results.command_line import command_of
from cmcr_cli.scene.raster import open_raster
from cmcr_cli.simulate import simulate_scene


@pytest.fixture(scope="module")
def done(
    make_product: Callable[..., Any], weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> RemoveOptions:
    """A removal that writes everything, in a folder whose name HTML must not take for a tag."""
    folder = tmp_path_factory.mktemp("all") / "<b>bold & co"
    folder.mkdir()
    options = RemoveOptions(
        s2=str(make_product().folder), output=folder / "clear.tif", mask="scl", weights=weights, device="cpu",
        samples=2, steps=2, provenance=folder / "which.tif", uncertainty=folder / "std.tif",
        quicklook=folder / "look.png", report=folder / "report.html", stac=folder / "item.json",
    )  # fmt: skip
    remove(options)
    return options


def test_item_is_valid_stac(done: RemoveOptions) -> None:
    pystac = pytest.importorskip("pystac", reason="pystac is not installed (pip install pystac)")
    from pystac.extensions.projection import ProjectionExtension
    from pystac.validation.stac_validator import JsonSchemaSTACValidator

    assert done.stac is not None
    content = json.loads(done.stac.read_text())
    # The core of STAC; the schemas of extensions are on the web, so their shape is read by pystac instead.
    JsonSchemaSTACValidator().validate_core(content, pystac.STACObjectType.ITEM, "1.1.0")
    item = pystac.Item.from_dict(content)
    projection = ProjectionExtension.ext(item)
    with rasterio.open(done.output) as image:
        assert projection.epsg == image.crs.to_epsg() == 32631
        assert projection.shape == list(image.shape)
        assert tuple(projection.transform or ()) == image.transform[:6]
        assert content["assets"]["image"]["bands"][3]["name"] == image.descriptions[3] == "B04"
    assert item.datetime == datetime(2024, 6, 1, 10, 20, 31, 24_000, tzinfo=UTC)
    bands = content["assets"]["image"]["bands"]
    assert [band["eo:common_name"] for band in bands[:4]] == ["coastal", "blue", "green", "red"]
    assert (bands[0]["raster:scale"], bands[0]["raster:offset"], bands[0]["nodata"]) == (0.0001, -0.1, 0)
    assert "reconstructed" in content["properties"]["processing:lineage"]
    for asset in item.assets.values():
        assert (done.stac.parent / asset.href).is_file()
    assert set(item.assets) == {"image", "provenance", "uncertainty", "thumbnail", "report"}


class _Page(HTMLParser):
    """Collects text, and addresses that a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_report_is_one_file_that_says_what_was_done(done: RemoveOptions) -> None:
    assert done.report is not None
    source = done.report.read_text()
    page = _Page()
    page.feed(source)
    assert len(page.loads) == 3 and all(load.startswith("data:image/jpeg;base64,") for load in page.loads)
    assert "url(" not in source and "@import" not in source
    assert "b" not in page.tags, "names of files are text"
    assert command_of(done) in page.text
    with rasterio.open(done.output.with_name("which.tif")) as file:
        provenance = file.read(1)
    for value, name in ((1, "observed"), (2, "reconstructed")):
        assert f"{(provenance[provenance > 0] == value).mean():.1%} {name}" in page.text
    with rasterio.open(done.output) as file:
        red = file.read(4)[::4, ::4] / 10_000 - 0.1
    assert f"{red[provenance[::4, ::4] == 1].mean():.3f}" in page.text
    assert "no Sentinel-1" in page.text


@pytest.fixture(scope="module")
def told(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RemoveOptions, Report]:
    """A removal with two other dates, of which one is the scene itself."""
    folder = tmp_path_factory.mktemp("helped")
    scene = simulate_scene(folder, size=256, seed=22, cloud_cover=0.4, dates=1)
    (earlier,) = scene.dates
    (folder / "dates.csv").write_text(f"path,mask\n{earlier.s2},{earlier.mask}\n{scene.s2},\n")
    options = RemoveOptions(
        s2=str(scene.s2), output=folder / "clear.tif", mask=str(scene.mask), weights=weights, device="cpu",
        references=(str(folder / "dates.csv"),), source_date=folder / "which_date.tif",
        provenance=folder / "which.tif", report=folder / "report.html", stac=folder / "item.json",
        dilate=20, qml=True,
    )  # fmt: skip
    done = remove(options)
    assert len(done.references) == 1 and len(done.references_left_out) == 1
    return options, done


@pytest.fixture(scope="module")
def helped(told: tuple[RemoveOptions, Report]) -> RemoveOptions:
    """Options of that removal."""
    return told[0]


def test_all_places_tell_one_story_about_cover(
    told: tuple[RemoveOptions, Report], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Command line, batch, JSON, report, tags, STAC item, mask and validation, and the pixels themselves."""
    options, report = told
    cover, text = report.cover, report.cover.text()
    assert options.provenance and options.report and options.stac
    with rasterio.open(options.provenance) as file:
        provenance = file.read(1)
    seen = provenance[provenance > 0]
    for share, pixels in (
        (cover.observed, seen == 1), (cover.reconstructed, seen > 1), (cover.with_reference, seen == 3),
    ):  # fmt: skip
        assert share == pixels.mean()
    for name in ("thick cloud", "thin cloud", "shadow", "added by --dilate", "edge", "with a reference"):
        assert name in text, "else this test shows nothing"

    assert f", {text}; " in _summary(report)
    outcome = Outcome("clear.tif", "done", 1.0, report.covered_share, cover)
    assert _line(outcome) == f"clear.tif: {text}; 1 s"
    print_json(report)
    printed = json.loads(capsys.readouterr().out)
    assert printed["cover"] == asdict(cover)
    assert (printed["covered_share"], printed["valid_share"]) == (cover.covered, cover.valid)
    page = options.report.read_text()
    for name, share in cover.rows():
        assert f"<tr><th>{name}</th><td>{share}</td></tr>" in page
    for path in options.rasters.values():
        with rasterio.open(path) as file:
            assert file.tags()["CMCR_COVER"] == cover.tag() and text in cover.tag()
    properties = json.loads(options.stac.read_text())["properties"]
    assert properties["cmcr:cover"] == cover.shares() and text in properties["processing:lineage"]

    findings = {each.name: each for each in validate_output(options.output, options.s2, options.provenance)}
    assert findings["reconstructed"].text.startswith(f"{cover.reconstructed:.1%} of the valid pixels are")
    assert findings["cover in the tags"].ok and all(each.ok for each in findings.values())
    mask = write_mask(
        RemoveOptions(
            s2=options.s2, output=tmp_path / "mask.tif", mask=options.mask, dilate=20, weights=options.weights
        )
    )
    assert mask.cover == replace(cover, with_reference=None)
    with rasterio.open(mask.output) as file:
        assert (file.read(1) > 0).mean() == cover.covered and cover.masked_text() in file.tags()["CMCR_COVER"]


def test_styles_lie_beside_the_rasters(helped: RemoveOptions) -> None:
    for path in helped.rasters.values():
        assert path.with_suffix(".qml").read_text().rstrip().endswith("</qgis>")
    assert "reconstructed with a reference" in helped.output.with_name("which.qml").read_text()
    assert 'type="multibandcolor"' in helped.output.with_suffix(".qml").read_text()
    assert helped.stac is not None
    assert not any("qml" in name for name in json.loads(helped.stac.read_text())["assets"])


def test_report_lists_references_and_those_left_out(helped: RemoveOptions) -> None:
    assert helped.report is not None
    source = helped.report.read_text()
    page = _Page()
    page.feed(source)
    with rasterio.open(helped.output.with_name("which.tif")) as file:
        provenance = file.read(1)
    assert (provenance == 3).any()
    assert f"{(provenance == 3).mean():.1%} reconstructed with a reference" in page.text
    (row,) = re.findall(r"<tr><td>1</td>(.*?)</tr>", source)
    name, date, days, clear, weight, error = re.findall(r"<td>(.*?)</td>", row)
    with rasterio.open(helped.output.with_name("which_date.tif")) as file:
        share = (file.read(1)[provenance >= 2] == 1).mean()
    assert name.startswith("s2_") and date == f"{name[3:7]}-{name[7:9]}-{name[9:11]}"
    assert int(days) < 0 and weight == f"{share:.1%}" and clear.endswith("%") and float(error) > 0
    assert "s2.tif: is the scene itself" in page.text
    assert "the scene's own colours and the references" in page.text
    colours = dict(re.findall(r"\.(reconstructed|referenced) { background: var\(--(\w+)\)", source))
    assert colours["reconstructed"] != colours["referenced"]
    assert all(f"--{colour}: #" in source for colour in colours.values())


def test_report_without_references_does_not_name_them(done: RemoveOptions) -> None:
    assert done.report is not None
    page = done.report.read_text()
    assert "<h2>References</h2>" not in page and "and the references" not in page


def test_item_states_how_many_dates_helped(helped: RemoveOptions, done: RemoveOptions) -> None:
    assert helped.stac is not None and done.stac is not None
    with_one, without = (
        json.loads(item.read_text())["properties"]["processing:lineage"] for item in (helped.stac, done.stac)
    )
    assert "with the help of 1 other date of the same ground" in with_one
    assert "other date" not in without
    assert "source-date" in json.loads(helped.stac.read_text())["assets"]


def test_report_in_a_browser(done: RemoveOptions, tmp_path: Path) -> None:
    browser = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))),
        None,
    )
    if browser is None:
        pytest.skip("no Chromium is on the path")
    assert done.report is not None
    shot = tmp_path / "shot.png"
    subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--window-size=1200,900", f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}",
            done.report.absolute().as_uri(),
        ],
        check=True, capture_output=True, timeout=240,
    )  # fmt: skip
    with open_raster(shot, "a screenshot") as file:
        picture = file.read([1, 2, 3]).astype(int)
    red, green, blue = picture
    assert picture.shape == (3, 900, 1200)
    assert ((red == 232) & (green == 105) & (blue == 44)).sum() > 1000, "the bar of the reconstructed share"
    assert np.unique(picture[:, 150:600, 700:1100].reshape(3, -1), axis=1).shape[1] > 500, "the picture"
