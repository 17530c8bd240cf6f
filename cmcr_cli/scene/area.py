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
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.features import geometry_mask

from cmcr_cli.errors import GridMismatchError, InputError
from cmcr_cli.scene.grid import Grid, crs_name
from cmcr_cli.scene.raster import read_start

BBox = tuple[float, float, float, float]
"""West, south, east and north in degrees, as in GeoJSON."""

SEGMENTS = 256
"""Pieces of an outline's extent: straight edges bend when they are reprojected."""

MARGIN = 1.0
"""Of the scene's own size: as far around it outlines are reprojected, and what is farther away is cut off."""

NOT_SO = (TypeError, ValueError)
"""Errors of Python where JSON has another kind of value than expected."""

LARGEST_FILE = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Area:
    """Pixels of a scene to compute and write: a window, and in it those that a shape touches.

    Attributes:
        grid: Grid of the window.
        top: First row of the window in the scene.
        left: First column of the window in the scene.
        shape: Geometry of shapely in the grid's CRS; None: the whole window.
        name: What the user called it, for messages.
    """

    grid: Grid
    top: int
    left: int
    shape: Any
    name: str

    def wants(self, top: int, stop: int) -> bool:
        """Check rows against the window.

        Args:
            top: First row of the scene.
            stop: Row after the last.

        Returns:
            Whether any of the rows is in the window.
        """
        return top < self.top + self.grid.height and stop > self.top

    def touches(self, top: int, left: int, size: int) -> bool:
        """Check a square of pixels against the area.

        Args:
            top: First row of the scene.
            left: First column.
            size: Side in pixels.

        Returns:
            Whether the square contains any of the area.
        """
        if not self.wants(top, top + size) or not (
            left < self.left + self.grid.width and left + size > self.left
        ):
            return False
        if self.shape is None:
            return True
        square = self.grid.crop(top - self.top, left - self.left, size, size)
        return bool(self.shape.intersects(square.footprint()))

    def part(self, top: int, rows: int) -> tuple[int, slice, slice, NDArray[np.bool_]]:
        """Find the part of full-width rows that is in the window.

        Args:
            top: First row of the scene.
            rows: Number of rows.

        Returns:
            The first of these rows as a row of the window, slices of the given rows and columns, and which of
            these
            pixels are in the area.
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
    """Take the part of a grid around a bounding box.

    Args:
        bbox: West, south, east and north in degrees. If west exceeds east, it crosses the antimeridian.
        grid: Grid of the scene.

    Returns:
        The area: a whole window.

    Raises:
        InputError: It is not a valid bounding box.
        GridMismatchError: It is outside of the scene.
    """
    west, south, east, north = bbox
    west -= 360 * (west > east)
    if not (-540 <= west < east <= 180 and -90 <= south < north <= 90):
        raise InputError(
            f"--bbox {','.join(f'{value:g}' for value in bbox)}: is not a valid bounding box; expected "
            "west,south,east,north "
            "in degrees."
        )
    name = ",".join(f"{value:g}" for value in bbox)
    shape = _reprojected(shapely.box(west, south, east, north), pyproj.CRS.from_epsg(4326), grid, name)
    return _area(shape, grid, name, whole=True)


def area_of_file(path: str | Path, grid: Grid) -> Area:
    """Take the part of a grid inside the polygons of a GeoJSON file.

    Args:
        path: The file, in degrees or in the CRS that it names.
        grid: Grid of the scene.

    Returns:
        The area.

    Raises:
        InputError: The file cannot be used.
        GridMismatchError: The polygons are outside of the scene.
    """
    content = _read(path)
    crs = _crs(content, path)
    features = content.get("features", [content])
    try:
        shapes = [shapely.geometry.shape(feature.get("geometry") or feature) for feature in features]
    except (AttributeError, ArithmeticError, LookupError, *NOT_SO, shapely.errors.ShapelyError) as error:
        raise InputError(f"{path}: is not GeoJSON of polygons ({error}); see --aoi.") from error
    kinds = {shape.geom_type for shape in shapes}
    if not shapes or not kinds <= {"Polygon", "MultiPolygon"}:
        raise InputError(
            f"{path}: holds {', '.join(sorted(kinds)) or 'nothing'}; expected polygons. Draw the area as "
            "polygons, or give its bounds with --bbox."
        )
    try:
        shape = _surface(shapely.union_all([shapely.make_valid(shape) for shape in shapes]))
    except shapely.errors.ShapelyError as error:
        raise InputError(
            f"{path}: holds no usable outline ({error}); expected polygons. See --aoi."
        ) from error
    if shape.is_empty or not np.isfinite(shape.bounds).all():
        raise InputError(
            f"{path}: its polygons enclose no ground; expected an area of some size, in finite coordinates. "
            "Draw it again, or give its bounds with --bbox."
        )
    return _area(_reprojected(shape, crs, grid, str(path)), grid, Path(path).name, whole=False)


def _surface(shape: Any) -> Any:
    """The polygons of `shape`, without the lines and points that mending an outline may leave."""
    parts = shapely.get_parts(shapely.get_parts(shape))  # collections hold multipolygons
    return shapely.union_all([part for part in parts if part.geom_type == "Polygon"])


def _read(path: str | Path) -> dict[str, Any]:
    text = read_start(path, "GeoJSON of an area", LARGEST_FILE + 1)
    if len(text) > LARGEST_FILE:
        raise InputError(f"{path}: has more than {LARGEST_FILE} bytes; expected the outline of an area.")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not valid JSON ({error}); expected GeoJSON. See --aoi.") from error
    if not isinstance(content, dict) or not isinstance(content.get("features", []), list):
        raise InputError(f"{path}: is JSON but not GeoJSON; expected polygons. See --aoi.")
    return content


def _crs(content: dict[str, Any], path: str | Path) -> pyproj.CRS:
    """Degrees, unless the file has the member crs of GeoJSON before RFC 7946, as GDAL writes it."""
    try:
        name = content["crs"]["properties"]["name"] if content.get("crs") else "EPSG:4326"
        return pyproj.CRS.from_user_input(name)
    except (KeyError, *NOT_SO, ProjError) as error:
        raise InputError(
            f"{path}: its crs is not known ({error}); expected a name such as urn:ogc:def:crs:EPSG::32631. "
            "Convert the file to degrees with ogr2ogr -t_srs EPSG:4326."
        ) from error


def _reprojected(shape: Any, crs: pyproj.CRS, grid: Grid, name: str) -> Any:
    """`shape` in the grid's CRS, without most of what is outside of the scene."""
    target = pyproj.CRS.from_wkt(grid.crs.to_wkt())
    near = _near(shape, crs, grid)
    if near.is_empty:
        raise _outside(name, grid)
    west, south, east, north = near.bounds
    try:
        fine = shapely.segmentize(near, max(east - west, north - south) / SEGMENTS)
        transformer = pyproj.Transformer.from_crs(crs, target, always_xy=True)
        moved = shapely.transform(fine, lambda points: np.column_stack(transformer.transform(*points.T)))
        finite = bool(np.isfinite(shapely.get_coordinates(moved)).all())
        valid = _surface(shapely.make_valid(moved)) if finite else None
    except (ProjError, ValueError, shapely.errors.ShapelyError) as error:
        raise _not_shown(name, grid, str(error)) from error
    if valid is None:
        raise _not_shown(name, grid, "its coordinates have no place there")
    shapely.prepare(valid)  # it is asked about every patch
    return valid


