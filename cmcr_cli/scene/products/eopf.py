"""Sentinel-2 products in EOPF Zarr, the successor of SAFE: folders, zips and addresses, Level-1C and 2A.

One file describes all arrays of a product: `.zmetadata` in Zarr v2, `zarr.json` in v3. GDAL reads the arrays,
their scale and their fill value; only where they are on the map it does not know before version 3.13.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipInfo

import rasterio
from rasterio.windows import Window

from cmcr_cli.errors import InputError, RadiometryError
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.products.stack import Product
from cmcr_cli.scene.raster import open_raster, read_bytes
from cmcr_cli.scene.readable import check_readable, from_zip, gdal_path, why_not
from cmcr_cli.scene.sun import Sun, sun_of

STORE = re.compile(r"(.+?\.zarr(?:\.zip)?)(?:/.*)?", re.IGNORECASE | re.DOTALL)
"""A path to a product or into it."""

METADATA = (".zmetadata", "zarr.json")
"""Files that describe a whole product."""

MARKS = (*METADATA, ".zgroup", ".zarray")
"""Files by one of which any folder of Zarr is known, except those of chunks."""

LARGEST_METADATA = 64 * 2**20
"""Bytes; real ones have 800 kB."""

BAND = re.compile(r"measurements/reflectance/r(\d{2,3})m/(b0[1-9]|b1[0-2]|b8a)")
SCL = re.compile(r"conditions/mask/l2a_classification/r(\d{2,3})m/(scl)")

EDGE_SHARE = 0.5
"""Part of a chunk that one band may have at the edge of the swath, and another not."""

SUN = "mean_sun_{}_angle_in_deg_for_all_bands_all_detectors"

BASELINE = re.compile(r"_N(\d\d)\.?(\d\d)(?=_|$)")
"""The processing baseline in names of products, datatakes and datastrips."""

NAME = re.compile(r"(S2[A-D]_MSIL(?:1C|2A)_\w+)\.zarr(?:\.zip)?", re.IGNORECASE)

EPSG = re.compile(r"(?:EPSG:)?(\d{4,6})")

Attributes = Mapping[str, Any]


def is_eopf(path: str) -> bool:
    """Recognise a product in Zarr by its path.

    Args:
        path: A path.

    Returns:
        Whether it is that of a product, or of something inside.
    """
    return _store(path) is not None


def read_eopf(path: str) -> Product:
    """Read the metadata of a product.

    Args:
        path: A folder `.zarr`, its zip, or anything inside.

    Returns:
        The product.

    Raises:
        InputError: It is not a Sentinel-2 product, its metadata is damaged, or GDAL is too old for it.
        RadiometryError: Its bands have different scales or offsets.
    """
    store = _store(path) or path
    root, text = _metadata(store)
    try:
        attributes, arrays = _nodes(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{store}: its metadata is not valid JSON ({error}); expected a Sentinel-2 product in Zarr. "
            "Download the product again."
        ) from error
    bands, scl = _finest(arrays, BAND), _finest(arrays, SCL).get("SCL")
    if not bands:
        raise InputError(
            f"{store}: has no arrays measurements/reflectance/r10m/b02 and so on; expected a Sentinel-2 "
            "product of Level-1C or 2A with consolidated metadata. Give the product as it was published."
        )
    item = _dict(attributes, "stac_discovery", "properties")

    first = arrays[next(iter(bands.values()))]

    def file(array: str) -> str:
        placing = _placing(store, (arrays[array], first, item, attributes))
        return f'vrt://ZARR:"{root}":/{array}?{placing}'

    _check_readable(store, file(next(iter(bands.values()))), sharded=_is_sharded(first))
    _check_chunks(store, root, {array: file(array) for array in bands.values()})
    scaling = _scaling(store, [arrays[array] for array in bands.values()])
    return Product(
        path=path,
        form="EOPF Zarr",
        bands={name: file(bands[name]) for name in BANDS if name in bands},
        scl=None if scl is None else file(scl),
        offset=None if scaling is None else scaling[1],
        quantification=None if scaling is None else scaling[0],
        sun=_sun(_dict(attributes, "other_metadata"), item),
        nodata=0,
        tags=_tags(store, attributes, item),
        folder=root if Path(root).is_dir() else None,
    )


def _store(path: str) -> str | None:
    """The product to which a path leads, as GDAL knows it: by its name, else the outermost folder of Zarr."""
    path = gdal_path(path)
    if found := STORE.fullmatch(path):
        return found[1]
    place, top = Path(path), None
    try:
        folder = place if place.is_dir() else place.parent
        if folder == place or place.name in MARKS:
            while any((folder / name).is_file() for name in MARKS):
                top, folder = str(folder), folder.parent
    except (OSError, ValueError):  # a name that no file can have
        return None
    return top


def _metadata(store: str) -> tuple[str, bytes]:
    """Folder of the product, as GDAL knows it, and the text of its metadata."""
    local = Path(store)
    check_readable(local, "a Sentinel-2 product")
    if why := why_not(store):
        raise InputError(f"{store}: {why}; expected a Sentinel-2 product. Check the path.")
    if local.is_file():
        return _zipped(local)
    for root in _roots(store):
        for name in METADATA:
            try:
                if text := read_bytes(f"{root}/{name}", LARGEST_METADATA):
                    return root, text
            except InputError:
                continue
    raise InputError(
        f"{store}: has no readable .zmetadata or zarr.json; expected a whole Sentinel-2 product in Zarr. "
        "Check the path, or download the product again."
    )


def _roots(store: str) -> Iterator[str]:
    """Folders in which the product may be; of a zip that only GDAL can reach, two."""
    if store.lower().endswith(".zip"):
        archive = f"/vsizip/{{{store.removeprefix('/vsizip/').strip('{}')}}}"
        yield f"{archive}/{posixpath.basename(store)[:-4]}"
        yield archive
    else:
        yield store


def _zipped(path: Path) -> tuple[str, bytes]:
    def choose(entries: list[ZipInfo]) -> ZipInfo:
        found = [each for each in entries if posixpath.basename(each.filename) in METADATA]
        entry = min(found, key=lambda each: each.filename.count("/"), default=None)
        if entry is None or entry.file_size > LARGEST_METADATA:
            raise InputError(
                f"{path}: has no usable .zmetadata or zarr.json; expected a Sentinel-2 product in Zarr."
            )
        return entry

    return from_zip(path, choose)


def _nodes(content: Any) -> tuple[Attributes, dict[str, Attributes]]:
    """Attributes of the product, and of every array; those of the array itself are its own keys."""
    if nodes := _dict(content, "consolidated_metadata", "metadata"):  # v3
        arrays = {name: node for name, node in nodes.items() if _dict(node).get("node_type") == "array"}
        return _dict(content, "attributes"), {
            name: {**node, **_dict(node, "attributes")} for name, node in arrays.items()
        }
    nodes = _dict(content, "metadata")
    names = [key.removesuffix("/.zarray") for key in nodes if key.endswith("/.zarray")]
    return _dict(nodes, ".zattrs"), {
        name: {**_dict(nodes, f"{name}/.zarray"), **_dict(nodes, f"{name}/.zattrs")} for name in names
    }


def _dict(value: Any, *keys: str) -> dict[str, Any]:
    """A dictionary inside others; an empty one where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _finest(arrays: Mapping[str, Attributes], pattern: re.Pattern[str]) -> dict[str, str]:
    """Array of the finest resolution by the name of the band; coarser ones are made from it."""
    found: dict[str, tuple[int, str]] = {}
    for array in arrays:
        if match := pattern.fullmatch(array):
            name, metres = match[2].upper(), int(match[1])
            found[name] = min(found.get(name, (metres, array)), (metres, array))
    return {name: array for name, (_, array) in found.items()}


