"""Sentinel-2 products as they are delivered: `.SAFE` folders and zips, Level-1C and Level-2A, all baselines.

The product's own metadata names its files, so nothing is listed or unpacked: a zip is read in place, and a
product in a bucket is opened by its address alone.
"""

from __future__ import annotations

import logging
import math
import os
import posixpath
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError
from zipfile import ZipInfo

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from cmcr_cli.errors import InputError, RadiometryError
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.products.stack import Product
from cmcr_cli.scene.radiometry import QUANTIFICATION
from cmcr_cli.scene.raster import open_raster, read_bytes
from cmcr_cli.scene.readable import check_readable, from_zip, gdal_path, why_not
from cmcr_cli.scene.sun import Sun, sun_of
from cmcr_cli.warning_kinds import RadiometryWarning

log = logging.getLogger("cmcr")

METADATA = re.compile(r"(MTD_MSIL(1C|2A)|S2[A-D]_\w+_MTD_SAFL(1C|2A)_\w+)\.xml")
"""Names of the metadata file: since 2016-12, and before."""

LARGEST_METADATA = 64 * 2**20
"""Bytes; real ones have 50 kB."""

LARGEST_MAIN = LARGEST_METADATA
"""The same for the file that describes the whole product."""

OLD_GRANULE = re.compile(r"(S2[A-D]_\w+)_MSI_(L(?:1C|2A)_TL_\w+)_N\d\d\.\d\d")
"""Names of a granule's folder before 2016-12, when its metadata was named like it."""

IMAGE = re.compile(r"_(B0[1-9]|B1[0-2]|B8A|SCL)(?:_([126]0)m)?$")

IMAGE_ELEMENTS = ("IMAGE_FILE", "IMAGE_FILE_2A", "IMAGE_ID")
PARTS = ("GRANULE", "DATASTRIP", "AUX_DATA", "HTML", "REP_INFO")
"""Folders of a product."""

PART_NAME = re.compile(
    r"^(MTD_TL\.xml|MTD_DS\.xml|manifest\.safe|INSPIRE\.xml)$|_(B\d[\dA]|TCI|AOT|WVP|SCL)(_[126]0m)?\.jp2$",
    re.IGNORECASE,
)
"""Files of a product."""

PART = re.compile(r"(/vsi.*?\.SAFE)/.+", re.IGNORECASE)

DEEPEST = 6
"""Folders between an image and the metadata of its product."""

QUANTIFICATIONS = ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
OFFSETS = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")


def is_safe(path: str) -> bool:
    """Recognise a Sentinel-2 product by its path.

    Args:
        path: A path or address.

    Returns:
        Whether it is that of a .SAFE folder, a zip, their metadata file, or a part of such a folder.
    """
    path = gdal_path(path)
    name = posixpath.basename(path.rstrip("/"))
    if METADATA.fullmatch(name) or name.upper().endswith((".SAFE", ".ZIP")) or whole_of(path) is not None:
        return True
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # a name that no file can have
        return False


def whole_of(path: str) -> str | None:
    """Find the product of which a path is a part.

    Args:
        path: Of a folder such as GRANULE or IMG_DATA, of an image, or of another metadata file.

    Returns:
        The path of the product; None where that is the path itself, or there is none.
    """
    if path.startswith("/vsi"):
        found = PART.fullmatch(path)
        return None if found is None or METADATA.fullmatch(posixpath.basename(path)) else found[1]
    place = Path(path)
    try:
        if METADATA.fullmatch(place.name) or _metadata_in(place):
            return None
        if place.is_dir():
            inner = [each for each in place.iterdir() if not each.name.startswith(".")]
            # Unpacked into a folder of its own; one that holds more is a folder of several things.
            if len(inner) == 1 and inner[0].suffix.upper() == ".SAFE" and _metadata_in(inner[0]):
                return str(inner[0])
        elif not (place.is_file() and PART_NAME.search(place.name)):
            return None
        place = Path(os.path.abspath(place))  # noqa: PTH100 - leaves links as they are, and takes .. away
        above = place.parents[:DEEPEST]
        return next((str(each) for each in above if _metadata_in(each) and _inside(place, each)), None)
    except (OSError, ValueError):
        return None


def _metadata_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [each for each in folder.iterdir() if METADATA.fullmatch(each.name)]


def _inside(place: Path, product: Path) -> bool:
    """Whether something below a product is a part of it, and not what a user put there."""
    first = place.relative_to(product).parts[0]
    return first.upper() in PARTS or PART_NAME.search(place.name) is not None


