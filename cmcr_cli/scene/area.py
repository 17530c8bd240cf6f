"""The area of interest: a window of the scene's grid, and inside it the pixels of a polygon."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from rasterio.features import geometry_mask

from cmcr_cli.errors import GridMismatchError, InputError
from cmcr_cli.scene.grid import Grid, crs_name

BBox = tuple[float, float, float, float]
"""West, south, east and north in degrees, as in GeoJSON."""

SEGMENTS = 256
"""Pieces of an outline's extent: straight edges bend when they are reprojected."""

LARGEST_FILE = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Area:
    """Pixels of a scene to compute and write: a window from (top, left), and in it those `shape` touches."""

    grid: Grid
    top: int
    left: int
    shape: Any  # shapely geometry in the grid's CRS; None: the whole window
    name: str

    def wants(self, top: int, stop: int) -> bool:
        """Whether any of the scene's rows from `top` to `stop` is in the window."""
        return top < self.top + self.grid.height and stop > self.top

    def touches(self, top: int, left: int, size: int) -> bool:
        """Whether a square of the scene's pixels holds any of the area."""
        if not self.wants(top, top + size) or not (
            left < self.left + self.grid.width and left + size > self.left
        ):
            return False
        if self.shape is None:
            return True
        square = self.grid.crop(top - self.top, left - self.left, size, size)
        return bool(self.shape.intersects(square.footprint()))

    def part(self, top: int, rows: int) -> tuple[int, slice, slice, NDArray[np.bool_]]:
        """What of the scene's `rows` from `top` is in the window.

        Returns the first of them as a row of the window, slices of the rows and columns given, and which of
        these pixels are in the area.
        """
        first, stop = max(top, self.top), max(min(top + rows, self.top + self.grid.height), self.top)
        count = max(stop - first, 0)
        inside = np.ones((count, self.grid.width), dtype=bool)
        if self.shape is not None and count:
            strip = self.grid.crop(first - self.top, 0, *inside.shape)
            inside = geometry_mask([self.shape], inside.shape, strip.transform, all_touched=True, invert=True)
        columns = slice(self.left, self.left + self.grid.width)
        return first - self.top, slice(first - top, first - top + count), columns, inside


def area_of_bbox(bbox: BBox, grid: Grid) -> Area:
    """The window of `grid` around a box in degrees; one whose west exceeds its east crosses the antimeridian.

    Raises InputError for a box that is none, GridMismatchError when it lies outside of the scene.
    """
    west, south, east, north = bbox
    west -= 360 * (west > east)
    if not (-540 <= west < east <= 180 and -90 <= south < north <= 90):
        raise InputError(
            f"--bbox {','.join(f'{value:g}' for value in bbox)}: is no box; expected west,south,east,north "
            "in degrees."
        )
    name = ",".join(f"{value:g}" for value in bbox)
    shape = _reprojected(shapely.box(west, south, east, north), pyproj.CRS.from_epsg(4326), grid, name)
    return _area(shape, grid, name, whole=True)


def area_of_file(path: str | Path, grid: Grid) -> Area:
    """The area of a GeoJSON file's polygons, in degrees or in the CRS that the file names.

    Raises InputError for a file that cannot be used, GridMismatchError when it lies outside of the scene.
    """
    content = _read(path)
    crs = _crs(content, path)
    features = content.get("features", [content])
    try:
        shapes = [shapely.geometry.shape(feature.get("geometry") or feature) for feature in features]
    except (AttributeError, KeyError, TypeError, ValueError, shapely.errors.ShapelyError) as error:
        raise InputError(f"{path}: is no GeoJSON of polygons ({error}); see --aoi.") from error
    kinds = {shape.geom_type for shape in shapes}
    if not shapes or not kinds <= {"Polygon", "MultiPolygon"}:
        raise InputError(
            f"{path}: holds {', '.join(sorted(kinds)) or 'nothing'}; expected polygons. Draw the area as "
            "polygons, or give its bounds with --bbox."
        )
    shape = shapely.union_all([shapely.make_valid(shape) for shape in shapes])
    return _area(_reprojected(shape, crs, grid, str(path)), grid, Path(path).name, whole=False)


def _read(path: str | Path) -> dict[str, Any]:
    file = Path(path)
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path}: has {file.stat().st_size} bytes; expected the outline of an area.")
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); expected GeoJSON. See --aoi."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no JSON ({error}); expected GeoJSON. See --aoi.") from error
    if not isinstance(content, dict) or not isinstance(content.get("features", []), list):
        raise InputError(f"{path}: is JSON but no GeoJSON; expected polygons. See --aoi.")
    return content


def _crs(content: dict[str, Any], path: str | Path) -> pyproj.CRS:
    """Degrees, unless the file has the member crs of GeoJSON before RFC 7946, as GDAL writes it."""
    try:
        name = content["crs"]["properties"]["name"] if content.get("crs") else "EPSG:4326"
        return pyproj.CRS.from_user_input(name)
    except (KeyError, TypeError, ProjError) as error:
        raise InputError(
            f"{path}: its crs is not known ({error}); expected a name such as urn:ogc:def:crs:EPSG::32631. "
            "Convert the file to degrees with ogr2ogr -t_srs EPSG:4326."
        ) from error


def _reprojected(shape: Any, crs: pyproj.CRS, grid: Grid, name: str) -> Any:
    """`shape` in the grid's CRS."""
    target = pyproj.CRS.from_wkt(grid.crs.to_wkt())
    west, south, east, north = shape.bounds
    fine = shapely.segmentize(shape, max(east - west, north - south) / SEGMENTS)
    transformer = pyproj.Transformer.from_crs(crs, target, always_xy=True)
    moved = shapely.transform(fine, lambda points: np.column_stack(transformer.transform(*points.T)))
    if not np.isfinite(moved.bounds).all():
        raise GridMismatchError(
            f"{name}: the area cannot be shown in {crs_name(grid.crs)}; expected one inside the scene."
        )
    valid = shapely.make_valid(moved)
    shapely.prepare(valid)  # it is asked about every patch
    return valid


def _area(shape: Any, grid: Grid, name: str, *, whole: bool) -> Area:
    """The smallest window of `grid` that holds what of `shape` lies in the scene."""
    west, south, east, north = shape.intersection(grid.footprint()).bounds
    if not west < east:
        raise GridMismatchError(
            f"{name}: the area lies outside of the scene ({grid.describe()}); expected one that overlaps it. "
            "Check the order of its coordinates: longitude first."
        )
    x, y = zip(grid.position(west, south), grid.position(east, north), strict=True)
    # Outlines drawn along pixel edges must not take in the next pixel by a rounding error.
    left, right = (int(value) for value in (floor(min(x) + 1e-6), ceil(max(x) - 1e-6)))
    top, bottom = (int(value) for value in (floor(min(y) + 1e-6), ceil(max(y) - 1e-6)))
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, grid.width), min(bottom, grid.height)
    window = grid.crop(top, left, max(bottom - top, 1), max(right - left, 1))
    return Area(window, top, left, None if whole else shape, name)
