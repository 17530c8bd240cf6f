"""Other dates are inputs: never overwritten, and a run that is resumed notices that one has changed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from cmcr_cli.errors import CmcrError, OutputError
from cmcr_cli.removal import RemoveOptions
from cmcr_cli.removal.many_scenes import check_batch, help_each_other
from cmcr_cli.removal.opening.session import check_files, open_session
from cmcr_cli.removal.results.resume import fingerprint
from cmcr_cli.scene.bands import BANDS
from tests.faults.conftest import write

VRT = (
    '<VRTDataset rasterXSize="128" rasterYSize="128"><SRS>EPSG:32631</SRS><GeoTransform>500000, 10, 0, '
    "5000000, 0, -10</GeoTransform>{}</VRTDataset>"
)
BAND = (
    '<VRTRasterBand dataType="UInt16" band="{1}"><Description>{2}</Description><SimpleSource><SourceFilename '
    'relativeToVRT="1">{0}</SourceFilename><SourceBand>{1}</SourceBand></SimpleSource></VRTRasterBand>'
)


MEETS = r"also used as|is read for references"


def virtual(path: Path, source: str) -> Path:
    """A virtual stack of all bands of `source`."""
    path.write_text(VRT.format("".join(BAND.format(source, *band) for band in enumerate(BANDS, 1))))
    return path


@pytest.fixture(scope="session")
def june(scene: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another date of the scene, in the same place; to be read only."""
    with rasterio.open(scene["s2"]) as file:
        pixels = (file.read() * 0.9 + 50).astype(np.uint16)
    return write(tmp_path_factory.mktemp("dates") / "june.tif", pixels, BANDS)


@pytest.fixture
def dates(june: Path, out: Path) -> Path:
    """A folder of other dates: one, and an output of cmcr with its item."""
    folder = out / "dates"
    folder.mkdir()
    shutil.copy(june, folder / "june.tif")
    shutil.copy(june, folder / "clear.tif")
    with rasterio.open(folder / "clear.tif", "r+") as file:
        file.update_tags(CMCR_WEIGHTS_SHA256="0")
    item = {"stac_version": "1.1.0", "properties": {"processing:software": {"cmcr": "0.5.0"}}}
    (folder / "clear.json").write_text(json.dumps(item))
    return folder


@pytest.fixture
def chosen(scene: dict[str, Path], weights: Path, out: Path) -> Callable[..., RemoveOptions]:
    def options(**changes: Any) -> RemoveOptions:
        files = {name: str(scene[name]) for name in ("s2", "mask")}
        usual: dict[str, Any] = {"weights": weights, "output": out / "clear.tif", "overwrite": True}
        return RemoveOptions(**{**files, **usual, **changes})

    return options


def meets(options: RemoveOptions) -> None:
    """The run is refused, and so is a batch of it with another scene that does not read the file."""
    with pytest.raises(OutputError, match=MEETS):
        check_files(options)
    other = RemoveOptions(s2=options.s2, output=options.output, overwrite=True)
    reader = RemoveOptions(
        s2=options.s2, output=options.output.with_name("o.tif"), references=options.references
    )
    with pytest.raises(OutputError, match=MEETS):
        check_batch([other, reader])


FORMS = ["itself", "dated", "vrt", "list", "list with date", "csv", "mask of a csv", "vrt in a list",
         "vrt in a folder", "folder", "item", "item of a collection"]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("there", [True, False], ids=["there", "not there"])
