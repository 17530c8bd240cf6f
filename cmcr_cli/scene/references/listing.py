"""From what `--reference` names to single products: folders, lists and STAC ItemCollections."""

from __future__ import annotations

import csv
import io
import logging
import os
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from cmcr_cli.addresses import public
from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.scene.products.eopf import is_eopf
from cmcr_cli.scene.products.safe import METADATA, whole_of
from cmcr_cli.scene.products.stac import is_item
from cmcr_cli.scene.products.stac_lists import Items, items_at
from cmcr_cli.scene.raster import open_raster, read_start
from cmcr_cli.scene.references.cells import MARK, cells_of
from cmcr_cli.scene.references.entries import split_date

log = logging.getLogger("cmcr")

RASTERS = (".tif", ".tiff", ".vrt", ".jp2", ".img")
"""Endings of the files of a folder that may be stacks of bands."""

LISTS = (".txt", ".csv")

COLUMNS = ("path", "date", "mask")

LARGEST_LIST = 16 * 2**20

STACK_TYPES = {"uint16", "int16"}
FEWEST_BANDS = 3
"""Other rasters in a folder are not stacks of bands: radar, masks, provenance, uncertainty, single bands."""

ITEMS = (".json", ".geojson")

MADE_TAG, MADE_ITEM = "CMCR_WEIGHTS_SHA256", re.compile(rb'"processing:software":\s*\{\s*"cmcr"')
"""What cmcr writes into all rasters and items that it makes."""

MADE = "is an output of cmcr, whose covered pixels are reconstructed"


@dataclass(frozen=True, slots=True)
class Listed:
    """A product that may serve as a reference.

    Attributes:
        path: Any path that a scene may have.
        date: When it was taken, where the user has said so.
        mask: Path of its own mask; None: made like that of the scene.
        named: Whether the user has named this product; one that cannot be used is then an error.
    """

    path: str
    date: date | None = None
    mask: str | None = None
    named: bool = True


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that does not serve as a reference.

    Attributes:
        path: What was named or listed.
        reason: Why it does not serve.
    """

    path: str
    reason: str


def list_references(entries: Iterable[str]) -> tuple[tuple[Listed, ...], tuple[LeftOut, ...]]:
    """List the products that `--reference` names, each once.

    Args:
        entries: PATH or PATH@YYYY-MM-DD; the path is that of a product, of a folder of products, of a list
            (.txt: one path a line; .csv: columns path, date and mask), or of a STAC ItemCollection. Paths in
            a list are relative to its folder.

    Returns:
        The products, sorted; and folders and collections that hold none, and outputs of cmcr in folders.

    Raises:
        InputError: A list cannot be read, or says contradicting things.
        OptionError: A date that an entry states is not one.
    """
    found: list[Listed | LeftOut] = []
    for entry in entries:
        path, day = split_date(entry)
        group = list(_group(path))
        if day is not None and any(not isinstance(each, Listed) or each.path != path for each in group):
            raise OptionError(
                f"--reference {entry}: {path} stands for several products; expected a date only for one. "
                "Give the dates in a .csv list with the columns path and date."
            )
        found += [replace(each, date=day) if isinstance(each, Listed) and day else each for each in group]
    listed = [each for each in found if isinstance(each, Listed)]
    left_out = {each for each in found if isinstance(each, LeftOut)}
    return tuple(_merged(listed)), tuple(sorted(left_out, key=lambda each: (each.path, each.reason)))


def candidates(path: str) -> Iterator[Listed]:
    """List what one path of `--reference` may stand for, by names alone: no raster is opened.

    Args:
        path: The path, without a date.

    Yields:
        The products; of a folder also files that turn out to be none.

    Raises:
        InputError: A folder or a list cannot be read.
    """
    place = Path(path)
    if _is_folder(place) and not _is_product(place):
        for each in _entries(place):
            if each.suffix.lower() in (*RASTERS, *ITEMS, ".zip") or (_is_folder(each) and _is_product(each)):
                yield Listed(str(each), named=False)
    elif _is_list(path):
        yield from _of_list(place)
    else:
        yield Listed(path)


def items_of(path: str) -> Items | None:
    """List the items of a STAC ItemCollection.

    Args:
        path: Any path or address.

    Returns:
        The items; None where `path` is not an ItemCollection.

    Raises:
        InputError: It has the name of one, and cannot be read.
    """
    return None if is_eopf(path) or not is_item(path) else items_at(path)


def made_by_cmcr(place: Path) -> bool:
    """Recognise a raster or an item that cmcr has written.

    Args:
        place: Any path.

    Returns:
        Whether it is one; False for what cannot be read.
    """
    suffix = place.suffix.lower()
    try:
        if suffix in ITEMS:
            return MADE_ITEM.search(read_start(place, "a STAC item", LARGEST_LIST)) is not None
        if suffix not in RASTERS:
            return False
        with open_raster(place, "a raster", containers=True) as dataset:
            return MADE_TAG in dataset.tags()
    except InputError:
        return False


def _group(path: str) -> Iterator[Listed | LeftOut]:
    """All that one path stands for."""
    place = Path(path)
    if _is_folder(place) and not _is_product(place):
        yield from _of_folder(place)
    elif _is_list(path):
        yield from _of_list(place)
    elif (items := items_of(path)) is not None:
        if not items.paths:
            yield LeftOut(path, "holds no items")
        if items.unread is not None:
            yield LeftOut(f"{path} (in part)", items.unread)
        yield from (Listed(item, named=False) for item in items.paths)
    else:
        yield Listed(path)


def _is_list(path: str) -> bool:
    return Path(path).suffix.lower() in LISTS and not path.startswith("/vsi")


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, without hidden names, such as those of unfinished outputs."""
    try:
        return sorted(place for place in folder.iterdir() if not place.name.startswith("."))
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be read ({error.strerror}); expected a folder of products. Check --reference."
        ) from error