def _near(shape: Any, crs: pyproj.CRS, grid: Grid) -> Any:
    """Part of `shape` near the scene: outlines far from it have no place on the scene's map.

    All of `shape` where that is not known, as where the scene holds a pole.
    """
    try:
        ring = np.array(grid.footprint(CRS.from_wkt(crs.to_wkt())).exterior.coords)
    except (GridMismatchError, ProjError, CRSError):
        return shape
    if not np.isfinite(ring).all():
        return shape
    turns: tuple[int, ...] = (0,)
    if crs.is_geographic:
        # Neighbours on the outline are close, so a leap of 360 degrees is the antimeridian.
        ring[:, 0], turns = np.unwrap(ring[:, 0], period=360), (-720, -360, 0, 360, 720)
    (west, south), (east, north) = ring.min(axis=0), ring.max(axis=0)
    if crs.is_geographic and abs(ring[-1, 0] - ring[0, 0]) > 180:  # around a pole
        return shape
    margin = max(east - west, north - south) * MARGIN
    boxes = [
        shapely.box(west - margin + turn, south - margin, east + margin + turn, north + margin)
        for turn in turns
    ]
    if any(box.contains(shape) for box in boxes):
        return shape
    return _surface(shape.intersection(shapely.union_all(boxes)))


def _touches(name: str, grid: Grid) -> GridMismatchError:
    return GridMismatchError(
        f"{name}: the area only touches the edge of the scene ({grid.describe()}) and holds no pixel of it; "
        "expected one that overlaps it. Give an area inside the scene, or the scene beside this one."
    )


def _outside(name: str, grid: Grid) -> GridMismatchError:
    return GridMismatchError(
        f"{name}: the area is outside of the scene ({grid.describe()}); expected one that overlaps it. "
        "Check the order of its coordinates: longitude first."
    )


def _not_shown(name: str, grid: Grid, why: str) -> GridMismatchError:
    return GridMismatchError(
        f"{name}: the area cannot be shown in {crs_name(grid.crs)} ({why}); expected one inside the scene. "
        "Give it in degrees, or in the scene's own CRS."
    )


def _area(shape: Any, grid: Grid, name: str, *, whole: bool) -> Area:
    """Smallest window of `grid` that contains the part of `shape` in the scene."""
    inside = _surface(shape.intersection(grid.footprint()))
    if inside.is_empty:
        raise (_touches if shape.intersects(grid.footprint()) else _outside)(name, grid)
    west, south, east, north = inside.bounds
    x, y = zip(grid.position(west, south), grid.position(east, north), strict=True)
    # Outlines drawn along pixel edges must not take in the next pixel by a rounding error.
    left, right = (int(value) for value in (floor(min(x) + 1e-6), ceil(max(x) - 1e-6)))
    top, bottom = (int(value) for value in (floor(min(y) + 1e-6), ceil(max(y) - 1e-6)))
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, grid.width), min(bottom, grid.height)
    if right <= left or bottom <= top:  # it shares an edge with the scene, as a neighbouring tile does
        raise _touches(name, grid)
    window = grid.crop(top, left, bottom - top, right - left)
    return Area(window, top, left, None if whole else shape, name)
