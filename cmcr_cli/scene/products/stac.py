"""STAC items, files or addresses: which of their assets are the bands, and what they say of the pixels."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from cmcr_cli.errors import InputError
from cmcr_cli.scene.bands import BANDS, RADAR_BANDS, band_name
from cmcr_cli.scene.layers.sensors import check_sensor
from cmcr_cli.scene.products.eopf import is_eopf, read_eopf
from cmcr_cli.scene.products.safe import METADATA
from cmcr_cli.scene.products.stac_scaling import LARGEST_NUMBER, Asset, baseline_of, scaling_of, shortened
from cmcr_cli.scene.products.stack import Product
from cmcr_cli.scene.raster import read_bytes, read_start
from cmcr_cli.scene.readable import check_readable, gdal_path, is_remote, why_not
from cmcr_cli.scene.sun import Sun, sun_of

BAND_LISTS = ("bands", "eo:bands", "raster:bands")

LARGEST_ITEM = 64 * 2**20
"""Bytes; real items have 30 kB, and collections of them as many times that."""

IN_COLLECTION = re.compile(r"(.+\.(?:geo)?json|(?:/vsicurl/)?\w+://.+?)#(.+)", re.IGNORECASE | re.DOTALL)
"""An item of an ItemCollection: the path of the file, and the id."""

OF_API = re.compile(r"https?://.+/(items(/[^/]+)?|search)/?", re.IGNORECASE)
"""Addresses of items, and of lists of them, at servers with the STAC API."""

WHAT = "a STAC item"

METADATA_KEYS = ("product_metadata", "product-metadata")
"""Assets that hold the metadata of the product from which an item was made."""


def is_item(path: str) -> bool:
    """Recognise a STAC item by its name.

    Args:
        path: A path or address; PATH#ID is one of an ItemCollection.

    Returns:
        Whether it is a name of an item.
    """
    file = file_of(path)[0]
    name = file.partition("?")[0] if is_remote(gdal_path(file)) else file
    return name.lower().endswith((".json", ".geojson")) or OF_API.fullmatch(name) is not None


def optical_item(path: str) -> Product:
    """Read bands, scene classification, offset and time of a Sentinel-2 item.

    Args:
        path: A file or address.

    Returns:
        The product.

    Raises:
        InputError: The file is not a usable item.
        RadiometryError: Its bands have different offsets.
    """
    item = _read(path)
    properties = item["properties"]
    check_sensor(path, properties | {"collection": item.get("collection") or ""}, item["assets"])
    bands: dict[str, tuple[float, str, Asset]] = {}
    for key, asset in _rasters(item):
        name = "SCL" if re.match(r"scl(_20m|_60m)?$", key, re.IGNORECASE) else _band(key, asset)
        metres = _metres(key, asset)
        if name is not None and (name not in bands or metres < bands[name][0]):
            bands[name] = metres, _href(asset["href"], path), asset
    scl = bands.pop("SCL", None)
    stores = (_href(asset["href"], path) for asset in item["assets"].values() if is_eopf(asset["href"]))
    if not bands and (store := next(stores, None)):  # a product in Zarr tells all that the item does
        return replace(read_eopf(store), path=path, form="STAC item of EOPF Zarr")
    if not bands:
        raise InputError(
            f"{path}: none of its assets is a Sentinel-2 band; expected assets named B02, B03, ... or blue, "
            "green, ... of a raster type. The Sentinel-2 item comes first, then the Sentinel-1 item."
        )
    metadata = _product_metadata(item, path)
    pixels = scaling_of(path, properties, [asset for _, _, asset in bands.values()], metadata)
    scale, offset = pixels.scale, pixels.offset
    tags = {
        "PRODUCT_URI": properties.get("s2:product_uri") or item["id"],
        "PROCESSING_BASELINE": baseline_of(properties),
        "PRODUCT_START_TIME": properties.get("datetime") or properties.get("start_datetime"),
    }
    return Product(
        path=path,
        form="STAC item",
        bands={name: bands[name][1] for name in BANDS if name in bands},
        scl=None if scl is None else scl[1],
        offset=offset,
        quantification=None if offset is None else round(1 / scale, 3),
        sun=_sun([properties, *(asset for _, _, asset in bands.values())]),
        nodata=0,
        tags={name: _tag(value) for name, value in tags.items() if value},
        warnings=pixels.warnings,
    )


def radar_item(path: str) -> dict[str, str]:
    """Read the files of VV and VH of a Sentinel-1 item.

    Args:
        path: A file or address.

    Returns:
        Paths for GDAL by polarisation.

    Raises:
        InputError: The file is not a usable item, or lacks one of them.
    """
    item = _read(path)
    found = {key.upper(): _href(asset["href"], path) for key, asset in _rasters(item)}
    if not set(RADAR_BANDS) <= found.keys():
        raise InputError(
            f"{path}: has the raster assets {', '.join(sorted(found)) or 'none'}; expected VV and VH of a "
            "terrain-corrected Sentinel-1 item. Give files with --s1-vv and --s1-vh, or leave radar out."
        )
    return {name: found[name] for name in RADAR_BANDS}


def file_of(path: str) -> tuple[str, str | None]:
    """Find the file of an item.

    Args:
        path: Of an item, or `FILE#ID` of one of several. A file of the whole name wins.

    Returns:
        The file, and the id if the file holds several.
    """
    found = IN_COLLECTION.fullmatch(path)
    return (path, None) if found is None or Path(path).exists() else (found[1], found[2])


def json_at(path: str) -> Any:
    """Read a JSON file.

    Args:
        path: A file or address.

    Returns:
        Its content, whatever it is; that of the last file is kept.

    Raises:
        InputError: It cannot be read, is too large, or is not JSON.
    """
    if is_remote(gdal_path(path)):
        return _parsed(path)
    check_readable(path, WHAT)
    try:
        state = Path(path).stat()
    except (OSError, ValueError) as error:
        why = why_not(path) or f"cannot be read ({error})"
        raise InputError(f"{path}: {why}; expected {WHAT}. Check the path.") from error
    return _parsed(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1)
def _parsed(path: str, size: int = 0, modified: int = 0) -> Any:
    """The content of a file in this state; of a large collection one item after the other is asked for."""
    gdal = gdal_path(path)
    text = read_bytes(gdal, LARGEST_ITEM) if is_remote(gdal) else read_start(path, WHAT, LARGEST_ITEM + 1)
    if len(text) > LARGEST_ITEM:
        raise InputError(f"{path}: has more than {LARGEST_ITEM} bytes; expected a STAC item, which is small.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: is not valid JSON ({error}); expected a STAC item. Check the file."
        ) from error


def _read(path: str) -> dict[str, Any]:
    """The item at a path, and the shapes of all that is read of it checked."""
    file, name = file_of(path)
    item = json_at(file)
    if name is not None:
        features = item.get("features") if isinstance(item, dict) else None
        found = features if isinstance(features, list) else []
        named = [each for each in found if isinstance(each, dict) and each.get("id") == name]
        if not named:
            raise InputError(f"{file}: has no item {shortened(name)}; expected an ItemCollection with it.")
        item = named[0]
    if not (isinstance(item, dict) and item.get("type") == "Feature" and "stac_version" in item):
        raise InputError(
            f"{path}: is JSON but not a STAC item; expected a Feature with stac_version and assets."
        )
    # Catalogues write null for what they do not know.
    assets = item.get("assets")
    if isinstance(assets, dict):
        known = {key: a for key, a in assets.items() if a is not None and a != {} and _has_href(a)}
        item = item | {"assets": known}
    if item.get("properties", 0) is None:
        item = item | {"properties": {}}
    whole = isinstance(item.get("properties"), dict) and isinstance(assets, dict) and "id" in item
    if not whole or not all(
        isinstance(a, dict) and isinstance(a.get("href"), str) for a in item["assets"].values()
    ):
        raise InputError(
            f"{path}: is not a complete STAC item; expected id, properties, and assets with href."
        )
    for key, asset in item["assets"].items():
        _check_asset(path, key, asset)
    return item


def _check_asset(path: str, key: str, asset: Asset) -> None:
    """Raise InputError where a field of an asset has another shape than STAC gives it."""
    shapes: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
        ("href", "an address of printable characters", _is_address),
        ("type", "a text", lambda value: isinstance(value, str)),
        ("roles", "a list of texts", lambda value: is_list(value, str)),
        ("gsd", "a number of metres", lambda value: _is_number(value) and value > 0),
        *((name, "a list of objects", lambda value: is_list(value, dict)) for name in BAND_LISTS),
    )
    for name, expected, fits in shapes:
        value = asset.get(name)
        if value is not None and not fits(value):
            raise InputError(
                f"{path}: the asset {key!r} has {shortened(value)} as {name}; expected {expected}. Correct "
                "the item, or download it again."
            )


def _has_href(asset: Any) -> bool:
    return not isinstance(asset, dict) or asset.get("href", "") is not None


def _is_address(value: Any) -> bool:
    # Half of a surrogate pair is not a character, and cannot be part of a file name.
    return isinstance(value, str) and not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", value)


def is_list(value: Any, kind: type) -> bool:
    """Tell whether a value of JSON is a list of one kind of values.

    Args:
        value: Any value.
        kind: Type of the members.

    Returns:
        Whether it is; an empty list is.
    """
    return isinstance(value, list) and all(isinstance(each, kind) for each in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST_NUMBER


def _rasters(item: Mapping[str, Any]) -> Iterator[tuple[str, Asset]]:
    """Assets that hold measurements: GeoTIFF, COG or JPEG 2000, no previews."""
    for key, asset in item["assets"].items():
        kind, roles = str(asset.get("type") or "image/tiff"), set(asset.get("roles") or ())
        if re.match(r"image/(tiff|jp2|jpeg2000|vnd\.stac\.geotiff)", kind) and not roles & {
            "thumbnail",
            "overview",
            "visual",
        }:
            yield key, asset


def _product_metadata(item: Mapping[str, Any], path: str) -> str | None:
    """The metadata of the product from which an item was made, if it refers to it."""
    hrefs = [item["assets"][key]["href"] for key in METADATA_KEYS if key in item["assets"]]
    named = [href for href in hrefs if METADATA.fullmatch(posixpath.basename(href.partition("?")[0]))]
    return _href(named[0], path) if named else None


def _band(key: str, asset: Asset) -> str | None:
    """Canonical band of an asset: by its key, else by the name of its only band."""
    named = band_name(key)
    bands = asset.get("bands") or asset.get("eo:bands") or []
    # Keys such as blue-jp2 are second copies of an asset; assets with several bands are composites.
    if named is None and len(bands) == 1 and "-" not in key:
        return band_name(str(bands[0].get("name", "")))
    return named if len(bands) <= 1 else None


def _metres(key: str, asset: Asset) -> float:
    """Pixel size in metres, if it is stated: catalogues with several sizes state it in the key."""
    said = re.search(r"_([126]0)m$", key)
    return float(said[1] if said else asset.get("gsd") or 10)


def _tag(value: Any) -> str:
    """A value as the text of a tag, whose XML knows no control characters."""
    return "".join(char for char in str(value) if char.isprintable())


def _sun(stated: Iterable[Mapping[str, Any]]) -> Sun | None:
    """The sun by the first of these properties and assets that tells."""
    for fields in stated:
        for prefix in ("view", "eo"):  # the angles were part of the eo extension before the view extension
            elevation = fields.get(f"{prefix}:sun_elevation")
            if sun := sun_of(fields.get(f"{prefix}:sun_azimuth"), elevation=elevation):
                return sun
        if sun := sun_of(fields.get("s2:mean_solar_azimuth"), zenith=fields.get("s2:mean_solar_zenith")):
            return sun
    return None


def _href(href: str, path: str) -> str:
    """An asset's address as a path for GDAL; a relative one starts at the folder of the item at `path`."""
    item = file_of(path)[0]
    if is_remote(gdal_path(item)):
        address = re.sub(r"^/vsicurl/", "", item)
        found = gdal_path(href if "://" in href else urljoin(address, href))
        if not is_remote(found):  # a server must not choose among the files of this machine
            raise InputError(
                f"{path}: refers to {shortened(href)}; expected addresses such as https://. Download the "
                "item and its files."
            )
        return found
    found = gdal_path(href)
    return found if found != href or href.startswith("/") else str(Path(item).parent / href)
