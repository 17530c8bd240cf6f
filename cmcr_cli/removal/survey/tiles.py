"""The rows of tiles in which the first pass reads a scene: each row of pixels once, from the top down.

Tiles begin at multiples of their side on the map, so a crop of a scene has the same tiles as the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from cmcr_cli.removal.survey.cloud_map import CELL
from cmcr_cli.runtime.allocator import trim_heap
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import reflected
from cmcr_cli.scene.pixels.lines import RollingRows
from cmcr_cli.scene.span import Span

Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""The builtin `map`, or one that works on several items at once."""

Progress = Callable[[float], None]
"""Called with the part of a pass that is done, 0 to 1."""

SIDE = 256
"""Rows of cells of 20 m in a row of tiles."""


@dataclass(frozen=True, slots=True)
class TileRow:
    """One row of tiles, and the rows of the scene around it.

    Attributes:
        core: Rows of the scene in the row of tiles.
        first: The first row of the scene in `dn`.
        dn: The scene as it is stored (bands, rows, width).
    """

    core: Span
    first: int
    dn: NDArray[Any]

    def rows(self, span: Span) -> NDArray[Any]:
        """Take rows of the scene.

        Args:
            span: The rows.

        Returns:
            Stored values (bands, rows, width).
        """
        return self.dn[:, span.within(self.first)]


def tile_rows(optical: Optical, above: int, below: int) -> Iterator[TileRow]:
    """Read a scene.

    Args:
        optical: The scene.
        above: Rows above a row of tiles that are wanted with it, as far as the scene has them.
        below: Rows below it.

    Yields:
        The rows of tiles; their arrays are overwritten when the next is asked for.
    """
    side, origin, height = SIDE * CELL, optical.grid.origin[0], optical.grid.height
    rows = RollingRows(optical.read, side + above + max(above, below))
    for start in range(origin // side * side, origin + height, side):
        core = Span(max(start - origin, 0), min(start - origin + side, height))
        ideal = reflected(start - origin - above, side + 2 * above, height)
        first = min(int(ideal.min()), core.start)
        stop = max(int(ideal.max()) + 1, min(start - origin + side + below, height))
        yield TileRow(core, first, rows.window(first, stop))
        trim_heap()
