"""Values of options from the text that the command line takes, where it does not know their type."""

from __future__ import annotations

from collections.abc import Sequence

from cmcr_cli.errors import OptionError
from cmcr_cli.scene.references.dates import FIRST_IMAGE, LAST_YEAR, day_of, moment
from cmcr_cli.scene.sun import Sun


def batch_size_of(text: str) -> int | None:
    """Read a batch size.

    Args:
        text: `auto` or a number.

    Returns:
        The number; None for `auto`.

    Raises:
        OptionError: It is neither.
    """
    if text == "auto":
        return None
    if not text.isdecimal():
        raise OptionError(f"--batch-size {text!r}: expected auto or a number")
    return int(text)


def bounds_of(text: str) -> tuple[float, float, float, float]:
    """Read a bounding box.

    Args:
        text: Four numbers with commas between.

    Returns:
        West, south, east and north.

    Raises:
        OptionError: There are not four numbers.
    """
    try:
        west, south, east, north = (float(word) for word in text.split(","))
    except ValueError:
        raise OptionError(
            f"--bbox {text!r}: expected west,south,east,north in degrees, as in 4.6,53.1,4.8,53.2"
        ) from None
    return west, south, east, north


def sun_of_text(text: str) -> Sun:
    """Read the position of the sun.

    Args:
        text: Azimuth and elevation with a comma between, degrees.

    Returns:
        The position.

    Raises:
        OptionError: It is not a possible position.
    """
    try:
        azimuth, elevation = (float(word) for word in text.split(","))
    except ValueError:
        raise OptionError(
            f"--sun {text!r}: expected AZIMUTH,ELEVATION in degrees, as in 152.3,41.0"
        ) from None
    return Sun(azimuth, elevation)


def check_datetime(text: str) -> None:
    """Check the time of a scene.

    Args:
        text: Day or time in ISO 8601.

    Raises:
        OptionError: It is neither, or no scene can be of that day.
    """
    day = day_of(moment(text))
    if day is None or day < FIRST_IMAGE:
        raise OptionError(
            f"--datetime {text!r}: expected the time at which S2 was taken, {FIRST_IMAGE} to {LAST_YEAR}, as "
            "in 2024-06-01T10:20:31Z, or the day alone, as in 2024-06-01"
        )


def names_of(text: str) -> tuple[str, ...]:
    """Read names of bands.

    Args:
        text: Names with commas between.

    Returns:
        The names.
    """
    return tuple(text.split(","))


def creation_options_of(items: Sequence[str]) -> dict[str, str]:
    """Read creation options of GDAL.

    Args:
        items: Each NAME=VALUE.

    Returns:
        Values by name.

    Raises:
        OptionError: One has no value.
    """
    options = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not (name and equals and value):
            raise OptionError(f"--co {item}: expected NAME=VALUE, such as --co COMPRESS=ZSTD.")
        options[name.strip().upper()] = value.strip()
    return options
