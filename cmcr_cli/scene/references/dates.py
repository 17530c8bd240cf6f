"""When an image was taken: by the metadata of its product, the tags of its file, or its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import PurePath

TIME_TAGS = (
    "PRODUCT_START_TIME",
    "ACQUISITION_DATE",
    "ACQUISITION_TIME",
    "ACQUISITIONDATETIME",
    "DATATAKE_1_DATATAKE_SENSING_START",
)
"""Tags that state when an image was taken, those of products first."""

WRITTEN_TAG = "TIFFTAG_DATETIME"
"""When a file was written, by definition; some programs store when the image was taken. It counts last."""

PRODUCT_NAMES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"S2[A-D]_MSIL(?:1C|2A)_(\d{8})T\d{6}",
        r"_V(\d{8})T\d{6}_\d{8}T\d{6}",  # products before 2016-12, which begin with when they were made
        r"(?<![A-Z0-9])T\d{2}[A-Z]{3}_(\d{8})T\d{6}",
        r"S2[A-D]_\d{2}[A-Z]{3}_(\d{8})_\d+_L(?:1C|2A)",
    )
)
"""Names of products, of their bands, and of items of catalogues."""

LONE_DATE = re.compile(r"(?<!\d)((?:19|20)\d{2})(-?)(\d{2})\2(\d{2})(?=T\d{6}|\D|$)")

FIRST_YEAR, LAST_YEAR = 1972, 2100
"""Other years are mistakes: there were no images of the ground before."""


def date_of(tags: Mapping[str, str], path: str) -> date | None:
    """Find the day on which an image was taken.

    Args:
        tags: Of the product or its file.
        path: Of the product or its file. The name of its folder counts if it is that of a product.

    Returns:
        The day, UTC; None where nothing tells.
    """
    stated = (_day(tags[name]) for name in TIME_TAGS if name in tags)
    found = next((day for day in stated if day is not None), None)
    return found or date_of_name(path) or _day(tags.get(WRITTEN_TAG, "").replace(":", "-", 2))


def date_of_name(path: str) -> date | None:
    """Find the day in a name: that of a product, or the only date in the name of a file.

    Args:
        path: Any path or address; of an address, what follows a question mark does not count.

    Returns:
        The day; None where the name has none.
    """
    place = PurePath(path.partition("?")[0].rstrip("/"))
    for name in (place.name, place.parent.name):
        for pattern in PRODUCT_NAMES:
            if (found := pattern.search(name)) and (day := _day(found[1])):
                return day
    days = {_day(f"{year}{month}{day}") for year, _, month, day in LONE_DATE.findall(place.name)}
    return days.pop() if len(days) == 1 else None


def _day(text: str) -> date | None:
    """The day of a date or time in ISO 8601, UTC where no zone is stated; None for another text."""
    try:
        time = datetime.fromisoformat(text.strip())
        day = (time if time.tzinfo is None else time.astimezone(UTC)).date()
    except (ValueError, OverflowError):
        return None
    return day if FIRST_YEAR <= day.year <= LAST_YEAR else None
