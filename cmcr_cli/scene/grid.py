"""Grid: the coordinate reference system, transform and size of a raster, as one value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.windows import Window
from shapely import Polygon

from cmcr_cli.errors import GridMismatchError, InputError

EDGE_POINTS = 32
"""Points per edge of a footprint: straight edges bend when they are reprojected."""

SAME_PIXEL = 0.01
"""Grids whose corners differ by less than this, in pixels, are the same: writers round transforms."""

TRUE = 0.01
"""Share by which lengths of a projected CRS may differ from those on the ground, and are taken for them."""


@dataclass(frozen=True, slots=True)
class Grid:
    """An unrotated raster grid. Rows may run south (the usual) or north.

    Attributes:
        crs: Coordinate reference system.
        transform: From columns and rows to coordinates of the CRS.
        width: Number of columns.
        height: Number of rows.
    """

    crs: CRS
    transform: Affine
    width: int
    height: int

    @classmethod
    def from_dataset(cls, dataset: Any) -> Grid:
        """Take the grid of an open rasterio dataset.

        Args:
            dataset: The dataset.

        Returns:
            Its grid.

        Raises:
            InputError: It has no CRS, is rotated, or its pixels have no size.
        """
        if dataset.crs is None:
            raise InputError(
                f"{dataset.name}: has no coordinate reference system; expected a georeferenced raster. "
                "Set it with gdal_edit -a_srs, or geocode a product that has only ground control points."
            )
        transform = dataset.transform
        if transform.b != 0 or transform.d != 0:
            raise InputError(
                f"{dataset.name}: its grid is rotated; expected rows along the map's x axis. "
                "Bring it to a north-up grid with gdalwarp first."
            )
        if not all(map(math.isfinite, transform[:6])) or transform.a == 0 or transform.e == 0:
            raise InputError(
                f"{dataset.name}: its geotransform is {transform.to_gdal()}; expected finite numbers, and "
                "pixels that have a size. Set it with gdal_edit -a_ullr."
            )
        return cls(dataset.crs, transform, dataset.width, dataset.height)

    def __repr__(self) -> str:
        """Size and CRS in one line."""
        return f"Grid({self.describe() if self.crs else f'{self.width} x {self.height} px, no CRS'})"

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Width and height of a pixel in units of the CRS, both positive."""
        return abs(self.transform.a), abs(self.transform.e)

    @property
    def metres(self) -> tuple[float, float]:
        """Width and height of a pixel on the ground at the centre of the grid, in metres, whatever the CRS.

        Where the CRS has metres and is true to 1 %, as UTM is, they are those of the CRS.
        """
        width, height = self.pixel_size
        if self.crs.is_projected:
            factor = self.crs.linear_units_factor[1]
            width, height = width * factor, height * factor
        left, top, right, bottom = self.corners
        x, y = (left + right) / 2, (top + bottom) / 2
        a, e = self.transform.a / 2, self.transform.e / 2
        try:
            to_ground = pyproj.Transformer.from_crs(self.crs.to_wkt(), "EPSG:4326", always_xy=True)
            lon, lat = to_ground.transform([x - a, x + a, x, x], [y, y, y - e, y + e])
            _, _, found = pyproj.Geod(ellps="WGS84").inv(lon[::2], lat[::2], lon[1::2], lat[1::2])
        except pyproj.exceptions.ProjError:
            return width, height
        if not all(math.isfinite(length) and length > 0 for length in found):
            return width, height
        if self.crs.is_projected and max(abs(found[0] / width - 1), abs(found[1] / height - 1)) < TRUE:
            return width, height
        return float(found[0]), float(found[1])

    @property
    def origin(self) -> tuple[int, int]:
        """(row, column) of the upper-left pixel, counted from the CRS's own origin.

        A crop of a scene shares the pixel numbers of the whole, which locks noise and patches to the ground.
        """
        return _nearest(self.transform.f / self.transform.e), _nearest(self.transform.c / self.transform.a)

    def window(self, top: int, rows: int) -> Window:
        """Make a window of full-width rows.

        Args:
            top: First row.
            rows: Number of rows.

        Returns:
            The window.

        Raises:
            ValueError: It leaves the grid.
        """
        if top < 0 or rows < 1 or top + rows > self.height:
            raise ValueError(f"rows {top} to {top + rows} are not inside a grid of {self.height} rows")
        return Window(0, top, self.width, rows)

    def footprint(self, crs: CRS | None = None) -> Polygon:
        """Outline the grid.

        Args:
            crs: CRS of the outline; None: that of the grid.

        Returns:
            A polygon. It may be invalid where the outline leaves the area in which `crs` is defined.

        Raises:
            GridMismatchError: PROJ has no transformation between the two CRS.
        """
        rising, ones = np.linspace(0, 1, EDGE_POINTS, endpoint=False), np.ones(EDGE_POINTS)
        columns = self.width * np.concatenate([rising, ones, 1 - rising, 0 * ones])
        rows = self.height * np.concatenate([0 * ones, rising, ones, 1 - rising])
        x = self.transform.a * columns + self.transform.c
        y = self.transform.e * rows + self.transform.f
        if crs is not None and not same_crs(crs, self.crs):
            try:
                x, y = pyproj.Transformer.from_crs(self.crs.to_wkt(), crs.to_wkt(), always_xy=True).transform(
                    x, y
                )
            except pyproj.exceptions.ProjError as error:
                raise GridMismatchError(
                    f"no transformation is known from {crs_name(self.crs)} to {crs_name(crs)} ({error}); "
                    "expected two georeferenced rasters. Check the CRS of both with rio info."
                ) from error
        return Polygon(np.column_stack([x, y]))

    def overlap(self, other: Grid) -> float:
        """Compare the footprints of two grids.

        Args:
            other: The other grid, in any CRS.

        Returns:
            Fraction of this grid's footprint that `other` covers, 0 to 1.
        """
        # This grid's CRS is tried first: another's may be geographic and cut the scene at the antimeridian.
        # A footprint far larger than the scene may not fit in that CRS; then the other's CRS serves.
        for crs in (self.crs, other.crs):
            mine, theirs = self.footprint(crs), other.footprint(crs)
            if mine.is_valid and theirs.is_valid:
                return min(1.0, float(mine.intersection(theirs).area / mine.area))
        return 0.0

    def matches(self, other: Grid) -> bool:
        """Compare two grids pixel by pixel.

        Args:
            other: The other grid.

        Returns:
            Whether both have the same CRS and size, and the same pixels to 1 % of a pixel.
        """
        if (self.width, self.height) != (other.width, other.height) or not same_crs(self.crs, other.crs):
            return False
        x, y = self.pixel_size
        apart = np.subtract(self.corners, other.corners) / (x, y, x, y)
        return bool((np.abs(apart) < SAME_PIXEL).all())

    def place_in(self, other: Grid) -> tuple[int, int] | None:
        """Find this grid in another one.

        Args:
            other: The other grid.

        Returns:
            Row and column of this grid's first pixel in `other`; None if this grid is not a window of it.
        """
        left, top = (round(value) for value in other.position(self.transform.c, self.transform.f))
        inside = 0 <= left <= other.width - self.width and 0 <= top <= other.height - self.height
        if inside and self.matches(other.crop(top, left, self.height, self.width)):
            return top, left
        return None

    def crop(self, top: int, left: int, rows: int, columns: int) -> Grid:
        """Make the grid of a part of this one.

        Args:
            top: First row.
            left: First column.
            rows: Number of rows.
            columns: Number of columns.

        Returns:
            The part, which may pass the edges of this grid.
        """
        a, _, c, _, e, f = self.transform[:6]
        return Grid(self.crs, Affine(a, 0, c + a * left, 0, e, f + e * top), columns, rows)

    def position(self, x: float, y: float) -> tuple[float, float]:
        """Convert map coordinates to pixels.

        Args:
            x: Easting, in units of the CRS.
            y: Northing.

        Returns:
            Column and row, in fractions.
        """
        return (x - self.transform.c) / self.transform.a, (y - self.transform.f) / self.transform.e

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """Map coordinates x, y of the upper-left corner, then of the lower-right one."""
        a, _, c, _, e, f = self.transform[:6]
        return c, f, c + a * self.width, f + e * self.height

    def describe(self) -> str:
        """Describe the grid in one line.

        Returns:
            Size, pixel size and CRS.
        """
        x, y = (f"{size:.6g}" for size in self.pixel_size)
        size = f"{x if x == y else f'{x} x {y}'} {unit_name(self.crs)}"
        return f"{self.width} x {self.height} px of {size}, {crs_name(self.crs)}"


def unit_name(crs: CRS) -> str:
    """Name the unit of coordinates, for people.

    Args:
        crs: The CRS.

    Returns:
        m, degrees, or units where it is another one.
    """
    return "degrees" if crs.is_geographic else "m" if crs.linear_units == "metre" else "units"


def same_crs(one: CRS, other: CRS) -> bool:
    """Compare two CRS by what they define, since their names differ from writer to writer.

    Args:
        one: A CRS.
        other: Another CRS.

    Returns:
        Whether they are equivalent.
    """
    return bool(one == other) or (one.to_epsg() is not None and one.to_epsg() == other.to_epsg())


def crs_name(crs: CRS) -> str:
    """Name a CRS for people.

    Args:
        crs: The CRS.

    Returns:
        EPSG code if there is one, else the name in the WKT.
    """
    epsg = crs.to_epsg()
    return f"EPSG:{epsg}" if epsg else pyproj.CRS.from_wkt(crs.to_wkt()).name


def _nearest(number: float) -> int:
    """Nearest integer; halves always go up, so that a crop of a half-pixel grid keeps its pixel numbers."""
    return math.floor(number + 0.5 + 1e-6)
