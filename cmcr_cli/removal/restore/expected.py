"""What the references of a scene lead to expect in the rows of a strip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cmcr_cli.ground.context import SceneContext
from cmcr_cli.ground.references import References
from cmcr_cli.removal.survey.reference_rows import COLUMNS, Around, ReferenceReader, few_at_once
from cmcr_cli.removal.survey.tiles import Each
from cmcr_cli.runtime.allocator import trim_heap
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.patches import PATCH
from cmcr_cli.scene.span import Span

ROWS = 32
"""Rows that are predicted at once: features of many more pixels would be large."""


Prediction = tuple[NDArray[np.float16], NDArray[np.uint8]]
"""Spectrum, confidence and doubt of a window (15, rows, columns), and the number of what counts most."""


class Box(NamedTuple):
    """A window, counted from where the cells of the scene begin.

    Attributes:
        top: First row.
        left: First column.
        height: Number of rows.
        width: Number of columns.
    """

    top: int
    left: int
    height: int
    width: int


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
        shared: Predictions that the strip below needs again.
    """

    reader: ReferenceReader
    references: References
    numbers: NDArray[np.uint8]
    context: SceneContext
    todo: Sequence[Sequence[int]]
    each: Each
    shared: dict[Box, Prediction] = field(default_factory=dict, init=False)

    def of(
        self, index: int, span: Span, radar: Around | None
    ) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
        """Predict what the patches of a strip show.

        Args:
            index: Number of the strip.
            span: Its rows of the scene.
            radar: Around them; None where there is none.

        Returns:
            Spectrum, confidence and doubt (15, rows, width), and the number of the reference that counts most
            (rows, width), 0 where it is none. Both are 0 where no patch needs them.
        """
        down, across = self.reader.phase
        width = self.reader.width - across
        expected = np.zeros((len(BANDS) + 2, span.size, width), np.float16)
        source = np.zeros((span.size, width), np.uint8)
        windows = list(_windows(self.todo[index], across, width))
        above = dict(self.shared)
        self.shared.clear()
        # Windows begin with blocks of 2 x 2 pixels, which the scene may cut at its edges.
        start, stop = (span.start + down) // 2 * 2, span.stop + down + (span.stop + down) % 2
        for top in range(start, stop, ROWS) if windows else ():
            size = min(ROWS, stop - top)
            first = top - down - span.start
            shown = slice(max(first, 0), min(first + size, span.size))
            boxes = [Box(top, left, size, columns) for left, columns in windows]
            for box, found in zip(boxes, self._predicted(boxes, above, radar), strict=True):
                left, columns = box.left - across, box.width
                place = slice(max(left, 0), min(left + columns, width))
                down_by, across_by = shown.start - first, place.start - left
                lines = slice(down_by, down_by + shown.stop - shown.start)
                inner = (..., lines, slice(across_by, across_by + place.stop - place.start))
                expected[:, shown, place], source[shown, place] = found[0][inner], found[1][inner]
                if stop - top <= ROWS:  # the strip below begins with these windows, if it overlaps that far
                    self.shared[box] = found
            trim_heap()
        return expected, source

    def _predicted(
        self, boxes: Sequence[Box], above: dict[Box, Prediction], radar: Around | None
    ) -> Iterator[Prediction]:
        """Predict windows that lie side by side, those but that are known from the strip `above`."""
        new = [box for box in boxes if box not in above]
        if new:
            rows = self.reader.rows(new[0].top, new[0].height, radar)

        def predict(box: Box) -> Prediction:
            views, around = rows.views(box.left, box.width), rows.around(box.left, box.width)
            found = self.references.evaluate(
                self.context, box.top, box.left, box.height, box.width, *around, views
            )
            planes = found.spectrum, found.confidence[None], found.doubt[None]
            # numpy takes nine times as long to round to 16 bits.
            rounded = torch.from_numpy(np.concatenate(planes)).half().numpy()
            return rounded, self.numbers[found.source]

        made = few_at_once(self.each, predict, new)
        for box in boxes:
            yield above.pop(box) if box in above else next(made)


def _windows(lefts: Sequence[int], phase: int, width: int) -> Iterator[tuple[int, int]]:
    """First columns and sizes of windows that hold all patches which begin at `lefts`, each column once.

    They are counted from where the cells begin, and their edges are the same whatever patches there are.
    """
    end = width + phase
    for left in range(0, end, COLUMNS):
        stop = min(left + COLUMNS, end)
        if any(each + phase < stop and each + phase + PATCH > left for each in lefts):
            yield left, stop - left + (stop - left) % 2
