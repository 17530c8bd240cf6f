"""Values of options from the text that the command line takes, where it does not know their type."""

from __future__ import annotations

from collections.abc import Sequence

from cmcr_cli.errors import OptionError
from cmcr_cli.scene.sun import Sun


def batch_size_of(text: str) -> int | None:
    """The number that `--batch-size` states, None for `auto`; OptionError for anything else."""
    if text == "auto":
        return None
    if not text.isdecimal():
        raise OptionError(f"--batch-size {text!r}: expected auto or a number")
    return int(text)


def bounds_of(text: str) -> tuple[float, float, float, float]:
    """West, south, east and north that `--bbox` states; OptionError unless it has four numbers."""
    try:
        west, south, east, north = (float(word) for word in text.split(","))
    except ValueError:
        raise OptionError(
            f"--bbox {text!r}: expected west,south,east,north in degrees, as in 4.6,53.1,4.8,53.2"
        ) from None
    return west, south, east, north


def sun_of_text(text: str) -> Sun:
    """The sun that `--sun` states; OptionError unless it has two numbers that are possible angles."""
    try:
        azimuth, elevation = (float(word) for word in text.split(","))
    except ValueError:
        raise OptionError(
            f"--sun {text!r}: expected AZIMUTH,ELEVATION in degrees, as in 152.3,41.0"
        ) from None
    return Sun(azimuth, elevation)


def names_of(text: str) -> tuple[str, ...]:
    """The names that `--bands` lists, with commas between them."""
    return tuple(text.split(","))


def creation_options_of(items: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE texts of `--co`, names in capitals; OptionError for anything else."""
    options = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not (name and equals and value):
            raise OptionError(f"--co {item}: expected NAME=VALUE, such as --co COMPRESS=ZSTD.")
        options[name.strip().upper()] = value.strip()
    return options
