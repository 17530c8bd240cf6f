"""Windows all over a scene, from which its statistics are learnt once it is known what is covered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.ground.cirrus import without_cirrus
from cmcr_cli.ground.context import MARGIN, SceneContext
from cmcr_cli.ground.unmixing import Unmixing
from cmcr_cli.removal.survey.cloud_map import CELL, Cover
from cmcr_cli.scene.bands import canonical
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import reflected
from cmcr_cli.scene.radar import Radar

Array = NDArray[np.float32]
Rows = tuple[int, int]
Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]

DOWN, ACROSS = (16, 32), (16, 64)
"""At most so many windows, of so many pixels each, along either axis: 14 MB of DN. Small scenes are looked at
whole."""


class Spots:
    """Keeps the DN of windows of a scene of `height` x `width` pixels while the scene is read."""

    def __init__(self, height: int, width: int) -> None:
        self._rows, self._columns = list(spread(height, *DOWN)), list(spread(width, *ACROSS))
        self._dn: dict[tuple[int, int], NDArray[Any]] = {}

    def keep(self, core: Rows, top: int, dn: NDArray[Any]) -> None:
        """Take what begins in the rows `core` of the scene from `dn`, full-width rows from `top`."""
        for first, rows in self._rows:
            if core[0] <= first < core[1]:
                lines = slice(first - top, first - top + rows)
                for left, columns in self._columns:
                    self._dn[first, left] = dn[:, lines, left : left + columns].copy()

    def unmixing(
        self,
        context: SceneContext,
        cover: Cover,
        optical: Optical,
        radar: Radar | None,
        visible: np.float32,
        each: Each,
    ) -> Array:
        """The matrices that part ground from cloud, from how covered pixels depart from the context."""
        found, grid = Unmixing(), optical.grid

        def departures(first: int, rows: int) -> Iterable[Array]:
            """Those of windows side by side, each (13, n)."""
            # The context is asked for windows on even map pixels.
            top, height = _even(first, rows, cover.phase[0])
            lines = reflected(top - MARGIN, height + 2 * MARGIN, grid.height)
            db, valid = (None, None) if radar is None else radar.lines(lines)
            covers = cover.pixels(first, rows)

            def departure(columns: Rows) -> Array:
                dn = self._dn[first, columns[0]]
                covered = optical.valid(dn) & (covers[:, columns[0] : sum(columns)] > 0)
                left, width = _even(*columns, cover.phase[1])
                wide = reflected(left - MARGIN, width + 2 * MARGIN, grid.width)
                near = (None, None) if db is None or valid is None else (db[:, :, wide], valid[:, wide])
                place = top + cover.phase[0], left + cover.phase[1]
                spectrum, _ = context.evaluate(*place, height, width, *near)
                image = canonical(optical.radiometry.reflectance(dn), optical.names)
                expected = spectrum[:, first - top :, columns[0] - left :][:, : dn.shape[1], : dn.shape[2]]
                return np.asarray((without_cirrus(image, visible) - expected)[:, covered])

            return each(departure, self._columns)

        for strip in self._rows:
            for values in departures(*strip):
                found.add(values)
        return found.matrices(context.covariance)


def _even(start: int, size: int, phase: int) -> Rows:
    """(start, size) of the pixels grown to whole cells."""
    before = (start + phase) % CELL
    return start - before, -(-(before + size) // CELL) * CELL


def spread(size: int, count: int, length: int) -> Iterator[Rows]:
    """(start, length) of at most `count` pieces of an axis, evenly spread over `size` pixels; all if few."""
    if size <= count * length:
        count = -(-size // length)
    for index in range(count):
        start = index * max(size - length, 0) // max(count - 1, 1)
        yield start, min(length, size - start)
