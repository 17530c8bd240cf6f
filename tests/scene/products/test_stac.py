from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS

from cmcr_cli.errors import GridMismatchError, InputError, RadiometryError
from cmcr_cli.scene.bands import L2A_BANDS
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.products.formats import read_product
from cmcr_cli.scene.products.stac import radar_item
from cmcr_cli.scene.radar import open_radar
from cmcr_cli.scene.sun import Sun
from tests.support.eopf import Eopf
from tests.support.server import Whole, served

if TYPE_CHECKING:
    from tests.support.rasters import Write

KEYS = ("coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "nir09",
        "swir16", "swir22")  # fmt: skip

Item = Callable[..., Path]


@pytest.fixture
def item(tmp_path: Path) -> Item:
    """Write a STAC item with these assets (key -> fields)."""

    def write_item(assets: dict[str, dict[str, Any]], **properties: Any) -> Path:
        path = tmp_path / "item.json"
        content = {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": "S2A_31UFU_20240601_0_L2A",
            "geometry": None,
            "properties": {"datetime": "2024-06-01T10:20:31.024000Z"} | properties,
            "assets": {
                key: {"type": "image/tiff; application=geotiff"} | asset for key, asset in assets.items()
            },
            "links": [],
        }
        path.write_text(json.dumps(content))
        return path

    return write_item


@pytest.fixture
def bands(write: Write) -> tuple[dict[str, str], NDArray[Any]]:
    """Files of the 12 bands of L2A by common name, relative to the item, and their pixels."""
    pixels = np.random.default_rng(0).integers(1200, 4000, (12, 40, 40)).astype(np.uint16)
    return {key: write(f"{key}.tif", plane).name for key, plane in zip(KEYS, pixels, strict=True)}, pixels


def test_catalogue_that_goes_by_common_names(item: Item, bands: Any) -> None:
    files, pixels = bands
    assets = {
        key: {"href": f"./{file}", "raster:bands": [{"scale": 0.0001, "offset": -0.1}]}
        for key, file in files.items()
    }
    copies = {
        f"{key}-jp2": {"href": f"s3://bucket/{key}.jp2", "type": "image/jp2", "eo:bands": [{"name": key}]}
        for key in files
    }
    others = {
        "visual": {"href": "visual.tif", "roles": ["visual"], "eo:bands": [{"name": "red"}] * 3},
        "thumbnail": {"href": "preview.jpg", "type": "image/jpeg"},
        "scl": {"href": "scl.tif"},
        "aot": {"href": "aot.tif"},
    }
    with open_optical(item(copies | assets | others)) as optical:
        assert optical.names == L2A_BANDS
        assert (optical.radiometry.offset, optical.offset_source) == (-1000, "product")
        assert np.array_equal(optical.read(0, 40), pixels)
        assert optical.scl is not None and optical.scl.endswith("/scl.tif")
        assert optical.tags["PRODUCT_START_TIME"] == "2024-06-01T10:20:31.024000Z"


def test_offset_that_was_applied_already(item: Item, bands: Any) -> None:
    """Such items state the offset all the same."""
    assets = {
        key: {"href": file, "raster:bands": [{"scale": 0.0001, "offset": -0.1}]}
        for key, file in bands[0].items()
    }
    with open_optical(item(assets, **{"earthsearch:boa_offset_applied": True})) as optical:
        assert optical.radiometry.offset == 0
        assert "applied already" in str(optical.warnings[0])


def test_offset_that_is_not_stated_is_asked_for(item: Item, bands: Any) -> None:
    assets = {key: {"href": file} for key, file in bands[0].items()}
    with open_optical(item(assets, **{"s2:processing_baseline": "05.09"})) as optical:
        assert (optical.radiometry.offset, optical.offset_source) == (0, "assumed 0")
        assert "05.09" in str(optical.warnings[0]) and "--offset -1000" in str(optical.warnings[0])
    with open_optical(item(assets, **{"s2:processing_baseline": "03.01"})) as optical:
        assert optical.warnings == ()


def test_catalogue_that_keeps_several_resolutions(item: Item, bands: Any) -> None:
    files, pixels = bands
    assets = {}
    for name, file in zip(L2A_BANDS, files.values(), strict=True):
        assets[f"{name}_60m"] = {
            "href": "gone.jp2",
            "type": "image/jp2",
            "raster:offset": -0.1,
            "raster:scale": 0.0001,
        }
        assets[f"{name}_20m"] = {"href": file, "raster:offset": -0.1, "raster:scale": 0.0001}
    assets |= {f"SCL_{metres}m": {"href": f"scl{metres}.tif"} for metres in (60, 20)}
    with open_optical(item(assets)) as optical:
        assert optical.names == L2A_BANDS and optical.radiometry.offset == -1000
        assert np.array_equal(optical.read(3, 9), pixels[:, 3:12])
        assert optical.scl is not None and optical.scl.endswith("scl20.tif")