def _of_folder(folder: Path) -> Iterator[Listed | LeftOut]:
    """Products and stacks in a folder; its subfolders are not searched."""
    empty = True
    for place in _entries(folder):
        found = _in_folder(place)
        empty &= found is None
        if found is None:
            log.info("%s: is not a Sentinel-2 image; left out of the references", place)
        else:
            yield found
    if empty:
        yield LeftOut(str(folder), "holds no Sentinel-2 products or stacks of bands")


def _in_folder(place: Path) -> Listed | LeftOut | None:
    """What an entry of a folder is; None for what never was a Sentinel-2 image."""
    listed = Listed(str(place), named=False)
    if _is_folder(place):
        return listed if _is_product(place) else None
    suffix = place.suffix.lower()
    if suffix == ".zip":
        return listed if is_eopf(str(place)) or _is_zipped_product(place) else None
    if suffix in ITEMS:
        return _item_in_folder(place)
    if suffix not in RASTERS:
        return None
    try:
        with open_raster(place, "a Sentinel-2 stack", containers=True) as dataset:
            if dataset.count < FEWEST_BANDS or not set(dataset.dtypes) <= STACK_TYPES:
                return None
            if MADE_TAG in dataset.tags():
                return LeftOut(str(place), MADE)
    except InputError as error:
        return LeftOut(str(place), reason_of(error, str(place)))
    return listed


def reason_of(error: Exception, path: str) -> str:
    """Shorten the message of an error to what is wrong.

    Args:
        error: The error.
        path: With which its message begins.

    Returns:
        The message without the path, and without its advice.
    """
    return str(error).removeprefix(public(f"{path}: ")).partition("; expected")[0]


def _is_folder(place: Path) -> bool:
    try:
        return place.is_dir()
    except (OSError, ValueError):
        return False


def _is_product(folder: Path) -> bool:
    """Whether a folder is a product; one without metadata is none, but its name may claim so."""
    if folder.suffix.upper() == ".SAFE" or is_eopf(str(folder)) or whole_of(str(folder)) is not None:
        return True
    try:
        return any(METADATA.fullmatch(each.name) for each in folder.iterdir())
    except OSError:
        return False


