"""Windows all over a scene, from which its statistics are learnt once it is known what is covered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.ground.cirrus import without_cirrus
from cmcr_cli.ground.context import SceneContext
from cmcr_cli.ground.radar_basis import MARGIN
from cmcr_cli.ground.unmixing import Unmixing
from cmcr_cli.removal.survey.cloud_map import CELL, CloudMap
from cmcr_cli.removal.survey.tiles import Each, TileRow
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import reflected
from cmcr_cli.scene.radar import Radar
from cmcr_cli.scene.span import Span

Array = NDArray[np.float32]

DOWN, ACROSS = (16, 32), (16, 64)
"""At most so many windows, of so many pixels each, along either axis: 14 MB of DN. Small scenes are looked at
whole."""


class SampleWindows:
    """Keeps the DN of windows of a scene of `height` x `width` pixels while the scene is read."""

    def __init__(self, height: int, width: int) -> None:
        """Windows of which none is kept yet.

        Args:
            height: Rows of the scene, pixels.
            width: Columns of the scene.
        """
        self._rows, self._columns = list(evenly_spread(height, *DOWN)), list(evenly_spread(width, *ACROSS))
        self._dn: dict[tuple[int, int], NDArray[Any]] = {}

    def keep(self, tiles: TileRow) -> None:
        """Keep the windows that begin in a row of tiles.

        Args:
            tiles: The row of tiles.
        """
        for first, rows in self._rows:
            if tiles.core.start <= first < tiles.core.stop:
                dn = tiles.rows(Span(first, first + rows))
                for left, columns in self._columns:
                    self._dn[first, left] = dn[..., left : left + columns].copy()

    def unmixing(
        self,
        context: SceneContext,
        cloud_map: CloudMap,
        optical: Optical,
        radar: Radar | None,
        ratio: np.float32,
        each: Each,
    ) -> Array:
        """Fit the matrices that separate ground from cloud to the residuals of covered pixels.

        Args:
            context: Context of the scene.
            cloud_map: What covers the scene.
            optical: The scene.
            radar: Its radar.
            ratio: What cirrus adds to the visible bands for 1 in B10.
            each: The builtin `map`, or one that works on several items at once.

        Returns:
            The matrices (levels, 13, 13).
        """
        found, grid = Unmixing(), optical.grid

        def residuals(first: int, rows: int) -> Iterable[Array]:
            """Residuals of windows side by side, each (13, n)."""
            # The context is asked for windows on even map pixels.
            top, height = _even(first, rows, cloud_map.phase[0])
            lines = reflected(top - MARGIN, height + 2 * MARGIN, grid.height)
            db, valid = (None, None) if radar is None else radar.lines(lines)
            treatment = cloud_map.pixels(first, rows)

            def residual(columns: tuple[int, int]) -> Array:
                dn = self._dn[first, columns[0]]
                covered = optical.valid(dn) & (treatment[:, columns[0] : sum(columns)] > 0)
                left, width = _even(*columns, cloud_map.phase[1])
                wide = reflected(left - MARGIN, width + 2 * MARGIN, grid.width)
                near = (None, None) if db is None or valid is None else (db[:, :, wide], valid[:, wide])
                place = top + cloud_map.phase[0], left + cloud_map.phase[1]
                spectrum, _ = context.evaluate(*place, height, width, *near)
                image = without_cirrus(optical.reflectance(dn), ratio)
                expected = spectrum[:, first - top :, columns[0] - left :][:, : dn.shape[1], : dn.shape[2]]
                return np.asarray((image - expected)[:, covered])

            return each(residual, self._columns)

        for strip in self._rows:
            for values in residuals(*strip):
                found.add(values)
        return found.matrices(context.covariance)


def _even(start: int, size: int, phase: int) -> tuple[int, int]:
    """(start, size) of the pixels grown to whole cells."""
    before = (start + phase) % CELL
    return start - before, -(-(before + size) // CELL) * CELL


def evenly_spread(size: int, count: int, length: int) -> Iterator[tuple[int, int]]:
    """Spread pieces evenly over an axis.

    Args:
        size: Pixels of the axis.
        count: Most pieces.
        length: Pixels of a piece.

    Yields:
        First pixel and length of each piece; together the whole axis if it is short.
    """
    if size <= count * length:
        count = -(-size // length)
    for index in range(count):
        start = index * max(size - length, 0) // max(count - 1, 1)
        yield start, min(length, size - start)
