"""Lists of STAC items: ItemCollections in files, and the pages of a search at an address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from cmcr_cli.addresses import public
from cmcr_cli.errors import InputError
from cmcr_cli.scene.products.stac import file_of, is_item, is_list, json_at
from cmcr_cli.scene.readable import gdal_path, is_remote

MOST_PAGES = 20
"""Pages of a search that are read; a server may have no last one."""


@dataclass(frozen=True, slots=True)
class Items:
    """The items of a list.

    Attributes:
        paths: Of the items, as `optical_item` takes them.
        unread: Why there are more items than these; None: there are not.
    """

    paths: tuple[str, ...]
    unread: str | None = None


def items_at(path: str) -> Items | None:
    """List the items of an ItemCollection; of a search at an address, also those of further pages.

    Pages are asked for at the server of the first one alone.

    Args:
        path: A file or address.

    Returns:
        The items; None if the file is not an ItemCollection.

    Raises:
        InputError: The file cannot be read, or its features have no ids.
    """
    content = json_at(path) if file_of(path)[1] is None else None  # else it is one of them by its id
    if not isinstance(content, dict) or content.get("type") != "FeatureCollection":
        return None
    paths, pages = _paths(content, path), [path]
    while (link := _next(content)) is not None:
        page = urljoin(_address(path), str(link.get("href") or ""))
        if page in pages:
            break
        if why := _not_followed(path, page, link, len(pages)):
            return Items(tuple(paths), why)
        try:
            content = json_at(page)
            found = _paths(content, page)
        except InputError as error:
            return Items(tuple(paths), f"page {len(pages) + 1} is not usable ({error})")
        if not found:  # some servers have an empty last page
            break
        paths, pages = [*paths, *found], [*pages, page]
    return Items(tuple(paths), _too_few(content, len(paths)))


def _paths(content: Any, page: str) -> list[str]:
    """Paths of the items on a page."""
    features: Any = content.get("features") if isinstance(content, dict) else None
    if not is_list(features, dict) or not all(isinstance(each.get("id"), str) for each in features):
        raise InputError(
            f"{page}: is not a whole ItemCollection; expected a list of features, each with an id."
        )
    return [f"{page}#{each['id']}" for each in features]


def _next(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The link to the next page."""
    links: Any = content.get("links")
    return next((each for each in links if each.get("rel") == "next"), None) if is_list(links, dict) else None


def _not_followed(path: str, page: str, link: Mapping[str, Any], pages: int) -> str | None:
    """Why a next page is not read; None: it is."""
    if not is_remote(gdal_path(path)):
        return "has a link to further pages; expected all items in the file, or the address of the search"
    if str(link.get("method") or "GET").upper() != "GET" or link.get("body") is not None:
        return "has further pages, which want POST requests; expected a search by GET, or its items in a file"
    if urlsplit(page)[:2] != urlsplit(_address(path))[:2] or not is_item(page):
        return f"has further pages at {public(page)}, which is another place; expected pages of one server"
    if pages == MOST_PAGES:
        return f"has more than {MOST_PAGES} pages, which are read; expected a narrower search"
    return None


def _too_few(content: Mapping[str, Any], found: int) -> str | None:
    """That the server knows of more items than there are on the pages."""
    context = content.get("context")
    matched = content.get("numberMatched", context.get("matched") if isinstance(context, dict) else None)
    if not isinstance(matched, int) or matched <= found:
        return None
    return f"holds {found} of the {matched} items that were found; expected all, as with a larger limit"


def _address(path: str) -> str:
    return path.removeprefix("/vsicurl/")