def test_names_in_stac_1_1_bands(item: Item, bands: Any) -> None:
    assets = {
        f"asset{index}": {
            "href": file,
            "bands": [{"name": name, "raster:scale": 0.0001, "raster:offset": -0.1}],
        }
        for index, (name, file) in enumerate(zip(L2A_BANDS, bands[0].values(), strict=True))
    }
    with open_optical(item(assets)) as optical:
        assert optical.names == L2A_BANDS and optical.radiometry.offset == -1000


def test_addresses_become_paths_of_gdal(item: Item) -> None:
    hrefs = {
        "B02": "https://host/B02.tif",
        "B03": "s3://bucket/B03.tif",
        "B04": "gs://bucket/B04.tif",
        "B08": "/data/B08.tif",
    }
    product = read_product(str(item({key: {"href": href} for key, href in hrefs.items()})))
    assert product is not None
    assert list(product.bands.values()) == [
        "/vsicurl/https://host/B02.tif", "/vsis3/bucket/B03.tif", "/vsigs/bucket/B04.tif", "/data/B08.tif",
    ]  # fmt: skip


def test_null_for_what_a_catalogue_does_not_know(item: Item, bands: Any) -> None:
    files, _ = bands
    nothing = {"type": None, "roles": None, "gsd": None, "eo:bands": None, "raster:bands": None}
    path = item({key: {"href": file} | nothing for key, file in files.items()})
    content = json.loads(path.read_text())
    content["assets"] |= {"preview": None, "metadata": {"href": None}}
    content |= {"properties": None, "id": None, "bbox": None, "links": None}
    path.write_text(json.dumps(content))
    with open_optical(path) as optical:
        assert optical.names == L2A_BANDS and "PRODUCT_URI" not in optical.tags


def test_bands_of_different_offsets(item: Item, bands: Any) -> None:
    assets = {
        key: {"href": file, "raster:bands": [{"offset": -0.1 * (key == "red")}]}
        for key, file in bands[0].items()
    }
    with pytest.raises(RadiometryError, match="different scales or offsets"), open_optical(item(assets)):
        pass


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[]", "not a STAC item"),
        ('{"type": "FeatureCollection"}', "not a STAC item"),
        (
            '{"type": "Feature", "stac_version": "1.0.0", "id": "x", "properties": {}}',
            "not a complete STAC item",
        ),
        (
            '{"type": "Feature", "stac_version": "1.0.0", "id": "x", "properties": {}, "assets": {"a": 1}}',
            "not a complete",
        ),
        (
            '{"type": "Feature", "stac_version": "1.0.0", "id": "x", "properties": {}, "assets": {}}',
            "none of its assets",
        ),
    ],
)
def test_json_that_is_no_item(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "item.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message), open_optical(path):
        pass


def test_item_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"), open_optical(tmp_path / "gone.json"):
        pass


VIEW = {"view:sun_azimuth": 152.3, "view:sun_elevation": 41.3}
EO = {"eo:sun_azimuth": 10.0, "eo:sun_elevation": 20.0}
S2 = {"s2:mean_solar_azimuth": 30.0, "s2:mean_solar_zenith": 50.0}


@pytest.mark.parametrize(
    ("properties", "asset", "sun"),
    [
        (VIEW | EO | S2, {}, Sun(152.3, 41.3)),
        (EO | S2, {}, Sun(10.0, 20.0)),
        (S2, VIEW, Sun(30.0, 40.0)),
        ({}, VIEW, Sun(152.3, 41.3)),
        (VIEW | {"view:sun_elevation": None} | S2, {}, Sun(30.0, 40.0)),
        (VIEW | {"view:sun_elevation": -4.0}, {}, None),
        (VIEW | {"view:sun_azimuth": [152.3]}, {}, None),
        (VIEW | {"view:sun_azimuth": "152.3"}, {}, Sun(152.3, 41.3)),
        ({"view:sun_azimuth": 152.3}, {}, None),
        ({"view:sun_azimuth": 152.3, "s2:mean_solar_zenith": 50.0}, {}, None),
        ({}, {}, None),
    ],
)
def test_where_the_sun_stands(
    item: Item, bands: Any, properties: dict[str, Any], asset: dict[str, Any], sun: Sun | None
) -> None:
    with open_optical(
        item({key: {"href": file} | asset for key, file in bands[0].items()}, **properties)
    ) as optical:
        assert optical.sun == sun


def moved(path: Path, name: str, **assets: Any) -> Path:
    """The item under another name, with fields of some assets changed."""
    content = json.loads(path.read_text())
    for key, fields in assets.items():
        content["assets"].setdefault(key, {}).update(fields)
    target = path.parent / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(content))
    return target