def test_an_output_that_is_read_for_a_reference(
    chosen: Callable[..., RemoveOptions], june: Path, out: Path, form: str, there: bool
) -> None:
    """Whatever names it: the option, a list, a folder, a virtual raster, an item."""
    target, folder = out / "clear.tif", out / "dates"
    if there:
        shutil.copy(june, target)
    folder.mkdir()
    listed = out / ("list.csv" if "csv" in form else "list.txt")
    entry = str(listed)
    if form in ("itself", "dated"):
        entry = str(target) + ("@2024-06-01" if form == "dated" else "")
    elif form == "vrt":
        entry = str(virtual(out / "a.vrt", "clear.tif"))
    elif form == "list":
        listed.write_text("# dates\nclear.tif\n")
    elif form == "list with date":
        listed.write_text("../out/clear.tif@2024-06-01\n")
    elif form == "csv":
        listed.write_text('path,date\n"clear.tif",2024-06-01\n')
    elif form == "mask of a csv":
        listed.write_text(f"path,mask\n{june},clear.tif\n")
    elif form == "vrt in a list":
        virtual(out / "b.vrt", virtual(out / "a.vrt", "clear.tif").name)
        listed.write_text("b.vrt\n")
    elif form == "vrt in a folder":
        virtual(folder / "a.vrt", "../clear.tif")
        entry = str(folder)
    elif form == "folder":
        target = folder / "june.tif"
        shutil.copy(june, target)
        entry = str(folder)
    else:
        target = out / "i.json"
        item = {"type": "Feature", "id": "a", "assets": {"B02": {"href": "./clear.tif"}}}
        target.write_text(json.dumps(item))
        entry = f"{target}#a" if "collection" in form else str(target)
    if not there and form in ("vrt", "vrt in a list", "vrt in a folder"):
        return  # what a virtual raster lacks cannot be read
    if form.startswith("item"):
        with pytest.raises(OutputError, match=MEETS):
            check_files(chosen(stac=target, datetime="2024-07-01", references=(entry,)))
    else:
        meets(chosen(output=target, references=(entry,)))


@pytest.mark.parametrize("name", [".june.tif.cmcr-part", "june.tif.msk", "june.tif.aux.xml"])
def test_a_reference_with_a_name_that_an_output_needs(
    chosen: Callable[..., RemoveOptions], june: Path, dates: Path, name: str
) -> None:
    shutil.copy(june, dates / name)
    listed = dates / "list.txt"
    listed.write_text(f"{name}\n")
    meets(chosen(output=dates / "june.tif", references=(str(listed),)))


def test_earlier_outputs_in_a_folder_of_references_may_be_replaced(
    chosen: Callable[..., RemoveOptions], dates: Path
) -> None:
    """They are not read, and `--reference .` is given twice."""
    names = {"output": dates / "clear.tif", "stac": dates / "clear.json", "references": (str(dates),)}
    options = chosen(**names)
    with pytest.raises(OutputError, match="exists already"):
        check_files(replace(options, overwrite=False))
    with open_session(options) as session:
        assert [Path(each.path).name for each in session.references] == ["june.tif"]
        left_out = [(Path(each.path).name, each.reason[:20]) for each in session.references_left_out]
    assert left_out == [(name, "is an output of cmcr") for name in ("clear.json", "clear.tif")]
    check_batch([options, chosen(output=dates / "b.tif", references=(".", str(dates)))])
    with pytest.raises(OutputError, match="is read for references"):
        check_files(chosen(output=dates / "june.tif", references=(str(dates),)))


def test_scenes_of_a_batch_that_help_each_other(
    chosen: Callable[..., RemoveOptions], scene: dict[str, Path], june: Path, out: Path
) -> None:
    """No output is a scene of the list."""
    scenes = [str(shutil.copy(june, out / f"s2_20240{month}01.tif")) for month in (5, 6)]
    jobs = [chosen(s2=path, output=out / f"{n}.tif") for n, path in enumerate(scenes)]
    jobs = help_each_other(jobs, 60)
    assert [job.references for job in jobs] == [(scenes[1],), (scenes[0],)]
    check_batch(jobs)
    with pytest.raises(OutputError, match="also used as"):
        check_batch([replace(jobs[0], output=Path(scenes[1])), jobs[1]])


# Resumed runs


