"""Every error cmcr raises on purpose: what was found, what was expected, which option cures it."""

from __future__ import annotations

from cmcr_cli.addresses import public


class CmcrError(Exception):
    """Root of all handled errors; the command line prints the message alone and exits with `exit_code`."""

    exit_code = 1

    def __init__(self, *args: object) -> None:
        """Error with a message, which tells no secrets of the addresses in it.

        Args:
            args: The message; other values are kept as they are.
        """
        super().__init__(*(public(each) if isinstance(each, str) else each for each in args))


class InputError(CmcrError, OSError):
    """An input file is missing, unreadable, truncated, or holds something else than was expected."""


class RadiometryError(CmcrError, ValueError):
    """Bands, units, scale or offset of an input are not known or not plausible."""


class OutputError(CmcrError, OSError):
    """An output cannot be written, or exists and `--overwrite` was not given."""


class OptionError(CmcrError, ValueError):
    """Options that contradict each other or are out of range (a usage error)."""

    exit_code = 2


class WeightsError(CmcrError, OSError):
    """A weights file is missing, damaged, of another format or for another architecture."""

    exit_code = 3


class GridMismatchError(CmcrError, ValueError):
    """The rasters do not cover the same ground."""

    exit_code = 4


class OverlapError(GridMismatchError):
    """A raster does not cover the scene."""
