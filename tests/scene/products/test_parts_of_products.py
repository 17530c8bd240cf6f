"""Paths that people give in place of a product: parts of it, zips of other shapes, wrong ones."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmcr_cli.errors import InputError
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.products.safe import is_safe, read_safe, whole_of
from cmcr_cli.scene.references.listing import list_references

PARTS = ("GRANULE", "GRANULE/G", "GRANULE/G/IMG_DATA", "GRANULE/G/MTD_TL.xml", "manifest.safe", "DATASTRIP/D")


@pytest.fixture(scope="module")
def product(make_product: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = make_product()
    for name in ("manifest.safe", "GRANULE/G/MTD_TL.xml"):
        (made.folder / name).write_text("<xml/>")
    (made.folder / "DATASTRIP" / "D").mkdir(parents=True)
    return made


def test_a_part_stands_for_its_product(product: Any) -> None:
    image = next(product.folder.rglob("*_B04_10m.jp2")).relative_to(product.folder)
    for part in (*PARTS, str(image), str(image.parent)):
        assert whole_of(str(product.folder / part)) == str(product.folder)
    assert whole_of(str(product.folder)) is None
    with open_optical(product.folder / image) as optical:
        assert np.array_equal(optical.read(0, 240), product.dn)
        assert "is a part of the product" in str(optical.warnings[0])
    roundabout = product.folder / "GRANULE" / ".." / image
    assert whole_of(str(roundabout)) == str(product.folder)
    listed, _ = list_references([str(product.folder / "GRANULE")])
    assert [each.path for each in listed] == [str(product.folder / "GRANULE")]


def test_what_a_user_put_beside_or_into_a_product_is_no_part(product: Any, tmp_path: Path) -> None:
    own = product.folder / "my stacks"
    own.mkdir(exist_ok=True)
    (own / "stack.tif").touch()
    assert whole_of(str(own / "stack.tif")) is None and whole_of(str(own)) is None
    lone = tmp_path / "T31UFU_20240601T102031_B04.jp2"
    shutil.copy(next(product.folder.rglob("*_B04_10m.jp2")), lone)
    assert whole_of(str(lone)) is None
    shutil.rmtree(own)


def test_products_by_their_addresses(product: Any) -> None:
    with open_optical(f"file://{product.folder}") as optical:
        assert np.array_equal(optical.read(0, 240), product.dn)
    assert is_safe("s3://eodata/Sentinel-2/MSI/L2A/2024/06/01/S2A_MSIL2A_20240601T102031.SAFE/GRANULE")
    with pytest.raises(InputError, match=r"/vsis3/bucket/S2A\.SAFE: its name does not say whether"):
        read_safe("s3://bucket/S2A.SAFE")


def test_remote_parts_by_their_names() -> None:
    root = "/vsis3/bucket/S2A_MSIL2A_20221005T115411.SAFE"
    assert whole_of(f"{root}/GRANULE/L2A/IMG_DATA") == root
    assert whole_of(f"{root}/MTD_MSIL2A.xml") is None and whole_of(root) is None


def test_a_folder_in_a_folder_of_its_own(product: Any, tmp_path: Path) -> None:
    inner = tmp_path / "unpacked" / product.folder.name
    inner.parent.mkdir()
    inner.symlink_to(product.folder)
    assert whole_of(str(inner.parent)) == str(inner)


def test_zip_with_the_files_at_its_root(product: Any, tmp_path: Path) -> None:
    archive = tmp_path / "flat.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in product.folder.rglob("*"):
            file.write(path, path.relative_to(product.folder))
    with open_optical(archive) as optical:
        assert np.array_equal(optical.read(0, 240), product.dn)
        assert optical.scl is not None and "}/GRANULE/" in optical.scl


def test_wrong_paths_are_called_what_they_are(tmp_path: Path) -> None:
    link = tmp_path / "link.SAFE"
    link.symlink_to(tmp_path / "gone.SAFE")
    loop = tmp_path / "loop.tif"
    loop.symlink_to(loop)
    for path, told in (
        (link, "is a broken link to .*gone"),
        (tmp_path / "absent.SAFE", "does not exist; expected"),
        (tmp_path / "no" / "such" / "absent.SAFE", f"does not exist; {tmp_path} does"),
        (tmp_path / f"{'x' * 300}.tif", "name too long"),
        (loop, "broken link|symbolic links"),
    ):
        with pytest.raises(InputError, match=f"(?i){told}"), open_optical(path):
            pass
    text = tmp_path / "text.tif"
    text.write_text("not a raster")
    with pytest.raises(InputError) as caught, open_optical(text):
        pass
    assert "does not exist" not in str(caught.value)
