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
from cmcr_cli.scene.pixels.lines import Lines
from cmcr_cli.scene.radar import Radar
from cmcr_cli.scene.span import Span

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

    def shown(self, top: int, rows: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read full-width rows.

        Args:
            top: First row.
            rows: Number of rows.

        Returns:
            DN (bands, rows, width), and where the ground shows (rows, width).
        """
        dn = self.optical.read(top, rows)
        return dn, self.optical.valid(dn) & (self.cloud_map.pixels(top, rows) == 0)


@dataclass(frozen=True, slots=True)
class Around:
    """Full-width rows of the radar.

    Attributes:
        first: Row of the scene with which they begin.
        db: dB (2, rows, width).
        valid: Where there is radar (rows, width).
    """

    first: int
    db: NDArray[np.float32]
    valid: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rows:
    """Full-width rows of the references and the radar around a window.

    Attributes:
        top: First row of the window, counted from where the cells of the scene begin.
        height: Rows of the window.
        phase: Rows and columns of pixels by which the cells begin before the scene.
        size: Rows and columns of the scene.
        others: The references.
        first: Row of the scene with which the images begin.
        images: DN of each reference (bands, rows, width), and where it is clear (rows, width).
        radar: The radar; None: no radar.
    """

    top: int
    height: int
    phase: tuple[int, int]
    size: tuple[int, int]
    others: Sequence[OtherDate]
    first: int
    images: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]]
    radar: Around | None

    def views(self, left: int, width: int) -> list[View]:
        """Cut the references out, mirrored beyond the edges of the scene.

        Args:
            left: First column.
            width: Number of columns.

        Returns:
            Each reference with MARGIN pixels more on each side.
        """
        lines, columns = self._wider(left, width, MARGIN)
        lines = lines - self.first
        return [
            View(other.optical.reflectance(crop(dn, lines, columns)), crop(clear, lines, columns))
            for other, (dn, clear) in zip(self.others, self.images, strict=True)
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
        if self.radar is None:
            return None, None
        lines, columns = self._wider(left, width, RADAR_MARGIN)
        lines = lines - self.radar.first
        return crop(self.radar.db, lines, columns), crop(self.radar.valid, lines, columns)

    def _wider(self, left: int, width: int, margin: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the scene in a window with a margin."""
        axes = (self.top, self.height), (left, width)
        down, across = (
            reflected(start - phase - margin, count + 2 * margin, size)
            for (start, count), phase, size in zip(axes, self.phase, self.size, strict=True)
        )
        return down, across


class ReferenceReader:
    """Reads the rows of the references of a scene, best from the top down: what windows share is kept.

    Args:
        optical: The scene.
        radar: Its radar; None: no radar.
        cloud_map: What covers the scene.
        others: Its references.
    """

    def __init__(
        self, optical: Optical, radar: Radar | None, cloud_map: CloudMap, others: Sequence[OtherDate]
    ) -> None:
        """Reader of one scene with what covers it and its references."""
        self._optical, self._map, self.others = optical, cloud_map, others
        self._images = [Lines(other.shown) for other in others]
        self._radar = None if radar is None else Lines(radar.read)
        self.phase = cloud_map.phase
        self.height, self.width = (
            size + phase
            for size, phase in zip((optical.grid.height, optical.grid.width), self.phase, strict=True)
        )

    def rows(self, top: int, height: int, radar: Around | None = None) -> Rows:
        """Read rows of the references and the radar, as far as they are within the scene.

        Args:
            top: First row, an even number.
            height: Number of rows.
            radar: With RADAR_MARGIN more rows above and below, where it was read already.

        Returns:
            The rows.
        """
        grid = self._optical.grid
        span, following = self._needed(top, height, MARGIN)
        images: Any = [lines.window(*span, following) for lines in self._images]
        if radar is None and self._radar is not None:
            wider, following = self._needed(top, height, RADAR_MARGIN)
            radar = Around(wider.start, *self._radar.window(*wider, following))
        size = grid.height, grid.width
        return Rows(top, height, self.phase, size, self.others, span.start, images, radar)

    def _needed(self, top: int, height: int, margin: int) -> tuple[Span, int]:
        """Rows of the scene in a window with a margin, and the first that the one below it will show."""
        lines = reflected(top - self.phase[0] - margin, height + 2 * margin, self._optical.grid.height)
        return Span(int(lines.min()), int(lines.max()) + 1), max(top + height - self.phase[0] - margin, 0)

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
