"""Where the sun may have been in an image of the gathered layout, by its day or season and its place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import rasterio

from cmcr_cli.scene.references.dates import day_of, moment
from cmcr_cli.scene.sun import Sun, latitude_of, sun_over

_MONTHS = {"spring": (3, 4, 5), "summer": (6, 7, 8), "fall": (9, 10, 11), "winter": (12, 1, 2)}
"""Months of the seasons that SEN12MS-CR names its scenes after, in the north and the south."""

_SEASON = re.compile(f"ROIs[0-9]+_({'|'.join(_MONTHS)})_")
_ANY_YEAR, _MIDDLE = 2018, 15

Suns = tuple[Sun, ...]


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
