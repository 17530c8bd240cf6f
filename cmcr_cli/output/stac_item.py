"""A STAC item that describes an output and the files beside it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from rasterio.crs import CRS
from shapely.affinity import translate

from cmcr_cli.addresses import public
from cmcr_cli.output.files import FileSet, write_whole
from cmcr_cli.output.provenance import MEANING, NO_SOURCE, SOURCE_MEANING
from cmcr_cli.scene.grid import Grid

EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("projection/v2.0.0", "raster/v2.0.0", "eo/v2.0.0", "processing/v1.2.0")
]

# Common name and central wavelength in micrometres (Sentinel-2A), of STAC's eo extension.
EO = {
    "B01": ("coastal", 0.443), "B02": ("blue", 0.493), "B03": ("green", 0.56), "B04": ("red", 0.665),
    "B05": ("rededge071", 0.704), "B06": ("rededge075", 0.741), "B07": ("rededge078", 0.783),
    "B08": ("nir", 0.833), "B8A": ("nir08", 0.865), "B09": ("nir09", 0.945), "B10": ("cirrus", 1.374),
    "B11": ("swir16", 1.614), "B12": ("swir22", 2.202),
}  # fmt: skip

FIRST_IMAGE = datetime(2015, 6, 23, tzinfo=UTC)
"""Start of Sentinel-2A: no image is older."""

LAST_YEAR = 2100
"""A later image is a mistake, whatever the clock of this machine says."""

ADDRESS = re.compile(r"https?://")

ITEM = re.compile(r".+\.(geo)?json(#.+)?|https?://.+/items/[^/]+", re.IGNORECASE | re.DOTALL)
"""Path of a STAC item, or of one in an ItemCollection."""

COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"


@dataclass(frozen=True, slots=True)
class Described:
    """Contents of an item except the files."""

    grid: Grid
    names: tuple[str, ...]
    dtype: str
    nodata: float | None
    scale: float  # reflectance = DN x scale + offset
    offset: float
    time: datetime | None  # of the image
    lineage: str
    software: Mapping[str, str]
    sources: tuple[str, ...]  # paths of the scene and of the references that were used


def time_of(tags: Mapping[str, str], path: str) -> datetime | None:
    """Find the acquisition time of a scene.

    Args:
        tags: Tags of the scene.
        path: Its path; names such as S2A_MSIL1C_20220105T110431_... state the time.

    Returns:
        The time, UTC; None if neither states it, or the stated time is impossible.
    """
    text = tags.get("PRODUCT_START_TIME", "")
    found = re.search(r"(?<!\d)(20\d{6}T\d{6})(?!\d)", Path(path).name)
    try:
        time = datetime.fromisoformat(text or (found[1] if found else ""))
        time = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return time if FIRST_IMAGE.year <= time.year <= LAST_YEAR else None


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
    now = datetime.now(UTC)
    properties: dict[str, Any] = {"datetime": _iso(made.time) if made.time else None}
    if made.time is None:
        # Unknown: STAC then requires the span in which it must be.
        properties |= {"start_datetime": _iso(FIRST_IMAGE), "end_datetime": _iso(now)}
    epsg = made.grid.crs.to_epsg()
    properties |= {
        "created": _iso(now),
        "gsd": round(max(made.grid.metres), 3),
        "proj:code": f"EPSG:{epsg}" if epsg else None,
        "proj:shape": [made.grid.height, made.grid.width],
        "proj:transform": [*made.grid.transform[:6]],
        "processing:software": dict(made.software),
        "processing:lineage": made.lineage,
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


def _assets(path: Path, files: Mapping[str, Path], made: Described) -> dict[str, Any]:
    pixels = {"data_type": made.dtype, "raster:scale": made.scale, "raster:offset": made.offset}
    if made.nodata is not None:
        pixels["nodata"] = made.nodata
    bands = [
        {"name": name, "eo:common_name": EO[name][0], "eo:center_wavelength": EO[name][1], **pixels}
        for name in made.names
    ]
    std = [{"name": f"std_{name}", "data_type": "float32", "nodata": "nan"} for name in made.names]
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "--output": ("image", {"type": COG_TYPE, "roles": ["data", "reflectance"], "bands": bands}),
        "--provenance": (
            "provenance",
            {
                "type": COG_TYPE,
                "roles": ["metadata"],
                "title": MEANING,
                "bands": [{"name": "provenance", "data_type": "uint8", "nodata": 0}],
            },
        ),
        "--uncertainty": ("uncertainty", {"type": COG_TYPE, "roles": ["data"], "bands": std}),
        "--source-date": (
            "source-date",
            {
                "type": COG_TYPE,
                "roles": ["metadata"],
                "title": SOURCE_MEANING,
                "bands": [{"name": "source_date", "data_type": "uint8", "nodata": NO_SOURCE}],
            },
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


def _links(path: Path, sources: Sequence[str]) -> list[dict[str, str]]:
    """What it was made from, as far as that is items too; each once."""
    return [
        {
            "rel": "derived_from",
            "href": source if ADDRESS.match(source) else _relative(Path(source), path),
            "type": "application/geo+json",
        }
        for source in dict.fromkeys(map(public, sources))
        if ITEM.fullmatch(source)
    ]


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
