from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from cmcr_cli.errors import CmcrError, InputError, RadiometryError
from cmcr_cli.scene.masks.mask_raster import open_mask
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.products.eopf import is_eopf, read_eopf
from cmcr_cli.scene.references.reference import open_references
from cmcr_cli.scene.sun import Sun
from tests.support.eopf import NAME, NORTH, REFLECTANCE, WEST, Eopf
from tests.support.server import served


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Eopf:
    """To be read only."""
    return Eopf(tmp_path_factory.mktemp("eopf"))


@pytest.fixture
def damaged(product: Eopf, tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    return shutil.copytree(product.root, tmp_path / product.root.name)


def zipped(product: Eopf, folder: Path, *, flat: bool = False) -> Path:
    inside = product.root if flat else product.root.parent
    name = folder / f"{product.root.name}"
    return Path(shutil.make_archive(str(name), "zip", inside, None if flat else product.root.name))


def refused(path: Path, kind: type[CmcrError] = InputError) -> str:
    """What is said of a product; it begins with its path, wherever in it the fault is."""
    with pytest.raises(kind) as error, open_optical(path) as optical:
        optical.read(0, 120)
    assert str(error.value).count("\n") == 0
    return str(error.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("level", ["1C", "2A"])
def test_pixels_are_those_that_are_stored(level: str, tmp_path: Path) -> None:
    product = Eopf(tmp_path, level)
    with open_optical(product.root) as optical:
        assert (optical.names, optical.level, optical.dtype) == (product.names, f"L{level}", np.uint16)
        assert np.array_equal(optical.read(0, 120), product.dn)
        # The offset is stated in reflectance, and applied once.
        assert (optical.radiometry.offset, optical.offset_source) == (-1000, "product")
        assert optical.reflectance(np.full((len(product.names), 1), 2000))[1] == pytest.approx(0.1)
        assert optical.grid.crs.to_epsg() == 32631
        assert optical.grid.transform == rasterio.Affine(10, 0, WEST, 0, -10, NORTH)
        assert optical.nodata == 0 and not optical.valid(optical.read(0, 2))[:2, :2].any()
        assert optical.sun == Sun(158.5, 59.75)
        assert optical.tags == {
            "PRODUCT_URI": product.root.stem,
            "PROCESSING_BASELINE": "05.11",
            "PRODUCT_START_TIME": "2024-06-01T10:20:31.024000Z",
        }


@pytest.mark.parametrize("inside", ["", ".zmetadata", ".zgroup", f"{REFLECTANCE}/r20m/b05", REFLECTANCE])
def test_whatever_of_it_is_named(product: Eopf, inside: str) -> None:
    with open_optical(f"{product.root}/{inside}") as optical:
        assert np.array_equal(optical.read(0, 120), product.dn)
        assert optical.files[-1] == str(product.root)


def test_folder_of_another_name(damaged: Path, product: Eopf) -> None:
    renamed = damaged.rename(damaged.with_name("monday"))
    for path in (renamed, renamed / REFLECTANCE / "r10m" / "b02"):
        with open_optical(path) as optical:
            assert np.array_equal(optical.read(7, 9), product.dn[:, 7:16])


@pytest.mark.parametrize("flat", [False, True])
def test_zip_is_read_in_place(product: Eopf, tmp_path: Path, flat: bool) -> None:
    with open_optical(zipped(product, tmp_path, flat=flat)) as optical:
        assert np.array_equal(optical.read(0, 120), product.dn)


@pytest.mark.parametrize("flat", [False, True])
def test_address(product: Eopf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flat: bool) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    zipped(product, tmp_path, flat=flat)
    shutil.copytree(product.root, tmp_path / product.root.name)
    with served(tmp_path) as host:
        for path in (f"http://{host}/{product.root.name}", f"/vsicurl/http://{host}/{product.root.name}.zip"):
            with open_optical(path) as optical:
                assert np.array_equal(optical.read(0, 120), product.dn)
        with pytest.raises(InputError, match=r"has no readable \.zmetadata or zarr\.json"):
            read_eopf(f"http://{host}/gone.zarr")


def test_its_classification_is_a_mask(product: Eopf) -> None:
    with (
        open_optical(product.root) as optical,
        open_mask(str(optical.scl), optical.grid, codes="scl") as mask,
    ):
        covered = np.isin(product.scl, (3, 8, 9, 10)).repeat(2, 0).repeat(2, 1)
        assert np.array_equal(mask.read(0, 120) > 0, covered)


def test_reference_and_folder_of_them(product: Eopf, tmp_path: Path) -> None:
    other = Eopf(tmp_path)
    later = other.root.rename(tmp_path / other.root.name.replace("20240601T10", "20240611T10"))
    attributes = json.loads((later / ".zmetadata").read_text())
    del attributes["metadata"][".zattrs"]["stac_discovery"]["properties"]["datetime"]
    (later / ".zmetadata").write_text(json.dumps(attributes))
    shutil.copytree(product.root, tmp_path / product.root.name)
    with open_optical(product.root) as scene, open_references([str(tmp_path)], scene) as found:
        (reference,) = found.used
        assert (reference.path, reference.days) == (str(later), 10)
        assert [each.reason for each in found.left_out] == ["is made of the same image as the scene"]


@pytest.mark.parametrize("sharded", [False, True])
def test_version_3_is_read_where_gdal_can(tmp_path: Path, sharded: bool) -> None:
    product = Eopf(tmp_path, version=3, sharded=sharded)
    try:
        with open_optical(product.root / "zarr.json") as optical:
            assert np.array_equal(optical.read(0, 120), product.dn)
    except InputError as error:
        why = "its chunks are in shards, which GDAL" if sharded else "codec"
        assert why in str(error) and "expected a newer GDAL (3.13" in str(error) and "as SAFE" in str(error)


def test_chunks_that_are_damaged_or_lost(damaged: Path) -> None:
    chunk = damaged / REFLECTANCE / "r20m" / "b8a" / "0.1"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: len(whole) // 2])
    assert "rows 0 to 120 cannot be read (Decompression of tile" in refused(damaged)
    chunk.unlink()
    text = refused(damaged)
    assert text.startswith(f"the chunk 0.1 of {REFLECTANCE}/r20m/b8a is missing, which {REFLECTANCE}/r20m/")
    shutil.rmtree(chunk.parent)
    assert f"of {REFLECTANCE}/r20m/b8a is missing" in refused(damaged)


def test_chunks_without_measurements_need_not_be_there(tmp_path: Path) -> None:
    product = Eopf(tmp_path)
    for name, keep in (("b11", 0), ("b12", 99)):  # measured nowhere, and at the edge of the swath
        pixels = product.dn[product.names.index(name.upper())][::2, ::2].copy()
        pixels[30:, 30:].flat[keep:] = 0
        product.array(f"{REFLECTANCE}/r20m/{name}", pixels, {"scale_factor": 0.0001, "add_offset": -0.1})
    product.chunk("B11").unlink()
    for name in ("B05", "B06", "B07", "B8A"):
        product.chunk(name).unlink()
    product.consolidate()
    with open_optical(product.root) as optical:
        assert (optical.read(60, 60, ["B11", "B05"])[:, :, 60:] == 0).all()


def test_bands_and_metadata_that_are_missing(tmp_path: Path) -> None:
    def changed(change: Callable[[dict[str, Any]], Any]) -> Path:
        product = Eopf(tmp_path)
        content = json.loads((product.root / ".zmetadata").read_text())
        change(content["metadata"])
        (product.root / ".zmetadata").write_text(json.dumps(content))
        return product.root

    def drop(text: str, fields: tuple[str, ...] = ()) -> Callable[[dict[str, Any]], None]:
        def change(nodes: dict[str, Any]) -> None:
            for key in [key for key in nodes if text in key]:
                for field in fields:
                    nodes[key].pop(field, None)
                if not fields:
                    del nodes[key]

        return change

    assert "are needed" in refused(changed(drop("/r10m/b03")), RadiometryError)
    assert refused(changed(drop("reflectance"))).startswith(f"has no arrays {REFLECTANCE}/r10m/b02")
    product = changed(drop("/.zattrs", ("proj:epsg",)))
    (content := json.loads((product / ".zmetadata").read_text()))["metadata"][".zattrs"] = {}
    (product / ".zmetadata").write_text(json.dumps(content))
    assert refused(product).startswith("states no coordinate reference system")
    product = changed(lambda nodes: nodes[f"{REFLECTANCE}/r10m/b03/.zattrs"].update(add_offset=0))
    assert "different scales or offsets [(10000.0, -1000.0), (10000.0, 0.0)]" in refused(
        product, RadiometryError
    )
    product = changed(lambda nodes: nodes[f"{REFLECTANCE}/r10m/b03/.zattrs"].update(scale_factor="x"))
    assert "states scale_factor 'x'" in refused(product)
    product = changed(lambda nodes: [drop("/x/")(nodes), drop("/.zattrs", ("proj:bbox",))(nodes)])
    assert "does not state where its pixels are" in refused(product)
    (product / ".zmetadata").write_text("{")
    assert "is not valid JSON" in refused(product)
    (product / ".zmetadata").unlink()
    assert refused(product).startswith("has no readable .zmetadata or zarr.json")
    assert refused(tmp_path / "gone.zarr").startswith("does not exist")


def test_other_paths_are_not_products(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    for path in (tmp_path, tmp_path / "plain", "a.zarr.tif", "s2.tif", "a\0b", "https://host/a.json"):
        assert not is_eopf(str(path)), path
    assert is_eopf(f"s3://bucket/{NAME}/measurements")
