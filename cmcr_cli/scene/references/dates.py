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
        r"S2[A-D]_MSIL(?:1C|2A)_(\d{8}T\d{6})",
        r"_V(\d{8}T\d{6})_\d{8}T\d{6}",  # products before 2016-12, which begin with when they were made
        r"(?<![A-Z0-9])T\d{2}[A-Z]{3}_(\d{8}T\d{6})",
        r"S2[A-D]_\d{2}[A-Z]{3}_(\d{8})_\d+_L(?:1C|2A)",
    )
)
"""Names of products, of their bands, and of items of catalogues."""

LONE_DATE = re.compile(r"(?<!\d)((?:19|20)\d{2})(-?)(\d{2})\2(\d{2})(T\d{6})?(?=\D|$)")

FIRST_YEAR, LAST_YEAR = 1972, 2100
"""Other years are mistakes: there were no images of the ground before."""

FIRST_IMAGE = date(2015, 6, 23)
"""Start of Sentinel-2A: no image of Sentinel-2 is older."""

Moment = datetime | date
"""A time, UTC, or a day where no more is known."""


def taken(tags: Mapping[str, str], path: str) -> Moment | None:
    """When an image was taken, as its product, its tags or its name state it; None where nothing tells.

    Args:
        tags: Of the product or its file.
        path: Of the product or its file. The name of its folder counts if it is that of a product.

    Returns:
        The day, UTC; None where nothing tells.
    """
    stated = [moment(tags[name]) for name in TIME_TAGS if name in tags]
    known = [each for each in (*stated, taken_of_name(path)) if each is not None]
    # Of statements of the same day the first with a time.
    same = (each for each in known if isinstance(each, datetime) and day_of(each) == day_of(known[0]))
    return next(same, known[0] if known else None)


def date_of(tags: Mapping[str, str], path: str) -> date | None:
    """Find the day on which an image was taken.

    Args:
        tags: Of the product or its file.
        path: As for `taken`.

    Returns:
        The day, UTC; that on which the file was written where nothing else tells, or None.
    """
    return day_of(taken(tags, path) or moment(tags.get(WRITTEN_TAG, "").replace(":", "-", 2)))


def date_of_name(path: str) -> date | None:
    """Find the day that a path states, see `taken_of_name`.

    Args:
        path: Any path or address.

    Returns:
        The day; None if there is none.
    """
    return day_of(taken_of_name(path))


def taken_of_name(path: str) -> Moment | None:
    """The time or day that a path states as names of products do, or as the only date in the name of a file.

    Args:
        path: Any path or address; of an address, what follows a question mark does not count.

    Returns:
        The day; None where the name has none.
    """
    place = PurePath(path.partition("?")[0].rstrip("/"))
    for name in (place.name, place.parent.name):
        for pattern in PRODUCT_NAMES:
            if (found := pattern.search(name)) and (stated := moment(found[1])):
                return stated
    texts = (year + month + day + time for year, _, month, day, time in LONE_DATE.findall(place.name))
    moments = [each for each in map(moment, texts) if each is not None]
    if len(set(map(day_of, moments))) != 1:
        return None
    return next((each for each in moments if isinstance(each, datetime)), moments[0])


def moment(text: str) -> Moment | None:
    """Read a day or a time in ISO 8601, UTC where no zone is stated.

    Args:
        text: Such as 2024-06-01, 20240601T102031 or 2024-06-01T10:20:31Z.

    Returns:
        The day or time; None: it is another text.
    """
    found: Moment
    try:
        found = date.fromisoformat(text.strip())
    except ValueError:
        try:
            time = datetime.fromisoformat(text.strip())
            found = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            return None
    return found if FIRST_YEAR <= found.year <= LAST_YEAR else None


def day_of(found: Moment | None) -> date | None:
    """Find the day of a time.

    Args:
        found: A time or a day; None: not known.

    Returns:
        The day; None: not known.
    """
    return found.date() if isinstance(found, datetime) else found