def read_safe(path: str) -> Product:
    """Read the metadata of a Sentinel-2 product.

    Args:
        path: A .SAFE folder, its zip, the metadata file, or the address of one.

    Returns:
        The product.

    Raises:
        InputError: There is no product, or its metadata is damaged or names files outside of it.
        RadiometryError: Its offsets are not one number.
    """
    path = gdal_path(path)
    whole = whole_of(path)
    if whole is not None:
        product = read_safe(whole)
        note = f"{path}: is a part of the product {whole}, which is read"
        return replace(product, path=path, warnings=(*product.warnings, RadiometryWarning(note)))
    root, text = _metadata(path)
    tree = _parsed(text, path)
    files = _images(tree, root, path)
    scl = files.pop("SCL", None)
    uri, baseline, time = (
        _text(tree, name) or "" for name in ("PRODUCT_URI", "PROCESSING_BASELINE", "PRODUCT_START_TIME")
    )
    tags = {"PRODUCT_URI": uri, "PROCESSING_BASELINE": baseline, "PRODUCT_START_TIME": time}
    return Product(
        path=path,
        form="SAFE",
        bands={name: files[name] for name in BANDS if name in files},
        scl=scl,
        offset=_offset(tree, path),
        quantification=_first(tree, QUANTIFICATIONS, path) or QUANTIFICATION,
        sun=_sun(next(iter(files.values()))),
        nodata=_nodata(tree, path),
        tags={key: value for key, value in tags.items() if value},
    )


def offset_at(metadata: str) -> float:
    """Read the offset of all bands from the metadata of a product.

    Args:
        metadata: Its file MTD_MSIL1C.xml or MTD_MSIL2A.xml, at any path GDAL knows.

    Returns:
        DN; 0 for products before baseline 04.00.

    Raises:
        InputError: It cannot be read.
        RadiometryError: The offsets are not one number.
    """
    return _offset(_parsed(read_bytes(metadata, LARGEST_MAIN), metadata), metadata)


def _parsed(text: bytes, path: str) -> Element:
    try:
        tree: Element = defusedxml.ElementTree.fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, LookupError, ValueError) as error:  # also unknown encodings
        raise InputError(
            f"{path}: its metadata cannot be parsed ({error}); expected the XML of a Sentinel-2 product. "
            "Download the product again."
        ) from error
    return tree


def _metadata(path: str) -> tuple[str, bytes]:
    """The product's folder, as GDAL knows it, and its metadata."""
    local = Path(path.removeprefix("/vsizip/")) if path.lower().endswith(".zip") else Path(path)
    check_readable(local, "a Sentinel-2 product")
    try:
        if local.is_dir():
            found = [file for file in local.iterdir() if METADATA.fullmatch(file.name)]
            return str(local), read_bytes(str(_only(found, path)), LARGEST_MAIN)
        if METADATA.fullmatch(local.name) and local.is_file():
            return str(local.parent), read_bytes(str(local), LARGEST_MAIN)
        if local.suffix.lower() == ".zip" and local.is_file():
            return _zipped(local)
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); expected a Sentinel-2 product. Check the path."
        ) from error
    if path.startswith("/vsi"):
        return _elsewhere(path)
    raise InputError(
        f"{path}: {why_not(path) or 'is not a product'}; expected a Sentinel-2 product. Check the path."
    )


def _zipped(path: Path) -> tuple[str, bytes]:
    def choose(entries: list[ZipInfo]) -> ZipInfo:
        found = [item for item in entries if METADATA.fullmatch(Path(item.filename).name)]
        entry: ZipInfo = _only(found, str(path))
        if entry.file_size > LARGEST_METADATA:
            raise InputError(f"{path}: {entry.filename} has {entry.file_size} bytes; expected metadata.")
        return entry

    return from_zip(path, choose)


def _elsewhere(path: str) -> tuple[str, bytes]:
    """A product that only GDAL can reach: its driver hands the metadata through as it is."""
    path = path.rstrip("/")
    if path.lower().endswith(".zip"):
        archive = path if path.startswith("/vsizip/") else f"/vsizip/{path}"
        inner = posixpath.basename(path)[:-4]
        path = f"{archive}/{inner if inner.upper().endswith('.SAFE') else inner + '.SAFE'}"
    if not path.endswith(".xml"):
        level = re.search(r"_MSIL(1C|2A)_", posixpath.basename(path))
        if level is None:
            raise InputError(
                f"{path}: its name does not say whether it is Level-1C or 2A; expected the address of the "
                "product's metadata, such as .../MTD_MSIL2A.xml."
            )
        path = f"{path}/MTD_MSIL{level[1]}.xml"
    with open_raster(path, "the metadata of a Sentinel-2 product", containers=True) as dataset:
        text = dataset.tags(ns="xml:SENTINEL2").get("xml:SENTINEL2")
    if not text:
        raise InputError(f"{path}: holds no metadata of a Sentinel-2 product; expected MTD_MSIL1C or 2A.xml.")
    return posixpath.dirname(path), str(text).encode()


