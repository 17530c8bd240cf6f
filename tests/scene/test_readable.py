"""What may be opened; that whole commands refuse the rest is tested in faults/test_pipes.py."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio

from cmcr_cli.errors import InputError
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.readable import check_readable, why_not

if TYPE_CHECKING:
    from tests.support.rasters import Write

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")

VRT = "<VRTDataset><SourceFilename relativeToVRT='1'>{0}</SourceFilename></VRTDataset>"


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe.tif"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    "path",
    [
        "s2.tif",
        "/vsis3/bucket/s2.tif",
        "https://example.com/pipe.tif",
        "/vsicurl/http://x/y",
        "a\0b",
        "<VRT/>",
    ],
)
def test_what_is_not_here_is_left_to_others(path: str) -> None:
    check_readable(path, "a scene")


def test_files_and_folders_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "s2.tif").write_bytes(b"II*\0")
    for path in (tmp_path, tmp_path / "s2.tif", f"/vsizip/{tmp_path}/none.zip/s2.tif"):
        check_readable(path, "a scene")


@pytest.mark.parametrize(
    "name", ["{0}", "/vsizip/{0}/s2.tif", "/vsitar//vsigzip/{0}", "GTIFF_DIR:1:{0}", 'HDF5:"{0}"://b02']
)
def test_names_of_a_pipe(pipe: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"a pipe; expected a scene in a file\. Save it as one first"):
        check_readable(name.format(pipe), "a scene")


def test_why_a_file_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "empty.tif").touch()
    (tmp_path / "broken.json").symlink_to("/nowhere/item.json")
    assert why_not(tmp_path / "empty.tif") == "is empty"
    assert why_not(tmp_path / "gone.tif") == "does not exist"
    for name, said in (("empty.tif", "is empty"), ("broken.json", "is a broken link to /nowhere/item.json")):
        with pytest.raises(InputError, match=f"{name}: .*{said}.*; expected"), open_optical(tmp_path / name):
            pass


@pytest.mark.parametrize("name", ["/vsistdin/", "/vsistdin?buffer=1", "/vsigzip//vsistdin/", "/vsifd/0"])
def test_the_standard_input(name: str) -> None:
    with pytest.raises(InputError, match="the standard input; expected a mask"):
        check_readable(name, "a mask")


@pytest.mark.parametrize("suffix", [".tif.aux.xml", ".tif.ovr", ".tfw"])
def test_what_gdal_opens_unasked(pipe: Path, suffix: str) -> None:
    scene = pipe.with_name("s2.tif")
    scene.write_bytes(b"II*\0")
    pipe.rename(pipe.with_name(f"s2{suffix}"))
    with pytest.raises(InputError, match=rf"s2\.tif: needs .*s2{suffix}, which is a pipe"):
        check_readable(scene, "a scene")


def test_virtual_rasters_of_virtual_rasters(pipe: Path) -> None:
    inner, outer = pipe.with_name("inner.vrt"), pipe.with_name("outer.vrt")
    inner.write_text(VRT.format("pipe.tif"))
    outer.write_text(VRT.format("inner.vrt"))
    for path in (outer, VRT.replace("'1'", "'0'").format(outer)):
        with pytest.raises(InputError, match=r"needs .*pipe\.tif, which is a pipe"):
            check_readable(path, "a scene")
    inner.write_text(VRT.format("inner.vrt"))  # which never ends
    check_readable(outer, "a scene")


@pytest.mark.parametrize(
    ("suffix", "text"), [(".msk", "junk"), (".msk", ""), (".aux.xml", "<PAM"), (".aux.xml", "")]
)
def test_sidecars_that_gdal_passes_over(write: Write, suffix: str, text: str) -> None:
    """Then all would be taken as valid, or in the usual units."""
    path = write("s2.tif", np.full((12, 8, 8), 900, np.uint16))
    Path(f"{path}{suffix}").write_text(text)
    with (
        pytest.raises(InputError, match=rf"its sidecar s2\.tif\{suffix} cannot be used .*move it away"),
        open_optical(path),
    ):
        pass


def test_sidecars_that_are_used(write: Write) -> None:
    path = write("s2.tif", np.full((12, 8, 8), 900, np.uint16))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.eye(8, dtype=bool))
    Path(f"{path}.aux.xml").write_text("<PAMDataset/>")
    with open_optical(path) as optical:
        assert optical.valid(optical.read(0, 8)).sum() == 8
