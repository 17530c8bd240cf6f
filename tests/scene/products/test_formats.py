from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.errors import InputError
from cmcr_cli.scene.products.formats import FORMATS, read_product


def test_products_are_told_by_their_path(make_product: Callable[..., Any], tmp_path: Path) -> None:
    made = make_product(size=60)
    for path in (made.folder, made.folder / "MTD_MSIL2A.xml", made.zipped):
        found = read_product(str(path))
        assert found is not None and "B02" in found.bands, path
        assert [fits(str(path)) for fits, _ in FORMATS] == [False, False, True]
    item = tmp_path / "item.json"
    item.write_text(json.dumps({"type": "Feature", "id": "x", "properties": {}, "assets": {}}))
    assert [fits(str(item)) for fits, _ in FORMATS] == [False, True, False]
    with pytest.raises(InputError):
        read_product(str(item))


@pytest.mark.parametrize("path", ["s2.tif", "/vsis3/bucket/stack.vrt", "folder/B02.jp2"])
def test_rasters_of_bands_are_no_products(path: str) -> None:
    assert read_product(path) is None