def _only(found: list[Any], path: str) -> Any:
    if len(found) != 1:
        raise InputError(
            f"{path}: holds {len(found)} files MTD_MSIL1C.xml or MTD_MSIL2A.xml; expected one, that of a "
            "Sentinel-2 product. Give the .SAFE folder or its zip."
        )
    return found[0]


def _images(tree: Element, root: str, path: str) -> dict[str, str]:
    """File of the finest resolution for each band, and for SCL."""
    finest: dict[str, tuple[int, str]] = {}
    granules = set()
    for granule in [*tree.iter("Granule"), *tree.iter("Granules")]:
        granules.add(granule.get("granuleIdentifier"))
        for element in [found for name in IMAGE_ELEMENTS for found in granule.iter(name)]:
            image = (element.text or "").strip()
            band = IMAGE.search(image)
            if band is None:
                continue
            if element.tag == "IMAGE_ID":  # before 2016-12 the metadata gave names without folders
                image = f"GRANULE/{granule.get('granuleIdentifier')}/IMG_DATA/{image}"
            if image.startswith("/") or ".." in image.split("/") or "\\" in image:
                raise InputError(f"{path}: names the file {image!r}; expected files inside the product.")
            metres = int(band[2] or 10)
            if band[1] not in finest or metres < finest[band[1]][0]:
                finest[band[1]] = metres, f"{root}/{image}.jp2"
    if len(granules) > 1:
        raise InputError(
            f"{path}: holds {len(granules)} tiles; expected one. Give a product of one tile, or a stack made "
            "of one tile's bands with gdalbuildvrt -separate."
        )
    files = {band: file for band, (_, file) in finest.items()}
    if not files.keys() & set(BANDS):
        raise InputError(f"{path}: its metadata names no bands; expected a product of Level-1C or 2A.")
    return files


def _offset(tree: Element, path: str) -> float:
    """The offset of all bands in DN; products before baseline 04.00 have none."""
    values = {_number(element.text, path) for name in OFFSETS for element in tree.iter(name)}
    if len(values) > 1:
        raise RadiometryError(
            f"{path}: its bands have different offsets {sorted(values)}; expected one. Give it with --offset."
        )
    return values.pop() if values else 0.0


def _nodata(tree: Element, path: str) -> float | None:
    for special in tree.iter("Special_Values"):
        if _text(special, "SPECIAL_VALUE_TEXT") == "NODATA":
            return _first(special, ("SPECIAL_VALUE_INDEX",), path)
    return None


def _sun(image: str) -> Sun | None:
    """The sun by the metadata of the granule that holds `image`; None where it does not tell.

    The image is known to be a file inside the product, and so is what is looked for.
    """
    granule, found, _ = image.rpartition("/IMG_DATA/")
    if not found:
        return None
    old = OLD_GRANULE.fullmatch(posixpath.basename(granule))
    file = f"{granule}/{f'{old[1]}_MTD_{old[2]}' if old else 'MTD_TL'}.xml"
    try:
        tree = defusedxml.ElementTree.fromstring(read_bytes(file, LARGEST_METADATA), forbid_dtd=True)
    except (InputError, ParseError, DefusedXmlException, LookupError, ValueError) as error:
        log.info("%s: does not state the position of the sun (%s)", file, error)
        return None
    angles = next(tree.iter("Mean_Sun_Angle"), None)
    if angles is None:
        return None
    return sun_of(_text(angles, "AZIMUTH_ANGLE"), zenith=_text(angles, "ZENITH_ANGLE"))


def _text(tree: Element, name: str) -> str | None:
    element = next(tree.iter(name), None)
    return None if element is None or element.text is None else element.text.strip()


def _first(tree: Element, names: tuple[str, ...], path: str) -> float | None:
    found = (_text(tree, name) for name in names)
    return next((_number(text, path) for text in found if text), None)


def _number(text: str | None, path: str) -> float:
    try:
        if math.isfinite(number := float(text or "")):
            return number
    except ValueError:
        pass
    raise InputError(f"{path}: its metadata says {text!r}; expected a number. Download the product again.")
