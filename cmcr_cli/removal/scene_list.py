"""Lists of scenes for a batch: CSV, JSON lines, and STAC ItemCollections."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from cmcr_cli.errors import CmcrError, InputError
from cmcr_cli.option_fields import option_fields, text_of
from cmcr_cli.options import COLUMNS, UNNAMED_COLUMNS, RemoveOptions
from cmcr_cli.scene.references.cells import MARK, cells_of
from cmcr_cli.scene.references.listing import items_of

Value = str | tuple[str, ...]

Scene = Mapping[str, Value]
"""Values of one scene by column: texts, or lists of them in columns that hold several."""

COLLECTION, ITEM = "FeatureCollection", "Feature"

STDIN = "-"

NO_NAME = re.compile(r"[^\w.+@=-]+")
"""Characters of an id that do not belong into the name of a file."""

MOST_ERRORS = 50
"""Messages of scenes that are shown at once."""

T = TypeVar("T")


def read_scenes(text: str, source: str) -> list[Scene]:
    """Read a list of scenes.

    Args:
        text: A CSV: columns by their heading, else s2, s1 and output; blank lines and comments (#) are
            skipped. Or JSON: an object for each scene, one a line or in a list. Or a STAC ItemCollection.
        source: Path or address of the list, by which its items are opened; `-` for stdin.

    Returns:
        Values of each scene by column, without those that are empty.

    Raises:
        InputError: The list is empty, is damaged, has unknown columns, or a scene without s2.
    """
    plain = text.removeprefix(MARK).lstrip()
    scenes = _of_json(plain, source) if plain[:1] in ("{", "[") else _of_csv(text, source)
    if not scenes:
        raise InputError(
            f"{source}: lists no scenes; expected lines such as s2.tif,s1.tif or a heading first, JSON lines "
            'such as {"s2": "s2.tif"}, or a STAC ItemCollection.'
        )
    return scenes


def all_of(scenes: Iterable[Callable[[], T]]) -> list[T]:
    """Make something of every scene of a list, and tell of all that is wrong at once.

    Args:
        scenes: One function for each scene.

    Returns:
        What they return.

    Raises:
        CmcrError: Some fail: the error of one, or one that has the messages of all, of the kind of the first.
    """
    made: list[T] = []
    errors: dict[str, CmcrError] = {}  # what all scenes share is told once
    for scene in scenes:
        try:
            made.append(scene())
        except CmcrError as error:
            errors.setdefault(str(error), error)
    if len(errors) > 1:
        shown = [f"- {text}" for text in [*errors][:MOST_ERRORS]]
        if len(errors) > MOST_ERRORS:
            shown.append(f"- and {len(errors) - MOST_ERRORS} more")
        kind = type(next(iter(errors.values())))
        raise kind("\n".join([f"{len(errors)} scenes of the list cannot be used:", *shown]))
    if errors:
        raise next(iter(errors.values()))
    return made


def scenes_at(address: str) -> list[Scene] | None:
    """List the items of an ItemCollection at an address.

    Args:
        address: What a user gives as a list of scenes.

    Returns:
        A scene for each item; None where it is not the address of items.

    Raises:
        InputError: There is no ItemCollection at the address, it is empty, or only a part of it can be read.
    """
    items = items_of(address)
    return None if items is None else _all_of(items.paths, items.unread, address)


def _all_of(paths: Sequence[str], unread: str | None, source: str) -> list[Scene]:
    """A scene for each item, if all of them are known, and there are any."""
    if unread is not None:
        raise InputError(f"{source}: {unread}.")
    if not paths:
        raise InputError(f"{source}: holds no items; expected a STAC ItemCollection of scenes.")
    return [{"s2": item} for item in paths]


def _of_csv(text: str, source: str) -> list[Scene]:
    try:
        rows = cells_of(text.splitlines(), COLUMNS)
    except csv.Error as error:
        raise InputError(
            f"{source}: is not a CSV ({error}); expected lines such as s2.tif,s1.tif."
        ) from error
    names: Sequence[str] = UNNAMED_COLUMNS
    heading = [cell.strip().lower() for cell in rows[0]] if rows else []
    if "s2" in heading:
        names = heading
        del rows[0]
        _check_columns(names, source)
    return all_of(partial(_of_cells, row, names, source, number) for number, row in enumerate(rows, 1))


def _of_cells(row: Sequence[str], names: Sequence[str], source: str, number: int) -> Scene:
    cells = {name: cell.strip() for name, cell in zip(names, row, strict=False) if cell.strip()}
    if len(row) > len(names) or "s2" not in cells:
        raise InputError(
            f"{source}: scene {number} is {','.join(row)!r}; expected at most {len(names)} values "
            f"({', '.join(names)}), s2 among them."
        )
    return cells


def _check_columns(names: Sequence[str], source: str) -> None:
    if unknown := set(names) - set(COLUMNS):
        raise InputError(
            f"{source}: has columns {', '.join(sorted(unknown))}; expected some of {', '.join(COLUMNS)}."
        )
    if len(set(names)) < len(names):
        raise InputError(f"{source}: has duplicate columns in {', '.join(names)}; expected each once.")


def _of_json(text: str, source: str) -> list[Scene]:
    """The scenes of a JSON text as a whole, else of its lines."""
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise InputError(f"{source}: is not a list of scenes ({error}); expected JSON lines.") from error
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        return all_of(partial(_scene_of_line, line, source, number) for number, line in enumerate(lines, 1))
    kind = content.get("type") if isinstance(content, dict) else None
    if kind in (COLLECTION, ITEM):
        return _of_items(source, content, single=kind == ITEM)
    rows = content if isinstance(content, list) else [content]
    return all_of(partial(_scene, row, source, number) for number, row in enumerate(rows, 1))


def _of_items(source: str, content: Mapping[str, Any], *, single: bool) -> list[Scene]:
    items = None if source == STDIN else items_of(source)
    if source == STDIN or (items is None and not single):
        raise InputError(
            f"{source}: is STAC, whose items are opened by the path of the file; expected a file that ends "
            "in .json or .geojson. Save it under such a name, and give that."
        )
    if items is not None:
        return _all_of(items.paths, items.unread, source)
    # One item is named as it would be in a collection: files of items are often all called item.json.
    name = NO_NAME.sub("_", content["id"]) if isinstance(content.get("id"), str) else ""
    return [{"s2": source} | ({"output": f"{name}_clear.tif"} if name else {})]


def _scene_of_line(line: str, source: str, number: int) -> Scene:
    return _scene(_parsed(line, source, number), source, number)


def _parsed(line: str, source: str, number: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{source}: scene {number} is not valid JSON ({error}); expected one object a line, such as "
            '{"s2": "s2.tif", "s1": "s1.tif"}.'
        ) from error


def _scene(row: Any, source: str, number: int) -> Scene:
    """One scene of an object whose keys are columns."""
    if not isinstance(row, dict):
        raise InputError(
            f'{source}: scene {number} is {str(row)[:60]!r}; expected an object such as {{"s2": "s2.tif"}}.'
        )
    given = {str(key).strip().lower(): value for key, value in row.items()}
    _check_columns([str(key).strip().lower() for key in row], source)
    several = {field.name for field in option_fields(RemoveOptions) if field.listed}
    scene: dict[str, Value] = {}
    for name, value in given.items():
        parts = value if isinstance(value, list) else [value]
        if not all(part is None or (isinstance(part, str | int | float)) for part in parts):
            raise InputError(
                f"{source}: scene {number} has {str(value)[:60]!r} as {name}; expected a text, a number, or "
                "a list of them."
            )
        texts = [text_of(part).strip() for part in parts if part is not None]
        if isinstance(value, list) and name in several:
            scene[name] = tuple(texts)
        elif any(texts):
            scene[name] = ",".join(texts)
    if not isinstance(scene.get("s2"), str):
        raise InputError(f"{source}: scene {number} has no s2; expected the path of a Sentinel-2 scene.")
    return scene
