"""Reading a scene's references row by row, in windows on its blocks of 2 x 2 pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.ground.cirrus import without_cirrus
from cmcr_cli.ground.radar_basis import MARGIN as RADAR_MARGIN
from cmcr_cli.ground.reference_learning import Seen, seen
from cmcr_cli.ground.references import View
from cmcr_cli.ground.spectral_basis import MARGIN
from cmcr_cli.removal.survey.cloud_map import CLOUD, CloudMap
from cmcr_cli.removal.survey.tiles import Each
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import crop, reflected
from cmcr_cli.scene.radar import Radar

COLUMNS = 512
"""Pixels across of what is worked on at once."""

AT_ONCE = 4
"""Windows that are worked on, or wait to be taken over, at once: what is made of them takes memory."""


def few_at_once(each: Each, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """Work on items in their order as `each` does, but never hold more than AT_ONCE results.

    Args:
        each: The builtin `map`, or one that works on several items at once.
        work: Done on each item.
        items: All of them.

    Yields:
        The results.
    """
    for first in range(0, len(items), AT_ONCE):
        yield from each(work, items[first : first + AT_ONCE])


@dataclass(frozen=True, slots=True)
class OtherDate:
    """A reference as it is read.

    Attributes:
        optical: The open image, on the grid of the scene.
        cloud_map: What covers it.
    """

    optical: Optical
    cloud_map: CloudMap


@dataclass(frozen=True, slots=True)
class Rows:
    """Full-width rows of the references and the radar around a window.

    Attributes:
        top: First row of the window, counted from where the cells of the scene begin.
        height: Rows of the window.
        phase: Rows and columns of pixels by which the cells begin before the scene.
        width: Columns of the scene.
        others: The references.
        images: DN of each reference (bands, rows, width), with MARGIN more rows above and below.
        clear: Where each reference is clear (rows, width), the same rows.
        radar: dB (2, rows, width), with RADAR_MARGIN more rows above and below; None: no radar.
        radar_valid: Where there is radar, the same rows.
    """

    top: int
    height: int
    phase: tuple[int, int]
    width: int
    others: Sequence[OtherDate]
    images: Sequence[NDArray[Any]]
    clear: Sequence[NDArray[np.bool_]]
    radar: NDArray[np.float32] | None
    radar_valid: NDArray[np.bool_] | None

    def views(self, left: int, width: int) -> list[View]:
        """Cut the references out, mirrored beyond the edges of the scene.

        Args:
            left: First column.
            width: Number of columns.

        Returns:
            Each reference with MARGIN pixels more on each side.
        """
        columns = reflected(left - self.phase[1] - MARGIN, width + 2 * MARGIN, self.width)
        lines = np.arange(self.height + 2 * MARGIN)
        return [
            View(other.optical.reflectance(crop(image, lines, columns)), crop(clear, lines, columns))
            for other, image, clear in zip(self.others, self.images, self.clear, strict=True)
        ]

    def around(self, left: int, width: int) -> tuple[NDArray[np.float32] | None, NDArray[np.bool_] | None]:
        """Cut the radar out, mirrored beyond the edges of the scene.

        Args:
            left: First column.
            width: Number of columns.

        Returns:
            dB (2, rows, columns) and where they are valid, with RADAR_MARGIN pixels more on each side; None
            twice where there is no radar.
        """
        if self.radar is None or self.radar_valid is None:
            return None, None
        columns = reflected(left - self.phase[1] - RADAR_MARGIN, width + 2 * RADAR_MARGIN, self.width)
        lines = np.arange(self.height + 2 * RADAR_MARGIN)
        return crop(self.radar, lines, columns), crop(self.radar_valid, lines, columns)


class ReferenceReader:
    """Reads the rows of the references of a scene."""

    def __init__(
        self, optical: Optical, radar: Radar | None, cloud_map: CloudMap, others: Sequence[OtherDate]
    ) -> None:
        """Reader that has read nothing.

        Args:
            optical: The scene.
            radar: Its radar; None: no radar.
            cloud_map: What covers the scene.
            others: Its references.
        """
        self._optical, self._radar, self._map, self.others = optical, radar, cloud_map, others
        self.phase = cloud_map.phase
        self.height, self.width = (
            size + phase
            for size, phase in zip((optical.grid.height, optical.grid.width), self.phase, strict=True)
        )

    def rows(self, top: int, height: int) -> Rows:
        """Read rows of the references and the radar, mirrored beyond the edges of the scene.

        Args:
            top: First row, an even number.
            height: Number of rows.

        Returns:
            The rows.
        """
        size = self._optical.grid.height
        lines = reflected(top - self.phase[0] - MARGIN, height + 2 * MARGIN, size)
        first, count = int(lines.min()), int(lines.max() - lines.min()) + 1
        images, clear = [], []
        for other in self.others:
            dn = other.optical.read(first, count)
            shown = other.optical.valid(dn) & (other.cloud_map.pixels(first, count) == 0)
            if count < len(lines):  # some come again, mirrored at an edge of the scene
                dn, shown = dn[:, lines - first], shown[lines - first]
            images.append(dn)
            clear.append(shown)
        radar = valid = None
        if self._radar is not None:
            wide = reflected(top - self.phase[0] - RADAR_MARGIN, height + 2 * RADAR_MARGIN, size)
            radar, valid = self._radar.lines(wide)
        return Rows(
            top, height, self.phase, self._optical.grid.width, self.others, images, clear, radar, valid
        )

    def scene(self, top: int, height: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read rows of the scene itself. What lies beyond its edges is not clear.

        Args:
            top: First row.
            height: Number of rows.

        Returns:
            DN (bands, height, width), and where the ground shows (height, width).
        """
        lines = np.arange(top, top + height) - self.phase[0]
        inside = (lines >= 0) & (lines < self._optical.grid.height)
        lines = lines[inside]
        dn = self._optical.read(int(lines[0]), len(lines))
        clear = self._optical.valid(dn) & (self._map.pixels(int(lines[0]), len(lines)) < CLOUD)
        rows = (int(np.argmax(inside)), int(height - np.argmax(inside) - len(lines)))
        return np.pad(dn, ((0, 0), rows, (self.phase[1], 0))), np.pad(clear, (rows, (self.phase[1], 0)))

    def seen(
        self, rows: Rows, dn: NDArray[Any], clear: NDArray[np.bool_], left: int, ratio: np.float32, step: int
    ) -> Seen | None:
        """Look at a window of rows.

        Args:
            rows: Of references and radar.
            dn: The same rows of the scene.
            clear: Where its ground shows.
            left: First column.
            ratio: Of its cirrus.
            step: Every how many rows and columns a pixel is looked at: 1, or an even number.

        Returns:
            What is learnt from; None where nothing is clear.
        """
        width = min(COLUMNS, clear.shape[1] - left) // 2 * 2
        here = (..., slice(None, None, step), slice(left, left + width, step))
        if width == 0 or not clear[here].any():
            return None
        image = without_cirrus(self._optical.reflectance(dn[here]), ratio)
        around, views = rows.around(left, width), rows.views(left, width)
        return seen(rows.top, left, image, clear[here], *around, views, step)