def changed(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("form", ["file", "list", "mask", "vrt in a list", "folder"])
def test_a_reference_that_changed_restarts_a_resumed_run(
    chosen: Callable[..., RemoveOptions], scene: dict[str, Path], june: Path, out: Path, form: str
) -> None:
    """Its fingerprint is another; and the same where nothing has changed, or only outputs were made."""
    folder = out / "dates"
    folder.mkdir()
    file = Path(shutil.copy(june, folder / "june.tif"))
    entry, listed = str(file), out / "list.csv"
    if form == "folder":
        entry = str(folder)
    elif form != "file":
        entry = str(listed)
        listed.write_text("path,mask\ndates/june.tif,\n")
    if form == "mask":
        listed.write_text("path,mask\ndates/june.tif,dates/m.tif\n")
        file = Path(shutil.copy(scene["mask"], folder / "m.tif"))
    elif form == "vrt in a list":
        virtual(out / "outer.vrt", virtual(out / "inner.vrt", "dates/june.tif").name)
        listed.write_text("path\nouter.vrt\n")
    options = chosen(output=folder / "clear.tif", references=(entry,))

    def found() -> str:
        with open_session(options) as session:
            assert len(session.references) == 1
            return json.dumps(fingerprint(session), default=str)

    first = found()
    (folder / ".clear.tif.cmcr-part").mkdir()
    (folder / "another.txt").touch()
    assert found() == first
    changed(file)
    assert found() != first


def test_a_product_whose_metadata_changed_restarts_a_resumed_run(
    chosen: Callable[..., RemoveOptions], make_product: Callable[..., Any], scene: dict[str, Path]
) -> None:
    """As scene and as reference: the offset is in no file of pixels."""
    product = make_product(size=120)
    metadata = next(product.folder.glob("MTD*.xml"))
    options = chosen(s2=str(product.folder), mask="scl")

    def found() -> str:
        with open_session(options) as session:
            return json.dumps(fingerprint(session), default=str)

    first = found()
    metadata.write_text(metadata.read_text().replace(">-1000<", ">-900<"))
    assert found() != first


# Odd ones


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"june.tif@2026-13-45\n", "l.txt"), (b"path,date\njune.tif,2026-02-30\n", "l.csv"),
        (b"ju\0ne.tif\n", "l.txt"), (b"path\nju\0ne.tif\n", "l.csv"),
        (b"path,mask\njune.tif,m\0.tif\n", "l.csv"),
        (b"\xff\xfej\0u\0n\0e\0", "l.txt"), (b"", "l.txt"), (b"#\n", "l.csv"), (b"n" * 5000 + b"\n", "l.txt"),
        (b"path\n\"june.tif\n", "l.csv"), (b"path,path\na,b\n", "l.csv"), (b"a," * 5000, "l.csv"),
        (b"../..\n", "l.txt"), (b"l.txt\n", "l.txt"), (b"/dev/zero\n", "l.txt"), (b"<VRTDataset>\n", "l.txt"),
        (b"@2024-06-01\n", "l.txt"), (b"/vsizip/x.zip/y.tif@2024-06-01\n", "l.txt"),
        (b"{}", "l.json"), (b"[" * 100_000, "l.json"), (b'{"type": "FeatureCollection"}', "l.json"),
        (b'{"type": "FeatureCollection", "features": [{"id": "a\\u0000"}]}', "l.json"),
    ],
    ids=lambda value: ascii(value)[:24],
)  # fmt: skip
def test_odd_lists_of_references(
    chosen: Callable[..., RemoveOptions], june: Path, out: Path, content: bytes, name: str
) -> None:
    """Each is an error in one sentence, or left out: never something unexpected."""
    shutil.copy(june, out / "june.tif")
    (out / name).write_bytes(content)
    before = sorted(out.iterdir())
    try:
        with open_session(chosen(references=(str(out / name),))) as session:
            assert not session.references and session.references_left_out
    except CmcrError as error:
        assert "expected" in str(error), error
    assert sorted(out.iterdir()) == before
