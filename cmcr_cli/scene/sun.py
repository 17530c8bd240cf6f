"""Position of the sun during a scene, and its direction in the pixels of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from cmcr_cli.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cmcr_cli.scene.grid import Grid

AZIMUTH_TAG, ZENITH_TAG = "MEAN_SOLAR_AZIMUTH_ANGLE", "MEAN_SOLAR_ZENITH_ANGLE"
"""Tags of a stack; Earth Engine has properties of these names."""

STEP = 100.0
"""Metres walked towards the sun to find its direction: straight on any map, far above rounding."""


DESCENT = 10.5
"""Hours of mean local solar time at which Sentinel-2 crosses the equator southwards."""

INCLINATION = 98.62
"""Degrees between the orbit of Sentinel-2 and the equator."""


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


def sun_over(latitude: float, day: date) -> Sun | None:
    """Sun over a place when Sentinel-2 passes; it always passes at the same local solar time.

    Declination and equation of time are those of Spencer (1971, "Fourier series representation of the
    position of the sun").

    Args:
        latitude: Degrees north, -90 to 90.
        day: Day of the pass.

    Returns:
        The sun, to about 5 degrees: the time of a pass varies by a quarter of an hour across the swath. None
        where it is below the horizon.
    """
    year = 2 * math.pi * (day.timetuple().tm_yday - 1) / 365
    turns = [(math.cos(n * year), math.sin(n * year)) for n in (1, 2, 3)]

    def series(mean: float, *terms: tuple[float, float]) -> float:
        return mean + sum(a * c + b * s for (a, b), (c, s) in zip(terms, turns, strict=False))

    declination = series(0.006918, (-0.399912, 0.070257), (-0.006758, 0.000907), (-0.002697, 0.00148))
    ahead = series(0.000075, (0.001868, -0.032077), (-0.014615, -0.040849))
    place = math.radians(max(-80.0, min(80.0, latitude)))
    # North of the equator the satellite is east of where it will cross it, where the sun is ahead.
    east = math.asin(math.tan(place) / -math.tan(math.radians(INCLINATION)))
    hour = math.radians(15 * (DESCENT - 12)) + east + ahead
    height = math.sin(place) * math.sin(declination) + math.cos(place) * math.cos(declination) * math.cos(
        hour
    )
    eastwards = -math.cos(declination) * math.sin(hour)
    northwards = math.cos(place) * math.sin(declination) - math.sin(place) * math.cos(declination) * math.cos(
        hour
    )
    return sun_of(
        math.degrees(math.atan2(eastwards, northwards)) % 360, elevation=math.degrees(math.asin(height))
    )


def latitude_of(crs: str, x: float, y: float) -> float | None:
    """Find the latitude of a point on a map.

    Args:
        crs: Of the map, as text that PROJ knows.
        x: Of the point.
        y: Of the point.

    Returns:
        Degrees north; None where PROJ fails.
    """
    import pyproj  # as in _walked

    try:
        to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        latitude = float(to_degrees.transform(x, y)[1])
    except pyproj.exceptions.ProjError:
        return None
    return latitude if math.isfinite(latitude) else None


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
