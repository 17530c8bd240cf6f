"""ItemCollections, and searches of several pages."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cmcr_cli.errors import InputError
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.products.stac import is_item
from cmcr_cli.scene.products.stac_lists import MOST_PAGES, Items, items_at
from cmcr_cli.scene.references.listing import LeftOut, list_references
from tests.support.rasters import write
from tests.support.server import served

if TYPE_CHECKING:
    from tests.support.rasters import Write

__all__ = ["write"]

NAMES = ("B02", "B03", "B04", "B08")


def feature(name: str, **assets: Any) -> dict[str, Any]:
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": name, "geometry": None, "links": [],
        "properties": {"datetime": "2024-06-01T10:20:31Z"}, "assets": assets,
    }  # fmt: skip


def page(path: Path, *features: dict[str, Any], link: dict[str, Any] | None = None, **fields: Any) -> None:
    """Write a page of a search, with a link to the next one."""
    links = [{"rel": "self", "href": "x"}, *([] if link is None else [{"rel": "next"} | link])]
    content = {"type": "FeatureCollection", "features": features, "links": links} | fields
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_all_pages_of_a_search_are_read(write: Write, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(1200, 4000, (4, 40, 40)).astype(np.uint16)
    files = {
        name: {"href": write(f"{name}.tif", plane).name} for name, plane in zip(NAMES, pixels, strict=True)
    }
    with served(tmp_path) as host:
        second, third = f"http://{host}/2/search?token=next:b", f"http://{host}/3/search"
        page(tmp_path / "search", feature("monday", **files), link={"href": second, "method": "GET"})
        page(tmp_path / "2" / "search", feature("friday", **{k: {"href": f"../{v['href']}"} for k, v in
             files.items()}), link={"href": "/3/search", "body": None}, numberMatched=3)  # fmt: skip
        page(tmp_path / "3" / "search", feature("sunday"), link={"href": third}, numberMatched=3)
        address = f"http://{host}/search?limit=1"
        found = items_at(address)
        assert found == Items((f"{address}#monday", f"{second}#friday", f"{third}#sunday"))
        assert all(map(is_item, found.paths))
        with open_optical(found.paths[1]) as optical:
            assert optical.tags["PRODUCT_URI"] == "friday" and np.array_equal(optical.read(0, 40), pixels)
        listed, left_out = list_references([address])
        assert ([each.path for each in listed], left_out) == (sorted(found.paths), ())


@pytest.mark.parametrize(
    ("link", "fields", "why"),
    [
        ({"href": "/search?page=2", "method": "POST", "body": {"page": 2}}, {}, "want POST requests"),
        ({"href": "http://127.0.0.2/search"}, {}, "which is another place"),
        ({"href": "/search.html"}, {}, "which is another place"),
        ({"href": "file:///etc/search"}, {}, "which is another place"),
        ({"href": "/gone/search"}, {}, "page 2 is not usable"),
        ({"href": "/broken/search"}, {}, "page 2 is not usable .* not a whole ItemCollection"),
        (None, {"numberMatched": 250}, "holds 1 of the 250 items"),
        (None, {"context": {"matched": 2}}, "holds 1 of the 2 items"),
    ],
)
def test_pages_that_are_not_read_are_reported(
    tmp_path: Path, link: dict[str, Any] | None, fields: dict[str, Any], why: str
) -> None:
    page(tmp_path / "search", feature("monday"), link=link, **fields)
    page(tmp_path / "broken" / "search", {"id": 1})
    with served(tmp_path) as host:
        found = items_at(f"http://{host}/search")
        assert found is not None and found.paths == (f"http://{host}/search#monday",)
        assert found.unread is not None and re.search(why, found.unread)
        _, (left_out,) = list_references([f"http://{host}/search"])
        assert left_out == LeftOut(f"http://{host}/search (in part)", found.unread)


def test_the_number_of_pages_is_bounded(tmp_path: Path) -> None:
    """A server that never comes to an end, and one that comes back to its start."""
    for number in range(MOST_PAGES + 3):
        page(tmp_path / str(number) / "search", feature(str(number)), link={"href": f"/{number + 1}/search"})
    page(tmp_path / "round" / "search", feature("a"), link={"href": "/round/search"})
    with served(tmp_path) as host:
        found = items_at(f"http://{host}/0/search")
        assert found is not None and len(found.paths) == MOST_PAGES
        assert str(found.unread).startswith(f"has more than {MOST_PAGES} pages")
        assert items_at(f"http://{host}/round/search") == Items((f"http://{host}/round/search#a",))


def test_a_file_asks_for_nothing(tmp_path: Path) -> None:
    """Even if it names further pages."""
    path = tmp_path / "items.json"
    page(path, feature("monday"), link={"href": "http://127.0.0.1:9/search"})
    found = items_at(str(path))
    assert found is not None and found.paths == (f"{path}#monday",)
    assert str(found.unread).startswith("has a link to further pages; expected all items in the file")


@pytest.mark.parametrize("features", [None, {}, [1], [{"id": 5}], [{}]])
def test_collections_that_are_not_whole(tmp_path: Path, features: Any) -> None:
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with pytest.raises(InputError, match="not a whole ItemCollection"):
        items_at(str(path))


def test_what_is_no_collection(tmp_path: Path) -> None:
    path = tmp_path / "item.json"
    path.write_text(json.dumps(feature("monday")))
    assert items_at(str(path)) is None
