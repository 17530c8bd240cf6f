"""Every kind of warning that cmcr gives, and the list of those of one run.

They are Python warnings: the filters of the module `warnings` apply to them, by kind.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from cmcr_cli.addresses import public

PACKAGE = f"{Path(__file__).parent}{os.sep}"


class CmcrWarning(UserWarning):
    """Root of all warnings: the run goes on, and its result may be other than expected."""

    def __init__(self, *args: object) -> None:
        """Warning with a message, which tells no secrets of the addresses in it.

        Args:
            args: The message; other values are kept as they are.
        """
        super().__init__(*(public(each) if isinstance(each, str) else each for each in args))


class RadiometryWarning(CmcrWarning):
    """Scale or offset of the image are not stated or contradicted, or its pixels or its path are odd."""


class BandWarning(CmcrWarning):
    """What bands are is uncertain, layers are left out or of several dates, or pixels are not of 10 m."""


class RadarWarning(CmcrWarning):
    """Sentinel-1 was resampled, covers the scene in part, or its values are in doubt."""


class NoRadarWarning(RadarWarning):
    """There is no Sentinel-1."""


class ShiftWarning(RadarWarning):
    """Sentinel-1 is shifted against the image."""


class ReferenceWarning(CmcrWarning):
    """A reference was left out or resampled, has other bands than the scene, or is shifted against it."""


class MaskWarning(CmcrWarning):
    """A mask was read by certain codes, was resampled, or marks nothing."""


class ClearGroundWarning(CmcrWarning):
    """The scene has hardly any clear ground to learn from."""


class MemoryWarning(CmcrWarning):
    """GPU memory is low, and batches have become smaller."""


class ResumeWarning(CmcrWarning):
    """Nothing of an earlier run could be continued."""


class WarningLog:
    """The warnings of one run, each once, in the order in which they came. Threads may share it."""

    def __init__(self) -> None:
        self._kept: dict[tuple[type[CmcrWarning], str], CmcrWarning] = {}
        self._lock = Lock()

    def add(self, *found: CmcrWarning) -> None:
        """Keep warnings and issue them, as `warnings.warn` does, at the line that called cmcr.

        They are issued for every run: no run keeps quiet because an earlier one had the same warning.

        Args:
            found: The warnings; those that are kept already are ignored.

        Raises:
            CmcrWarning: A filter turns warnings of this kind into errors.
        """
        for each in found:
            key = type(each), str(each)
            with self._lock:
                new = key not in self._kept
                self._kept.setdefault(key, each)
            if new:
                warnings.warn_explicit(each, type(each), *_calling_line())

    def __iter__(self) -> Iterator[CmcrWarning]:
        """Iterate over the warnings so far."""
        with self._lock:
            return iter(tuple(self._kept.values()))


def _calling_line() -> tuple[str, int]:
    """File and line that called into the package, from the outermost of its frames."""
    frame = found = sys._getframe()
    while frame.f_back is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            found = frame.f_back
        frame = frame.f_back
    return found.f_code.co_filename, found.f_lineno