def _placing(store: str, stated: tuple[Attributes, ...]) -> str:
    """CRS and extent of an array, for GDAL; where no extent is stated, GDAL takes the coordinates x and y."""
    codes = [each.get(key) for each in stated for key in ("proj:epsg", "proj:code")]
    codes += [_dict(stated[-1], "other_metadata").get(f"horizontal_{key}_code") for key in ("CRS", "crs")]
    code = next((found[1] for each in codes if (found := EPSG.fullmatch(str(each)))), None)
    if code is None:
        raise InputError(
            f"{store}: states no coordinate reference system; expected proj:epsg or proj:code. Download the "
            "product again."
        )
    for each in stated:
        box = each.get("proj:bbox")
        if isinstance(box, list) and len(box) == 4 and all(isinstance(each, int | float) for each in box):
            west, south, east, north = box
            return f"a_srs=EPSG:{code}&a_ullr={west!r},{north!r},{east!r},{south!r}"
    return f"a_srs=EPSG:{code}"


def _scaling(store: str, arrays: list[Attributes]) -> tuple[float, float] | None:
    """DN of reflectance 1 and offset in DN, from scale_factor and add_offset; None where not stated."""
    stated = set()
    for array in arrays:
        own = {**_dict(array, "_eopf_attrs"), **array}
        scale, shift = own.get("scale_factor"), own.get("add_offset")
        try:
            dn = 1 / float(scale or 1)
            stated.add(None if scale is None else (round(dn, 3), round(float(shift or 0) * dn, 3)))
        except (ArithmeticError, TypeError, ValueError) as error:
            raise InputError(
                f"{store}: states scale_factor {scale!r} and add_offset {shift!r}; expected numbers, such as "
                "0.0001 and -0.1. Download the product again."
            ) from error
    if len(stated) > 1:
        raise RadiometryError(
            f"{store}: its bands have different scales or offsets {sorted(stated, key=str)}; expected one. "
            "Give the bands as a stack with one scale."
        )
    return stated.pop()


