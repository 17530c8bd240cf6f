"""What the references of a scene lead to expect in the rows of a strip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.ground.context import SceneContext
from cmcr_cli.ground.references import Expected, References
from cmcr_cli.removal.survey.reference_rows import COLUMNS, ReferenceReader, few_at_once
from cmcr_cli.removal.survey.tiles import Each
from cmcr_cli.runtime.allocator import trim_heap
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.patches import PATCH
from cmcr_cli.scene.span import Span

ROWS = 32
"""Rows that are predicted at once: features of many more pixels would be large."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Predicts the rows of strips; one after the other, not by several threads at once.

    Attributes:
        reader: Of the references.
        references: How they are read.
        numbers: What stands for none of them, and for each.
        context: That of the scene.
        todo: Columns at which the patches begin that are restored, for each strip.
        each: The builtin `map`, or one that works on several items at once.
    """

    reader: ReferenceReader
    references: References
    numbers: NDArray[np.uint8]
    context: SceneContext
    todo: Sequence[Sequence[int]]
    each: Each

    def of(self, index: int, span: Span) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
        """Predict what the patches of a strip show.

        Args:
            index: Number of the strip.
            span: Its rows of the scene.

        Returns:
            Spectrum, confidence and doubt (15, rows, width), and the number of the reference that counts most
            (rows, width), 0 where it is none. Both are 0 where no patch needs them.
        """
        down, across = self.reader.phase
        width = self.reader.width - across
        expected = np.zeros((len(BANDS) + 2, span.size, width), np.float16)
        source = np.zeros((span.size, width), np.uint8)
        windows = list(_windows(self.todo[index], across, width))
        # Windows begin with blocks of 2 x 2 pixels, which the scene may cut at its edges.
        start, stop = (span.start + down) // 2 * 2, span.stop + down + (span.stop + down) % 2
        for top in range(start, stop, ROWS) if windows else ():
            size = min(ROWS, stop - top)
            rows = self.reader.rows(top, size)
            first = top - down - span.start
            shown = slice(max(first, 0), min(first + size, span.size))

            def predict(window: tuple[int, int]) -> Expected:
                left, columns = window
                around = rows.around(left, columns)  # noqa: B023 (is used within the loop)
                views = rows.views(left, columns)  # noqa: B023
                box = top, left, size, columns  # noqa: B023
                return self.references.evaluate(self.context, *box, *around, views)

            for (left, columns), found in zip(windows, few_at_once(self.each, predict, windows), strict=True):
                place = slice(max(left - across, 0), min(left - across + columns, width))
                down_by, across_by = shown.start - first, place.start - left + across
                lines = slice(down_by, down_by + shown.stop - shown.start)
                inner = (..., lines, slice(across_by, across_by + place.stop - place.start))
                expected[:-2, shown, place] = found.spectrum[inner]
                expected[-2, shown, place] = found.confidence[inner]
                expected[-1, shown, place] = found.doubt[inner]
                source[shown, place] = self.numbers[found.source[inner]]
            trim_heap()
        return expected, source


def _windows(lefts: Sequence[int], phase: int, width: int) -> Iterator[tuple[int, int]]:
    """First columns and sizes of windows that hold all patches which begin at `lefts`, each column once.

    They are counted from where the cells begin, and their edges are the same whatever patches there are.
    """
    end = width + phase
    for left in range(0, end, COLUMNS):
        stop = min(left + COLUMNS, end)
        if any(each + phase < stop and each + phase + PATCH > left for each in lefts):
            yield left, stop - left + (stop - left) % 2
