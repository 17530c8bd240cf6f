"""Learning the ground of a scene from its clear pixels, strip by strip, while the scene is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.ground.cirrus import without_cirrus
from cmcr_cli.ground.context import ENOUGH, REGION, ContextBuilder
from cmcr_cli.ground.ground import Ground
from cmcr_cli.ground.pyramid import block_mean
from cmcr_cli.ground.radar_basis import MARGIN
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.removal.survey.sample_windows import SampleWindows
from cmcr_cli.removal.survey.tiles import Each, TileRow
from cmcr_cli.scene.bands import present
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import reflected
from cmcr_cli.scene.radar import Radar
from cmcr_cli.scene.span import Span

STRIP = 256
"""Rows that the context learns from at once, an even number."""


def strips(core: Span, phase: int) -> Iterator[Span]:
    """Divide rows into strips that end on even map rows, because the context works on blocks of 2 x 2 pixels.

    Args:
        core: The rows.
        phase: Rows by which cells begin before the scene.

    Yields:
        The strips.
    """
    top = core.start
    while top < core.stop:
        stop = min((top + phase) // STRIP * STRIP + STRIP - phase, core.stop)
        yield Span(top, stop)
        top = stop


class GroundLearner:
    """Collects what the clear pixels of a scene show; all of it at the end makes a `Ground`."""

    def __init__(
        self, optical: Optical, radar: Radar | None, phase: tuple[int, int], ratio: np.float32, each: Each
    ) -> None:
        """Learner of one scene.

        Args:
            optical: The scene.
            radar: Its radar.
            phase: Rows and columns by which its cells begin before it, see `CloudMap`.
            ratio: That of its cirrus.
            each: Works on several regions at once.
        """
        self._optical, self._radar, self._phase = optical, radar, phase
        self._ratio, self._each = ratio, each
        grid = optical.grid
        self._builder = ContextBuilder(grid.height + phase[0], grid.width + phase[1])
        self._samples = SampleWindows(grid.height, grid.width)
        self._valid = self._clear = 0  # pixels

    @property
    def takes_doubtful(self) -> bool:
        """Tell whether doubtful ground can still matter: not where enough of the scene is clear already."""
        grid = self._optical.grid
        return self._clear < ENOUGH * grid.height * grid.width

    def learn(
        self,
        span: Span,
        dn: NDArray[np.generic],
        valid: NDArray[np.bool_],
        seen: NDArray[np.bool_],
        doubtful: NDArray[np.uint8] | None,
    ) -> None:
        """Take one strip, whose blocks of 2 x 2 pixels are on even map pixels as cells are.

        Args:
            span: Its rows of the scene.
            dn: As they are stored (bands, rows, width).
            valid: Where there is a measurement (rows, width).
            seen: Where no cloud and no shadow hides the ground (rows, width).
            doubtful: How far the rest may teach, see `ContextBuilder.add`, (rows, width).
        """
        clear = valid & seen
        doubtful = None if doubtful is None else doubtful * valid
        self._valid += int(valid.sum())
        self._clear += int(clear.sum())
        optical, phase, top = self._optical, self._phase, span.start
        above = phase[0] if top == 0 else 0
        height, width = above + span.size, phase[1] + optical.grid.width
        if self._radar is not None:
            lines = reflected(top - above - MARGIN, height + 2 * MARGIN, optical.grid.height)
            db, radar_valid = self._radar.lines(lines)
        wide = reflected(-phase[1], width, optical.grid.width)[reflected(-MARGIN, width + 2 * MARGIN, width)]

        def learn(left: int) -> None:
            cols = slice(max(left - phase[1], 0), min(left + REGION - phase[1], optical.grid.width))
            pad = ((above, 0), (phase[1] if left == 0 else 0, 0))
            values = optical.reflectance(block_mean(np.pad(dn[:, :, cols], ((0, 0), *pad))))
            values *= block_mean(np.pad(valid[:, cols], pad)) == 1  # what a file holds elsewhere is no cloud
            seen = np.pad(clear[:, cols], pad)
            near = (..., wide[left : left + seen.shape[1] + 2 * MARGIN])
            around: tuple[Any, Any] = (None, None) if self._radar is None else (db[near], radar_valid[near])
            image = without_cirrus(values, self._ratio)
            vague = None if doubtful is None else np.pad(doubtful[:, cols], pad)
            self._builder.add(top + phase[0] - above, left, image, seen, *around, vague)

        for _ in self._each(learn, range(0, width, REGION)):
            pass

    def keep(self, tiles: TileRow) -> None:
        """Keep the sample windows that begin in a row of tiles, until all clouds are known.

        Args:
            tiles: The row of tiles.
        """
        self._samples.keep(tiles)

    def finish(self, cloud_map: CloudMap) -> Ground:
        """Fit the ground to all that was seen.

        Args:
            cloud_map: What covers the scene.

        Returns:
            What the scene has taught.
        """
        context = self._builder.finish(present(self._optical.names), self._clear / max(self._valid, 1))
        unmixing = self._samples.unmixing(
            context, cloud_map, self._optical, self._radar, self._ratio, self._each
        )
        return Ground(context, self._ratio, unmixing)
