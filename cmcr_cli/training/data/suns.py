"""Where the sun may have been in an image of the gathered layout, by its day or season and its place."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pyproj
import rasterio

from cmcr_cli.scene.references.dates import day_of, moment
from cmcr_cli.scene.sun import Sun, sun_of

_MONTHS = {"spring": (3, 4, 5), "summer": (6, 7, 8), "fall": (9, 10, 11), "winter": (12, 1, 2)}
"""Months of the seasons that SEN12MS-CR names its scenes after, in the north and the south."""

_SEASON = re.compile(f"ROIs[0-9]+_({'|'.join(_MONTHS)})_")
_ANY_YEAR, _MIDDLE = 2018, 15

DESCENT = 10.5
"""Hours of mean local solar time at which Sentinel-2 crosses the equator southwards."""

INCLINATION = 98.62
"""Degrees between the orbit of Sentinel-2 and the equator."""

FARTHEST = 80.0
"""Latitude beyond which the place counts as being there, since the orbit turns back near it."""

Suns = tuple[Sun, ...]


def sun_over(latitude: float, day: date) -> Sun | None:
    """Sun over a place when Sentinel-2 passes; it always passes at the same local solar time.

    Declination and equation of time are those of Spencer (1971, "Fourier series representation of the
    position of the sun").

    Args:
        latitude: Degrees north, -90 to 90.
        day: Day of the pass.

    Returns:
        The sun, to about 5 degrees below a latitude of 75: the time of a pass varies across the swath. None
        where it is below the horizon.
    """
    year = 2 * math.pi * (day.timetuple().tm_yday - 1) / 365
    turns = [(math.cos(n * year), math.sin(n * year)) for n in (1, 2, 3)]

    def series(mean: float, *terms: tuple[float, float]) -> float:
        return mean + sum(a * c + b * s for (a, b), (c, s) in zip(terms, turns, strict=False))

    declination = series(0.006918, (-0.399912, 0.070257), (-0.006758, 0.000907), (-0.002697, 0.00148))
    ahead = series(0.000075, (0.001868, -0.032077), (-0.014615, -0.040849))
    place = math.radians(max(-FARTHEST, min(FARTHEST, latitude)))
    # North of the equator the satellite is east of where it will cross it, where the sun is ahead.
    east = math.asin(math.tan(place) / -math.tan(math.radians(INCLINATION)))
    hour = math.radians(15 * (DESCENT - 12)) + east + ahead
    # The direction of the sun at the equator: in the meridian at noon, east of it, and to the north.
    noon = math.cos(declination) * math.cos(hour)
    eastwards, north = -math.cos(declination) * math.sin(hour), math.sin(declination)
    # Turned to the place: up, and to its north.
    up = math.sin(place) * north + math.cos(place) * noon
    northwards = math.cos(place) * north - math.sin(place) * noon
    azimuth = math.degrees(math.atan2(eastwards, northwards)) % 360
    return sun_of(azimuth, elevation=math.degrees(math.asin(up)))


def latitude_of(crs: str, x: float, y: float) -> float | None:
    """Find the latitude of a point on a map.

    Args:
        crs: Of the map, as text that PROJ knows.
        x: Of the point.
        y: Of the point.

    Returns:
        Degrees north; None where PROJ fails.
    """
    try:
        to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        latitude = float(to_degrees.transform(x, y)[1])
    except pyproj.exceptions.ProjError:
        return None
    return latitude if math.isfinite(latitude) else None


def suns_of_raster(path: Path) -> Suns:
    """Tell where the sun may have been in an image of SEN12MS-CR, whose folder is named after the season.

    Args:
        path: GeoTIFF of the image.

    Returns:
        The sun in the middle of each month of the season; nothing without a season, or without a place.
    """
    season = _SEASON.search(path.parent.name)
    if season is None:
        return ()
    with rasterio.open(path) as image:
        if image.crs is None:
            return ()
        latitude = latitude_of(image.crs.to_wkt(), *image.xy(image.height // 2, image.width // 2))
    return _suns(latitude, (date(_ANY_YEAR, month, _MIDDLE) for month in _MONTHS[season[1]]))


def suns_of_series(arrays: Any, images: int, height: int, width: int) -> list[Suns]:
    """Tell where the sun was in the images of an array file.

    Args:
        arrays: The open file, see `series_file`.
        images: Number of its images.
        height: Of an image, in pixels.
        width: Of an image, in pixels.

    Returns:
        The sun of each image; nothing where the file does not state day and place.
    """
    unknown: list[Suns] = [()] * images
    if not {"s2_dates", "crs", "transform"} <= {*arrays.files} or arrays["transform"].shape != (6,):
        return unknown
    across, _, left, _, down, top = (float(value) for value in arrays["transform"])
    latitude = latitude_of(str(arrays["crs"]), left + across * width / 2, top + down * height / 2)
    return [_of_day(latitude, str(day)) for day in arrays["s2_dates"]]


def _of_day(latitude: float | None, text: str) -> Suns:
    day = day_of(moment(text))  # None where only the month is stated, or nothing
    return () if day is None else _suns(latitude, [day])


def _suns(latitude: float | None, days: Iterable[date]) -> Suns:
    suns = () if latitude is None else (sun_over(latitude, day) for day in days)
    return tuple(sun for sun in suns if sun is not None)