def _sun(other: Attributes, item: Attributes) -> Sun | None:
    return sun_of(other.get(SUN.format("azimuth")), zenith=other.get(SUN.format("zenith"))) or sun_of(
        item.get("view:sun_azimuth"), elevation=item.get("view:sun_elevation")
    )


def _tags(store: str, product: Attributes, item: Attributes) -> dict[str, str]:
    """Name, baseline and time, as those of a SAFE product."""
    named = NAME.fullmatch(posixpath.basename(store))
    uri = named[1] if named else str(_dict(product, "stac_discovery").get("id") or "")
    texts = (uri, *(str(item.get(f"eopf:{key}_id")) for key in ("datastrip", "datatake")))
    baseline = next((found for each in texts if (found := BASELINE.search(each))), None)
    tags = {
        "PRODUCT_URI": uri,
        "PROCESSING_BASELINE": f"{baseline[1]}.{baseline[2]}" if baseline else "",
        "PRODUCT_START_TIME": str(item.get("datetime") or item.get("start_datetime") or ""),
    }
    return {key: value for key, value in tags.items() if value and value.isprintable()}


def _is_sharded(array: Attributes) -> bool:
    codecs = array.get("codecs")
    return isinstance(codecs, list) and any(_dict(each).get("name") == "sharding_indexed" for each in codecs)


def _check_readable(store: str, file: str, *, sharded: bool) -> None:
    """Raise InputError where GDAL cannot read the arrays, as of Zarr v3, or where they are on the map."""
    try:
        with open_raster(file, "a band") as dataset:
            placed = not dataset.transform.is_identity
    except InputError as error:
        why = str(error.__cause__)
        if not sharded and "codec" not in why.lower():
            raise
        kind = "its chunks are in shards, which" if sharded else f"its arrays ({why}), which"
        raise InputError(
            f"{store}: {kind} GDAL {rasterio.__gdal_version__} cannot read; expected a newer GDAL (3.13 "
            "reads all of Zarr v3). Update rasterio, or give the product in Zarr v2 or as SAFE."
        ) from error
    if not placed:
        raise InputError(
            f"{store}: does not state where its pixels are; expected proj:bbox, or coordinates x and y. "
            "Download the product again."
        )


def _check_chunks(store: str, root: str, files: Mapping[str, str]) -> None:
    """Raise InputError where a local product has lost a chunk: of nodata there need be none, so GDAL goes on.

    A chunk is lost if another band of the same pixels has it, and it is not nodata at the edge of the swath.
    """
    groups: dict[str, dict[str, set[str]]] = {}
    for array in files:
        place = Path(root, array)
        keys = {each.relative_to(place).as_posix() for each in place.rglob("*") if each.is_file()}
        groups.setdefault(posixpath.dirname(array), {})[array] = keys - set(MARKS) - {".zattrs"}
    for found in groups.values():
        for array, keys in found.items():
            for key in sorted(set().union(*found.values()) - keys):
                other = next(name for name, its in found.items() if key in its)
                if _measured_share(files[other], key) > EDGE_SHARE:
                    raise InputError(
                        f"{store}: the chunk {key} of {array} is missing, which {other} has; expected a "
                        "whole product. Copy or download it again."
                    )


def _measured_share(file: str, key: str) -> float:
    row, column = (int(number) for number in re.findall(r"\d+", key)[-2:])
    with open_raster(file, "a band") as dataset:
        rows, columns = dataset.block_shapes[0]
        whole = Window(0, 0, dataset.width, dataset.height)
        chunk = Window(column * columns, row * rows, columns, rows).intersection(whole)
        return float((dataset.read(1, window=chunk) != 0).mean())
