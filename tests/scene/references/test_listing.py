from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.scene.references.listing import LeftOut, Listed, list_references
from tests.support.rasters import write

if TYPE_CHECKING:
    from tests.support.rasters import Write

__all__ = ["write"]

JUNE = date(2024, 6, 1)
STACK = np.full((13, 8, 8), 1000, np.uint16)


def listed(*entries: str | Path) -> tuple[Listed, ...]:
    return list_references(list(map(str, entries)))[0]


def test_what_is_named_once_or_twice_is_listed_once(write: Write, tmp_path: Path) -> None:
    path = write("a.tif", STACK)
    (tmp_path / "link.tif").symlink_to(path)
    (tmp_path / "list.txt").write_text("a.tif\n")
    found = listed(f"{path}@2024-06-01", path, tmp_path / "link.tif", tmp_path / "list.txt", tmp_path)
    assert found == (Listed(str(path), JUNE, None, named=True),)
    with pytest.raises(InputError, match=r"with the dates 2024-06-01 and 2024-06-02; expected one"):
        listed(f"{path}@2024-06-01", f"{path}@2024-06-02")


def test_order_does_not_matter(write: Write) -> None:
    paths = [write(f"{name}.tif", STACK) for name in "cab"]
    assert listed(*paths) == listed(*reversed(paths))
    assert [Path(each.path).stem for each in listed(*paths)] == ["a", "b", "c"]


def test_a_folder_stands_for_its_images(
    write: Write, tmp_path: Path, make_product: Callable[..., Any]
) -> None:
    """Radar, masks, outputs and other files are no images; damaged ones and outputs of cmcr are left out."""
    good = write("b.tif", STACK)
    for name, pixels in {
        "s1.tif": np.zeros((2, 8, 8), np.float32),
        "mask.tif": np.zeros((8, 8), np.uint8),
        "uncertainty.tif": np.zeros((13, 8, 8), np.float32),
    }.items():
        write(name, pixels)
    made = write("clear.tif", STACK)
    with rasterio.open(made, "r+") as file:
        file.update_tags(CMCR_WEIGHTS_SHA256="0")
    (tmp_path / "broken.tif").write_bytes(good.read_bytes()[:100])
    (tmp_path / "readme.txt").write_text("Not a list.\n")
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / ".hidden.tif").write_bytes(good.read_bytes())
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "c.tif").write_bytes(good.read_bytes())
    product = make_product()
    (tmp_path / "product.SAFE").symlink_to(product.folder)
    product.zipped.rename(tmp_path / "product.zip")
    found, left_out = list_references([str(tmp_path)])
    assert {Path(each.path).name for each in found} == {"b.tif", "product.zip", "product.SAFE"}
    assert not any(each.named for each in found)
    assert [(Path(each.path).name, each.reason[:20]) for each in left_out] == [
        ("broken.tif", "cannot be opened as "), ("clear.tif", "is an output of cmcr"),
    ]  # fmt: skip


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").touch()
    assert list_references([str(tmp_path)]) == (
        (), (LeftOut(str(tmp_path), "holds no Sentinel-2 products or stacks of bands"),),
    )  # fmt: skip


def test_a_product_is_no_folder_of_products(make_product: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_product().folder
    assert listed(folder) == (Listed(str(folder)),)
    renamed = tmp_path / "june"
    renamed.symlink_to(folder)
    assert listed(renamed) == (Listed(str(renamed)),)


def test_text_lists(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(
        "\ufeff# of June\n\na.tif@2024-06-01\n /vsis3/bucket/b.tif \nsub/c.tif\n", encoding="utf-8"
    )
    assert set(listed(path)) == {
        Listed("/vsis3/bucket/b.tif"), Listed(f"{tmp_path}/a.tif", JUNE), Listed(f"{tmp_path}/sub/c.tif"),
    }  # fmt: skip


def test_csv_lists(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text('# made by hand\nMask,path,date\nm.tif,a.tif,2024-06-01\n,"b, c.tif",\n')
    assert listed(path) == (
        Listed(f"{tmp_path}/a.tif", JUNE, f"{tmp_path}/m.tif"), Listed(f"{tmp_path}/b, c.tif"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("l.csv", b"a.tif,2024-06-01\n", "expected the names of its columns"),
        ("l.csv", b"path,path\na.tif,b.tif\n", "expected the names of its columns"),
        ("l.csv", b"path,season\na.tif,3\n", "expected the names of its columns"),
        ("l.csv", b"path,date\na.tif,June\n", "line 2 has the date 'June'.*expected YYYY-MM-DD"),
        ("l.csv", b"path,date\n,2024-06-01\n", "line 2 is .*a path among them"),
        ("l.csv", b"path\na.tif,b.tif\n", "line 2 is 'a.tif,b.tif'"),
        ("l.csv", b'path\n"a.tif\n', "is not a CSV"),
        ("l.csv", b"path\n", "lists no references"),
        ("l.csv", b"", "lists no references"),
        ("l.txt", b"# none\n", "lists no references"),
        ("l.txt", b"\xff\xfe\n", "is not UTF-8"),
    ],
)
def test_lists_that_are_wrong(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        listed(tmp_path / name)


def test_a_list_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.txt: does not exist"):
        listed(tmp_path / "gone.txt")


def test_a_date_is_for_one_product(tmp_path: Path, write: Write) -> None:
    write("a.tif", STACK)
    with pytest.raises(OptionError, match=r"stands for several products.*\.csv list"):
        listed(f"{tmp_path}@2024-06-01")


def test_collections_stand_for_their_items(tmp_path: Path) -> None:
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [{"id": "b"}, {"id": "a"}]}))
    assert listed(path) == (Listed(f"{path}#a", named=False), Listed(f"{path}#b", named=False))
    path.write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    assert list_references([str(path)])[1] == (LeftOut(str(path), "holds no items"),)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [{}]}))
    assert list_references([f"{path}#one"])[0] == (Listed(f"{path}#one"),), "one of them by its id"
    with pytest.raises(InputError, match="not a whole ItemCollection"):
        listed(path)