def _is_zipped_product(place: Path) -> bool:
    """Whether a zip holds a product; one that is damaged may."""
    try:
        if not stat.S_ISREG(place.stat().st_mode):
            return False
        with zipfile.ZipFile(place) as archive:
            return any(METADATA.fullmatch(Path(name).name) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return True


def _item_in_folder(place: Path) -> Listed | LeftOut | None:
    try:
        text = read_start(place, "a STAC item", LARGEST_LIST)
    except InputError:
        return None
    if b'"stac_version"' not in text or b'"FeatureCollection"' in text:
        return None
    return LeftOut(str(place), MADE) if MADE_ITEM.search(text) else Listed(str(place), named=False)


def _of_list(path: Path) -> Iterator[Listed]:
    """The products that a text or CSV list names."""
    text = read_start(path, "a list of references", LARGEST_LIST + 1)
    if len(text) > LARGEST_LIST:
        raise InputError(f"{path}: has more than {LARGEST_LIST} bytes; expected a list of paths.")
    try:
        content = text.decode().removeprefix(MARK)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: is not UTF-8 ({error.reason}); expected a list of paths as text."
        ) from error
    if "\0" in content:
        raise InputError(f"{path}: contains a zero byte; expected a list of paths as text.")
    rows = _csv_rows(content, path) if path.suffix.lower() == ".csv" else _text_rows(content)
    empty = True
    for number, row in rows:
        empty = False
        entry, day = split_date(_beside(path, row["path"]))
        if row["date"]:
            try:
                day = date.fromisoformat(row["date"])
            except ValueError as error:
                raise InputError(
                    f"{path}: line {number} has the date {row['date']!r} ({error}); expected YYYY-MM-DD."
                ) from error
        mask = _beside(path, row["mask"]) if row["mask"] else None
        yield Listed(entry, day, mask)
    if empty:
        raise InputError(f"{path}: lists no references; expected one path a line. Leave the list out.")


def _text_rows(content: str) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, {"path": line.strip(), "date": "", "mask": ""}


def _csv_rows(content: str, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        rows = cells_of(io.StringIO(content, newline=""), COLUMNS)
    except csv.Error as error:
        raise InputError(f"{path}: is not a CSV ({error}); expected columns {', '.join(COLUMNS)}.") from error
    names = [name.strip().lower() for name in rows[0]] if rows else ["path"]
    if "path" not in names or len(set(names)) < len(names) or not set(names) <= set(COLUMNS):
        raise InputError(
            f"{path}: begins with {','.join(rows[0])!r}; expected the names of its columns: path, and where "
            "they are known date and mask. A list of paths alone may be a .txt."
        )
    for number, row in enumerate(rows[1:], 2):
        cells = dict.fromkeys(COLUMNS, "") | {
            name: cell.strip() for name, cell in zip(names, row, strict=False)
        }
        if len(row) > len(names) or not cells["path"]:
            raise InputError(
                f"{path}: line {number} is {','.join(row)!r}; expected at most {len(names)} values "
                f"({', '.join(names)}), a path among them."
            )
        yield number, cells


def _beside(path: Path, entry: str) -> str:
    """A path of a list, which is relative to the folder of the list; addresses stay as they are."""
    if entry.startswith("/vsi") or "://" in entry:
        return entry
    return str(path.parent / entry)


def _merged(listed: Sequence[Listed]) -> Iterator[Listed]:
    """Each product once, in an order of its own: files that are named in several ways are one."""
    groups: dict[str, list[Listed]] = {}
    for each in listed:
        groups.setdefault(_key(each.path), []).append(each)
    for _, group in sorted(groups.items()):
        days = {each.date for each in group if each.date is not None}
        masks = {each.mask for each in group if each.mask is not None}
        path = min(each.path for each in group)
        for what, stated in (("dates", days), ("masks", masks)):
            if len(stated) > 1:
                both = " and ".join(sorted(map(str, stated)))
                raise InputError(
                    f"{path}: is listed with the {what} {both}; expected one. Correct the lists."
                )
        yield Listed(
            path,
            next(iter(days), None),
            next(iter(masks), None),
            any(each.named for each in group),
        )


def _key(path: str) -> str:
    """What is the same for all spellings of a path."""
    try:
        return os.path.realpath(path) if Path(path).exists() else path
    except (OSError, ValueError):
        return path
