"""Inputs that lie elsewhere, read from a server on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from cmcr_cli.errors import InputError
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.products.safe import read_safe
from cmcr_cli.scene.raster import open_raster, read_bytes
from cmcr_cli.scene.sun import Sun
from tests.support.server import ASKED, served


@pytest.fixture(scope="module")
def product(make_product: Callable[..., Any]) -> Any:
    return make_product()


@pytest.fixture
def address(product: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """host:port of a server of the product's folder; requests are bounded, and no proxy is asked."""
    for name, value in {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    with served(product.folder.parent) as host:
        s3 = {
            "AWS_S3_ENDPOINT": host,
            "AWS_HTTPS": "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE",
            "AWS_NO_SIGN_REQUEST": "YES",
        }
        with rasterio.Env(**s3):
            yield host


def test_product_on_a_web_server(address: str, product: Any) -> None:
    folder = f"/vsicurl/http://{address}/{product.folder.name}"
    for path in (folder, folder + "/", folder + "/MTD_MSIL2A.xml"):
        with open_optical(path) as optical:
            assert np.array_equal(optical.read(0, 240), product.dn)
            assert (optical.radiometry.offset, optical.offset_source) == (-1000, "product")
            assert optical.sun is None  # its granule has no metadata


def test_no_sidecar_files_are_asked_for_elsewhere(address: str, product: Any) -> None:
    ASKED.clear()
    with open_optical(f"/vsicurl/http://{address}/{product.folder.name}") as optical:
        optical.source.sample()
        optical.read(0, 240)
    assert len(ASKED) >= 12
    assert not [path for path in ASKED if not path.endswith((".xml", ".jp2")) or ".aux." in path], ASKED


def test_sidecar_files_of_local_inputs_are_found_all_the_same(
    write: Callable[..., Path], address: str, product: Any
) -> None:
    path = write("plain.tif", np.full((1, 8, 8), 7, np.uint16))
    path.with_suffix(".tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><Description>B04</Description></PAMRasterBand></PAMDataset>'
    )
    with (
        open_optical(f"/vsicurl/http://{address}/{product.folder.name}"),
        open_raster(path, "an image") as file,
    ):
        assert file.descriptions == ("B04",)


def test_zip_on_a_web_server(address: str, product: Any) -> None:
    name = product.zipped.name
    for path in (f"/vsicurl/http://{address}/{name}", f"/vsizip//vsicurl/http://{address}/{name}"):
        with open_optical(path) as optical:
            assert np.array_equal(optical.read(0, 240), product.dn)


def test_product_in_a_bucket(address: str, product: Any) -> None:
    bucket = product.folder.parent / "bucket"
    bucket.mkdir(exist_ok=True)
    link = bucket / product.folder.name
    if not link.exists():
        link.symlink_to(product.folder)
    with open_optical(f"/vsis3/bucket/{product.folder.name}") as optical:
        assert np.array_equal(optical.read(100, 50), product.dn[:, 100:150])


def test_item_whose_assets_lie_on_a_web_server(address: str, product: Any, tmp_path: Path) -> None:
    assets = {
        image.stem.split("_")[2]: {
            "href": f"http://{address}/{image.relative_to(product.folder.parent).as_posix()}",
            "type": "image/jp2",
            "raster:bands": [{"scale": 0.0001, "offset": -0.1}],
        }
        for image in product.folder.rglob("*.jp2")
    }
    item = {"type": "Feature", "stac_version": "1.0.0", "id": "x", "properties": {}, "assets": assets}
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item))
    with open_optical(path) as optical:
        assert np.array_equal(optical.read(0, 240), product.dn)
        assert optical.scl is not None and optical.scl.startswith("/vsicurl/http://127.0.0.1")


def test_sun_on_a_web_server(address: str, product: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The granule's metadata is read whole, by whichever number of requests."""
    angles = "<ZENITH_ANGLE>57.75</ZENITH_ANGLE><AZIMUTH_ANGLE>172.5</AZIMUTH_ANGLE>"
    # As long as several of the pieces in which it is read, with the sun at its end.
    text = f"<Tile>{'<x>0123456789</x>' * 150_000}<Mean_Sun_Angle>{angles}</Mean_Sun_Angle></Tile>"
    file = product.folder / "GRANULE" / "G" / "MTD_TL.xml"
    file.write_text(text)
    name = product.zipped.name
    try:
        for place in (product.folder.name, name):
            path = f"/vsicurl/http://{address}/{place}"
            ASKED.clear()
            assert read_safe(path).sun == Sun(172.5, 32.25)
            assert len(ASKED) < 40, ASKED
        assert (
            read_bytes(f"/vsicurl/http://{address}/{product.folder.name}/GRANULE/G/MTD_TL.xml", 10**7)
            == text.encode()
        )
    finally:
        file.unlink()


def test_what_is_not_there(address: str) -> None:
    for name, message in (
        ("S2A_MSIL2A_GONE.SAFE", "the metadata of a Sentinel-2 product"),
        ("thing.SAFE", "does not say whether it is Level-1C or 2A"),
    ):
        path = f"/vsicurl/http://{address}/{name}"
        with pytest.raises(InputError, match=message), open_optical(path):
            pass
