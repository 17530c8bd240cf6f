"""A STAC item that describes an output and the files beside it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from rasterio.crs import CRS
from shapely.affinity import translate

from cmcr_cli.addresses import public
from cmcr_cli.errors import InputError
from cmcr_cli.output.catalogue.categories import (
    PROVENANCE,
    Categories,
    meaning,
    source_categories,
    stac_classes,
)
from cmcr_cli.output.catalogue.spectrum import SPECTRUM
from cmcr_cli.output.files import FileSet, write_whole
from cmcr_cli.output.provenance import NO_SOURCE, NODATA
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.references.dates import FIRST_IMAGE, WRITTEN_TAG, Moment, day_of, taken

EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in (
        "projection/v2.0.0",
        # Readers such as odc-stac and stackstac look into eo:bands and raster:bands, which version 2 has not.
        "raster/v1.1.0",
        "eo/v1.1.0",
        "classification/v2.0.0",
        "processing/v1.2.0",
    )
]


ITEM = re.compile(r".+\.(geo)?json(#.+)?|https?://.+/items/[^/]+", re.IGNORECASE | re.DOTALL)
"""Path of a STAC item, or of one in an ItemCollection."""

COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"


NOON = time(12, tzinfo=UTC)
"""Stands for a day in `datetime`, which a catalogue sorts by: no other time is nearer to all of it."""


@dataclass(frozen=True, slots=True)
class Described:
    """Contents of an item except the files.

    Attributes:
        grid: Grid of the outputs.
        names: Bands of the image, in file order.
        dtype: Type of its values.
        nodata: Its nodata value; None: it has none.
        scale: Reflectance = DN x scale + offset.
        offset: See `scale`.
        taken: When the scene was taken.
        lineage: How the image was made, in words.
        software: Names and versions of what made it.
        sources: Paths of the scene, its radar and the references that were used.
        references: Date and name of each reference.
        cover: Shares 0 to 1 by name, see `cover`.
    """

    grid: Grid
    names: tuple[str, ...]
    dtype: str
    nodata: float | None
    scale: float
    offset: float
    taken: Moment
    lineage: str
    software: Mapping[str, str]
    sources: tuple[str, ...]
    references: tuple[str, ...] = ()
    cover: Mapping[str, float] = field(default_factory=dict)


def scene_time(tags: Mapping[str, str], path: str) -> Moment:
    """Find when a scene was taken, which an item must state.

    Args:
        tags: Tags of the scene.
        path: Its path.

    Returns:
        The time, or the day.

    Raises:
        InputError: Neither metadata, tags nor name state it, or it is older than Sentinel-2.
    """
    found = taken(tags, path)
    day = day_of(found)
    if found is not None and day is not None and day >= FIRST_IMAGE:
        return found
    stated = "states no date in metadata, tags or name"
    if day is not None:
        stated = f"states {day} as its date, when there was no Sentinel-2"
    elif WRITTEN_TAG in tags:
        stated += f" ({WRITTEN_TAG} is when the file was written)"
    raise InputError(
        f"{path}: {stated}; expected the time at which the scene was taken, which a STAC item must state. "
        "Give it with --datetime, as in --datetime 2024-06-01T10:20:31Z, or leave out --stac."
    )


def write_item(
    path: Path, outputs: Mapping[str, Path], made: Described, files: FileSet | None = None
) -> None:
    """Write the STAC item of a removal.

    Args:
        path: The item.
        outputs: Outputs by the option that names them.
        made: What the item states about them.
        files: Set of outputs that the item belongs to; None: alone.

    Raises:
        OutputError: It cannot be written.
    """
    write_whole(path, json.dumps(stac_item(path, outputs, made), indent=2).encode(), files)


def stac_item(path: Path, files: Mapping[str, Path], made: Described) -> dict[str, Any]:
    """Make the STAC item of a removal.

    Args:
        path: The item; addresses of assets are relative to it.
        files: Outputs by the option that names them.
        made: What the item states about them.

    Returns:
        The item as a dictionary.
    """
    geometry, bbox = _geometry(made.grid)
    epsg = made.grid.crs.to_epsg()
    properties: dict[str, Any] = {
        **_times(made.taken),
        "created": _iso(datetime.now(UTC)),
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": round(max(made.grid.metres), 3),
        "proj:code": f"EPSG:{epsg}" if epsg else None,
        "proj:shape": [made.grid.height, made.grid.width],
        "proj:transform": [*made.grid.transform[:6]],
        "processing:software": dict(made.software),
        "processing:lineage": made.lineage,
        "cmcr:cover": dict(made.cover),
    }
    if epsg is None:
        properties["proj:wkt2"] = made.grid.crs.to_wkt(version="WKT2_2019")
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": EXTENSIONS,
        "id": files["--output"].stem,
        "geometry": geometry,
        "bbox": bbox,
        "properties": properties,
        "links": _links(path, made.sources),
        "assets": _assets(path, files, made),
    }


def _times(moment: Moment) -> dict[str, str]:
    """When the scene was taken; of a day that alone is known its noon, and from when to when it lasts."""
    if isinstance(moment, datetime):
        return {"datetime": _iso(moment)}
    start = datetime.combine(moment, time(tzinfo=UTC))
    return {
        "datetime": _iso(datetime.combine(moment, NOON)),
        "start_datetime": _iso(start),
        "end_datetime": _iso(start + timedelta(days=1, milliseconds=-1)),
    }


def _assets(path: Path, files: Mapping[str, Path], made: Described) -> dict[str, Any]:
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "--output": ("image", {"type": COG_TYPE, "roles": ["data", "reflectance"], **_reflectance(made)}),
        "--provenance": ("provenance", _classes("provenance", PROVENANCE, NODATA)),
        "--uncertainty": ("uncertainty", {"type": COG_TYPE, "roles": ["data"], **_deviations(made)}),
        "--source-date": (
            "source-date",
            _classes("source_date", source_categories(made.references), NO_SOURCE),
        ),
        "--quicklook": ("thumbnail", {"type": "image/png", "roles": ["thumbnail"]}),
        "--report": ("report", {"type": "text/html", "roles": ["metadata"]}),
    }
    for option in sorted(files.keys() - kinds.keys()):  # of rasters that nothing more is known of
        kinds[option] = option.lstrip("-"), {"type": COG_TYPE, "roles": ["data"]}
    return {
        name: {"href": _relative(files[option], path), **fields}
        for option, (name, fields) in kinds.items()
        if option in files
    }


def _reflectance(made: Described) -> dict[str, Any]:
    """Bands of the image, as STAC 1.1 lists them and as its extensions did before, for their readers."""
    kind: dict[str, Any] = {"data_type": made.dtype}
    if made.nodata is not None:
        kind["nodata"] = made.nodata
    bands, older = [], []
    for name in made.names:
        band = SPECTRUM[name]
        widths = {"center_wavelength": band.centre, "full_width_half_max": band.width}
        named = {"eo:common_name": band.common_name, **{f"eo:{key}": value for key, value in widths.items()}}
        scaled = {"raster:scale": made.scale, "raster:offset": made.offset}
        bands.append({"name": name, **named, **kind, **scaled})
        older.append({"name": name, "common_name": band.older_name, **widths})
    stored = kind | {"scale": made.scale, "offset": made.offset}
    return {"bands": bands, "eo:bands": older, "raster:bands": [stored] * len(older)}


def _deviations(made: Described) -> dict[str, Any]:
    """Bands of the uncertainty."""
    kind = {"data_type": "float32", "nodata": "nan"}
    bands = [{"name": f"std_{name}", **kind} for name in made.names]
    return {
        "bands": bands,
        "eo:bands": [{"name": band["name"]} for band in bands],
        "raster:bands": [kind] * len(bands),
    }


def _classes(name: str, categories: Categories, nodata: int) -> dict[str, Any]:
    """An asset that holds classes."""
    kind = {"data_type": "uint8", "nodata": nodata}
    return {
        "type": COG_TYPE,
        "roles": ["metadata"],
        "title": meaning(categories),
        "bands": [{"name": name, **kind}],
        "raster:bands": [kind],
        "classification:classes": stac_classes(categories),
    }


def _links(path: Path, sources: Sequence[str]) -> list[dict[str, str]]:
    """What it was made from, each once: items in the relation that STAC has for them, other files `via`."""
    links = []
    for source in dict.fromkeys(map(public, sources)):
        here = "://" not in source and not source.startswith("/vsi")
        link = {"rel": "via", "href": _relative(Path(source), path) if here else source}
        if ITEM.fullmatch(source):
            link |= {"rel": "derived_from", "type": "application/geo+json"}
        links.append(link)
    return links


def _relative(file: Path, item: Path) -> str:
    relative = os.path.relpath(file.absolute(), item.absolute().parent)
    return f"./{Path(relative).as_posix()}"


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _geometry(grid: Grid) -> tuple[dict[str, Any], list[float]]:
    """Footprint in degrees as GeoJSON wants it, and its bounds: cut at the antimeridian."""
    ring = np.array(grid.footprint(CRS.from_epsg(4326)).exterior.coords)
    # Neighbours on the outline are close, so a leap of 360 degrees is the antimeridian.
    ring[:, 0] = np.unwrap(ring[:, 0], period=360)
    outline = shapely.make_valid(shapely.Polygon(np.round(ring, 7)))
    west, south, east, north = outline.bounds
    world = shapely.box(-180, -90, 180, 90)
    pieces = [translate(outline, turn).intersection(world) for turn in (-360, 0, 360)]
    whole = shapely.union_all([piece for piece in pieces if piece.area])  # others only touch the antimeridian
    # 180 degrees are the end of a scene to the west of the antimeridian, and the start of one to the east.
    bounds = [(west + 180) % 360 - 180, south, 180 - (180 - east) % 360, north]
    return shapely.geometry.mapping(whole), bounds
