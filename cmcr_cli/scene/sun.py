"""Position of the sun during a scene, and its direction in the pixels of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cmcr_cli.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cmcr_cli.scene.grid import Grid

AZIMUTH_TAG, ZENITH_TAG = "MEAN_SOLAR_AZIMUTH_ANGLE", "MEAN_SOLAR_ZENITH_ANGLE"
"""Tags of a stack; Earth Engine has properties of these names."""

STEP = 100.0
"""Metres walked towards the sun to find its direction: straight on any map, far above rounding."""


@dataclass(frozen=True, slots=True)
class Sun:
    """Position of the sun.

    Attributes:
        azimuth: Degrees clockwise from true north, 0 to 360.
        elevation: Degrees above the horizon, more than 0 and at most 90.

    Raises:
        OptionError: An angle is out of range.
    """

    azimuth: float
    elevation: float

    def __post_init__(self) -> None:
        """Raise OptionError for angles out of range; NaN is."""
        if not (0 <= self.azimuth <= 360 and 0 < self.elevation <= 90):
            raise OptionError(
                f"--sun {self}: expected AZIMUTH,ELEVATION in degrees, an azimuth of 0 to 360 clockwise from "
                "north and an elevation above 0 up to 90, as in 152.3,41.0"
            )

    def __str__(self) -> str:
        """The angles as `--sun` takes them."""
        return f"{self.azimuth},{self.elevation}"

    def direction(self, grid: Grid) -> tuple[float, float]:
        """Direction of the sun in an image: from a shadow to the cloud that throws it.

        It holds for the centre of the grid: the angle between true north and the grid's (convergence) is
        another at its edges, by 0.9 degrees for a tile at a latitude of 60.

        Args:
            grid: Grid of the image. One without CRS is taken to have north at its top.

        Returns:
            Rows (positive downwards) and columns (positive to the right), a vector of length 1 in pixels.
        """
        rows, columns = towards(self.azimuth)
        if grid.crs:
            east, north = _walked(grid, self.azimuth) or (columns, -rows)
            rows, columns = north / grid.transform.e, east / grid.transform.a
        length = math.hypot(rows, columns)
        return rows / length, columns / length


def towards(azimuth: float) -> tuple[float, float]:
    """Direction in an image that has north at its top.

    Args:
        azimuth: Degrees clockwise from north.

    Returns:
        Rows (positive downwards) and columns (positive to the right), a vector of length 1.
    """
    return -math.cos(math.radians(azimuth)), math.sin(math.radians(azimuth))


def sun_of(azimuth: Any, *, elevation: Any = None, zenith: Any = None) -> Sun | None:
    """Sun at these angles, as metadata has them.

    Args:
        azimuth: Degrees clockwise from north, a number or its text.
        elevation: Degrees above the horizon, likewise.
        zenith: Degrees from the vertical, in place of the elevation.

    Returns:
        The sun, or None where the angles are missing or make no sense: the sun is never worth an error.
    """
    try:
        return Sun(float(azimuth), 90 - float(zenith) if elevation is None else float(elevation))
    except (TypeError, ValueError, OverflowError, OptionError):
        return None


def sun_of_tags(tags: Mapping[str, str]) -> Sun | None:
    """Sun that the tags of a stack state, else None.

    Args:
        tags: Tags of the file.

    Returns:
        The sun, or None where a tag is missing or makes no sense.
    """
    return sun_of(tags.get(AZIMUTH_TAG), zenith=tags.get(ZENITH_TAG))


def _walked(grid: Grid, azimuth: float) -> tuple[float, float] | None:
    """Change of the map coordinates x and y along a step from the grid's centre; None where PROJ fails."""
    import pyproj  # here, for the command line parses `--sun` before it loads any library

    left, top, right, bottom = grid.corners
    try:
        to_map = pyproj.Transformer.from_crs("EPSG:4326", grid.crs.to_wkt(), always_xy=True)
        lon, lat = to_map.transform((left + right) / 2, (top + bottom) / 2, direction="INVERSE")
        sunwards_lon, sunwards_lat, _ = pyproj.Geod(ellps="WGS84").fwd(lon, lat, azimuth, STEP)
        # Both ends go the same way to the map, so that what the datums differ by cancels out.
        x, y = to_map.transform([lon, sunwards_lon], [lat, sunwards_lat])
    except (pyproj.exceptions.ProjError, pyproj.exceptions.GeodError):
        return None
    east, north = x[1] - x[0], y[1] - y[0]
    if grid.crs.is_geographic:
        east = (east + 180) % 360 - 180  # a step may cross the antimeridian
    return (east, north) if 0 < math.hypot(east, north) < math.inf else None