def test_items_at_addresses(item: Item, bands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files and of the STAC API, also from servers that give only whole files."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    files, pixels = bands
    path = item({key: {"href": f"./{file}"} for key, file in files.items()})
    with served(tmp_path) as assets, served(tmp_path, Whole) as host:
        absolute = {key: {"href": f"http://{assets}/{file}"} for key, file in files.items()}
        moved(path, "v1/items/S2A_31UFU", **absolute)
        moved(path, "whole.json", **absolute)
        for address in (f"http://{assets}/item.json", f"/vsicurl/http://{assets}/item.json?key=1"):
            with open_optical(address) as optical:
                assert np.array_equal(optical.read(0, 40), pixels)
        for name in ("v1/items/S2A_31UFU", "whole.json"):
            assert read_product(f"http://{host}/{name}") is not None
            with open_optical(f"http://{host}/{name}") as optical:
                assert np.array_equal(optical.read(0, 40, ["B04"])[0], pixels[3])
                assert optical.tags["PRODUCT_START_TIME"] == "2024-06-01T10:20:31.024000Z"
        with pytest.raises(InputError, match=r"gone\.json: cannot be read; expected"):
            read_product(f"http://{host}/gone.json")


def test_an_address_does_not_choose_among_the_files_of_this_machine(
    item: Item, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for href in ("file:///etc/passwd", "/vsimem/x.tif", "../../etc/passwd"):
        item({"B04": {"href": href}})
        with served(tmp_path) as host:
            if href.startswith("file:"):
                with pytest.raises(InputError, match=r"refers to 'file:.*expected addresses such as https"):
                    read_product(f"http://{host}/item.json")
            else:
                product = read_product(f"http://{host}/item.json")
                assert product is not None and product.bands["B04"].startswith(f"/vsicurl/http://{host}/")


def test_item_of_a_product_in_zarr(item: Item, tmp_path: Path) -> None:
    product = Eopf(tmp_path)
    zarr = {"type": "application/vnd+zarr"}
    path = item({
        "B02_10m": {"href": f"{product.root.name}/measurements/reflectance/r10m/b02"} | zarr,
        "product": {"href": str(product.root)} | zarr,
    })  # fmt: skip
    with open_optical(path) as optical:
        assert optical.path == str(path) and np.array_equal(optical.read(0, 120), product.dn)


GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 600000, 0, -10, 5900040), 60, 80)


@pytest.fixture
def db() -> NDArray[np.float32]:
    return np.random.default_rng(1).uniform(-20, -5, (2, 80, 60)).astype(np.float32)


def test_radar_item_in_linear_power(item: Item, write: Write, db: NDArray[np.float32]) -> None:
    """As radiometrically terrain-corrected collections have it, with nodata and a larger extent."""
    power = np.pad(10 ** (db / 10), ((0, 0), (5, 5), (5, 5)), constant_values=-32768)
    place = {"transform": Affine(10, 0, 599950, 0, -10, 5900090), "nodata": -32768}
    assets = {
        key: {"href": write(f"{key}.tif", band, **place).name}
        for key, band in zip(("vh", "vv"), power[::-1], strict=True)
    }
    with open_radar(item(assets), GRID) as radar:
        values, valid = radar.read(0, 80)
        assert radar.units == "linear"
    assert valid.all() and np.allclose(values, db, atol=1e-3)


def test_radar_item_without_vv(item: Item) -> None:
    with pytest.raises(InputError, match=r"HH, HV; expected VV and VH"):
        radar_item(str(item({"hh": {"href": "hh.tif"}, "hv": {"href": "hv.tif"}})))


def test_one_file_per_polarisation(write: Write, db: NDArray[np.float32]) -> None:
    paths = str(write("a.tif", db[0])), str(write("b.tif", db[1]))
    with open_radar(paths, GRID) as radar:
        values, valid = radar.read(10, 30)
        assert radar.units == "db" and not radar.source.warped
    assert valid.all() and np.array_equal(values, db[:, 10:40])


def test_polarisations_that_do_not_fit_together(write: Write, db: NDArray[np.float32]) -> None:
    vv, elsewhere = write("vv.tif", db[0]), write("vh.tif", db[1], transform=Affine(10, 0, 0, 0, -10, 0))
    with (
        pytest.raises(GridMismatchError, match=r"vh\.tif.*extent"),
        open_radar((str(vv), str(elsewhere)), GRID),
    ):
        pass
    both = write("both.tif", db)
    with (
        pytest.raises(InputError, match="2 bands; expected VH alone"),
        open_radar((str(vv), str(both)), GRID),
    ):
        pass
    integers = write("integers.tif", (100 * db[1]).astype(np.int16))
    with pytest.raises(RadiometryError, match="holds int16"), open_radar((str(vv), str(integers)), GRID):
        pass
