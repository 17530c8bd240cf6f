"""Learning how to read references: first a sample of pixels, then the residual of the readouts everywhere.

Both are taken window by window, in any order. The windows begin at multiples of WINDOW, so that a cell is
always summed in one piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.ground.context import SceneContext, fit_context
from cmcr_cli.ground.pyramid import fill
from cmcr_cli.ground.radar_basis import MARGIN as RADAR_MARGIN
from cmcr_cli.ground.radar_basis import RADAR_BASIS, radar_basis, rounded
from cmcr_cli.ground.reference_fit import FOLDS, Samples, classes_of, fit_readouts, mean_error
from cmcr_cli.ground.references import NODES, References, View
from cmcr_cli.ground.spectral_basis import LOOKS, MARGIN, looks, trust
from cmcr_cli.scene.bands import BANDS

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

WINDOW = 64
"""Pixels; windows begin at multiples of it."""

MOST_SAMPLES = 65536
"""Pixels that are fitted, about; more would take memory and hardly change the fit."""

MOST_CELLS = 700
"""Cells along the longer side of a scene; they are 2 px wide, or as wide as this asks for."""

_LARGE = 1024  # of wider or higher scenes not every row and column is looked at for the residual
_ARRAYS = "image", "radar", "references", "clear", "fold"  # of samples
_CLOSE = 4  # pixels between samples up to which all rows of windows are read
_PER_CELL = 2  # rows and columns that are looked at in each cell of large scenes
_SQUARE = 32  # pixels along the side of the squares that belong to one fold
_PAIRS = (0, 0), (1, 1), (0, 1)  # error of the context, of the readouts, and both
_RARE = 0.001  # part of the clear ground that may be anything
_FEW_CELLS = 20.0  # cells that the expectation counts for, where errors are measured


@dataclass(frozen=True, slots=True)
class Seen:
    """The pixels of a window of the scene, or those of every `step`-th row and column of it.

    Attributes:
        top: First row, a multiple of WINDOW.
        left: First column, likewise.
        image: Reflectance today (13, h, w).
        clear: Where the ground shows today (h, w).
        radar: `radar_basis` of the blocks of 2 x 2 pixels that hold them (1 + RADAR_BASIS, rows, columns),
            half as many as pixels if `step` is 1; None: no radar.
        looks: `looks` of each reference, each (LOOKS, h, w).
        trusted: Where each reference is clear and apart from what is not, each (h, w).
        step: 1, or an even number.
    """

    top: int
    left: int
    image: Floats
    clear: Bools
    radar: Floats | None
    looks: Sequence[Floats]
    trusted: Sequence[Bools]
    step: int = 1


def seen(
    top: int,
    left: int,
    image: Floats,
    clear: Bools,
    radar: Floats | None,
    radar_valid: Bools | None,
    views: Sequence[View],
    step: int = 1,
) -> Seen:
    """Look at a window.

    Args:
        top: First row in pixels, a multiple of WINDOW.
        left: First column, likewise.
        image: Reflectance (13, h, w) of the pixels that are looked at.
        clear: Where their ground shows (h, w).
        radar: VV and VH in dB of the whole window, with the margin of the radar; None where there is none.
        radar_valid: Where it holds data.
        views: The references, the whole window.
        step: Every how many rows and columns a pixel is looked at: 1, or an even number.

    Returns:
        What is learnt from.
    """
    basis = None
    if radar is not None and radar_valid is not None:
        some = slice(None, None, max(step // 2, 1))
        basis = radar_basis(radar, radar_valid, (..., some, some))
    shown = [looks(view.image, view.clear, step) for view in views]
    trusted = [trust(view.clear)[::step, ::step] == 1 for view in views]
    return Seen(top, left, rounded(image, 16), clear, basis, shown, trusted, step)


def _at_pixels(blocks: NDArray[Any]) -> NDArray[Any]:
    """Repeat values of blocks of 2 x 2 pixels for these."""
    return blocks.repeat(2, -2).repeat(2, -1)


class SampleCollector:
    """Collects the pixels on a lattice over the scene.

    Args:
        height: Rows of the scene, pixels.
        width: Columns of the scene.
        references: Number of references.
        guides: As in `Samples`.
    """

    def __init__(self, height: int, width: int, references: int, guides: tuple[int, ...] = ()) -> None:
        """Collector for a scene of that many rows and columns of pixels; `guides` as in `Samples`."""
        apart = np.sqrt(height * width / MOST_SAMPLES)
        # Steps divide windows. Of large scenes some rows of windows are left out: not all must be read.
        self.step = 2 ** int(np.ceil(np.log2(max(apart, 1))))
        if apart > _CLOSE:
            self.step = min(max(_CLOSE, 2 ** round(np.log2(np.sqrt(_CLOSE * apart)))), WINDOW)
        self._rows = int(max(np.ceil((apart / self.step) ** 2), 1))
        self._references, self._guides = references, guides
        self._square = min(max(min(height, width) // 16, 8), _SQUARE)
        self._found: dict[tuple[int, int], Samples] = {}

    def wants(self, top: int) -> bool:
        """Tell whether the lattice has points in a row of windows; others need not be read.

        Args:
            top: First row of the windows in pixels.

        Returns:
            Whether anything is taken from them.
        """
        return top // WINDOW % self._rows == 0

    def add(self, window: Seen) -> None:
        """Take those pixels of a window that are on the lattice and clear today.

        Args:
            window: From `seen`, looked at in steps of `step`. Windows may come in any order.
        """
        row, column = np.nonzero(window.clear)
        clear = np.array([each[row, column] for each in window.trusted]).reshape(self._references, -1).T
        values = np.array([each[:, row, column].T for each in window.looks], np.float32)
        radar = np.zeros((len(row), 1 + RADAR_BASIS), np.float32)
        if window.radar is not None:
            side = 2 if self.step == 1 else 1  # pixels that share what is known of the radar
            radar = window.radar[:, row // side, column // side].T
        square = [
            (at * self.step + start) // self._square
            for at, start in ((row, window.top), (column, window.left))
        ]
        self._found[window.top, window.left] = Samples(
            image=window.image[:, row, column].T,
            radar=radar,
            references=values.swapaxes(0, 1).astype(np.float16),
            clear=clear,
            fold=(square[0] + square[1]) % FOLDS,
        )

    def samples(self) -> Samples:
        """Join what was collected.

        Returns:
            All samples, in the order of the scene.
        """
        nothing = Samples(
            image=np.zeros((0, len(BANDS)), np.float32),
            radar=np.zeros((0, 1 + RADAR_BASIS), np.float32),
            references=np.zeros((0, self._references, LOOKS), np.float16),
            clear=np.zeros((0, self._references), np.bool_),
            fold=np.zeros(0, np.intp),
        )
        parts = [nothing, *(self._found[place] for place in sorted(self._found))]
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
        return Samples(**joined, guides=self._guides)


class ResidualCollector:
    """Sums per cell what context and readouts leave on clear ground."""

    def __init__(self, context: SceneContext, references: References, height: int, width: int) -> None:
        """Collector whose fields are still empty.

        Args:
            context: Context of the scene.
            references: Readouts, fitted.
            height: Rows of the scene, pixels.
            width: Columns of the scene.
        """
        self._context, self._references = context, references
        self._bare = replace(context, field=np.zeros((len(BANDS) + 1, 1, 1), np.float16))
        self._shape = tuple(-(-size // references.cell) for size in (height, width))
        self.step = max(references.cell // _PER_CELL, 2) if max(height, width) > _LARGE else 1
        # Residuals of the context and of the readouts: 13 bands each, and how much of the cell is known.
        self._sums = np.zeros((2, len(BANDS) + 1, *self._shape), np.float32)
        self._squares: dict[tuple[int, int], NDArray[np.float64]] = {}

    def wants(self, top: int) -> bool:
        """Tell whether a row of windows is of use: every one is.

        Args:
            top: First row of the windows in pixels.

        Returns:
            True.
        """
        return True

    def add(self, window: Seen) -> None:
        """Take the residuals of a window into account.

        Args:
            window: From `seen`, looked at in steps of `step`. Windows may come in any order.
        """
        step, cell, (image, clear) = self.step, self._references.cell, (window.image, window.clear)
        blocks = clear.shape if step > 1 else (clear.shape[0] // 2, clear.shape[1] // 2)
        basis = window.radar
        expected = self._bare.regressed(window.top, window.left, blocks, basis, max(step // 2, 1))
        if step == 1:
            expected = _at_pixels(expected)
            basis = None if basis is None else _at_pixels(basis)
        known, predicted = self._references.regressed(window.looks, window.trusted, basis)
        residuals = (clear, image - expected), (clear & known, image - predicted)
        parts = [np.concatenate([each, np.ones_like(each[:1])]) * where for where, each in residuals]
        both = clear & known
        scaled = [part[:-1][:, both] / self._context.std[:, None] for part in parts]
        products = [(scaled[a] * scaled[b]).sum(dtype=np.float64) for a, b in _PAIRS]
        self._squares[window.top, window.left] = np.array([*products, both.sum()])
        side = cell // step
        top, left = window.top // cell, window.left // cell
        for target, part in zip(self._sums, parts, strict=True):
            summed = np.add.reduceat(part, np.arange(0, part.shape[1], side), axis=1)
            summed = np.add.reduceat(summed, np.arange(0, part.shape[2], side), axis=2)
            target[:, top : top + summed.shape[1], left : left + summed.shape[2]] = summed / side**2

    def finish(self, present: Bools, optimism: float) -> References:
        """Fill the field, and measure the errors on clear ground that is hidden for the purpose.

        Args:
            present: Bands that the scene has (13,).
            optimism: Mean square error of the readouts within their fit, as a part of that outside.

        Returns:
            The references, with the residual of the whole scene and what they are worth by distance.
        """
        squares = [self._squares[place] for place in sorted(self._squares)]
        total = np.sum([np.zeros(len(_PAIRS) + 1), *squares], axis=0)
        count = max(total[3], 1.0)
        bands = int(present.sum())
        means = [np.where(sums[-1] > 0.5, sums[:-1] / np.maximum(sums[-1], 0.5), 0) for sums in self._sums]
        unit = self._context.std[:, None, None]
        scaled = [np.asarray(mean / unit, np.float32) for mean in means]
        known = (self._sums[0, -1] > 0.5) & (self._sums[1, -1] > 0.5)
        level = np.array([(scaled[a] * scaled[b])[:, known].sum() for a, b in _PAIRS]) / max(known.sum(), 1)
        within = np.maximum(total[:3] / count - level, 0)
        tally = np.outer(level, 1 - NODES) * _FEW_CELLS
        weight = np.full(len(NODES), _FEW_CELLS)
        for hidden in _hidden(self._sums[0, -1] > 0.5):
            errors, confidence = self._left(scaled, hidden & known, hidden)
            hats = np.maximum(1 - np.abs(confidence[:, None] - NODES) / (NODES[1] - NODES[0]), 0)
            tally += np.array([(errors[a] * errors[b]).sum(0) for a, b in _PAIRS]) @ hats
            weight += hats.sum(0)
        moments = (within[:, None] + tally / weight) / bands
        moments *= np.array([1, 1 / optimism, 1 / np.sqrt(optimism)])[:, None]
        if not total[3]:  # nothing is clear both today and on another date: what was assumed remains
            moments = self._references.moments
        field = fill(self._sums[1].copy(), self._sums[1, -1].copy(), self._references.cell)
        return replace(self._references, field=field.astype(np.float16), moments=moments.astype(np.float32))

    def _left(self, scaled: Sequence[Floats], asked: Bools, hidden: Bools) -> tuple[list[Floats], Floats]:
        """Errors (13, n) of both and confidence in cells that are `asked` for, without those `hidden`."""
        errors = []
        for sums, mean in zip(self._sums, scaled, strict=True):
            shown = sums * ~hidden
            filled = fill(shown.copy(), shown[-1].copy(), self._references.cell)
            errors.append((mean - filled[:-1] / self._context.std[:, None, None])[:, asked])
        return errors, filled[-1][asked]


def _hidden(clear: Bools) -> list[Bools]:
    """Cells to hide: where the scene's own holes would be if they were elsewhere, three times."""
    turned = [clear[::-1], clear[:, ::-1], clear[::-1, ::-1]]
    return [~each for each in turned if (clear & ~each).any() and (clear & each).any()]


def fit_references(
    image: Floats,
    clear: Bools,
    radar: Floats | None,
    radar_valid: Bools | None,
    present: Bools,
    views: Sequence[View],
) -> tuple[SceneContext, References]:
    """Context and references of an image in memory.

    Args:
        image: Reflectance (13, H, W); H and W are even.
        clear: Where the ground shows (H, W).
        radar: VV and VH in dB (2, H, W), None where there is none.
        radar_valid: Where it holds data (H, W).
        present: Bands that the image has (13,).
        views: The references, of the size of the image and without margins.

    Returns:
        Both.
    """
    context = fit_context(image, clear, radar, radar_valid, present)
    height, width = clear.shape
    wide = [padded(view) for view in views]
    if radar is not None and radar_valid is not None:
        around = ((RADAR_MARGIN, RADAR_MARGIN),) * 2
        radar, radar_valid = (
            np.pad(radar, ((0, 0), *around), mode="reflect"),
            np.pad(radar_valid, around, mode="reflect"),
        )

    def looked_at(step: int) -> Seen:
        some = (..., slice(None, None, step), slice(None, None, step))
        return seen(0, 0, image[some], clear[some], radar, radar_valid, wide, step)

    collector = SampleCollector(height, width, len(views))
    collector.add(looked_at(collector.step))
    bare, optimism = unfilled(collector.samples(), context, present, height, width)
    residuals = ResidualCollector(context, bare, height, width)
    residuals.add(looked_at(residuals.step))
    return context, residuals.finish(present, optimism)


def padded(view: View) -> View:
    """Give a reference the margin that `looks` needs, by reflection.

    Args:
        view: A reference of the size of an image.

    Returns:
        The reference with MARGIN pixels more on each side.
    """
    around = ((MARGIN, MARGIN),) * 2
    return View(
        np.pad(view.image, ((0, 0), *around), mode="reflect"), np.pad(view.clear, around, mode="reflect")
    )


def unfilled(
    samples: Samples, context: SceneContext, present: Bools, height: int, width: int
) -> tuple[References, float]:
    """Fit the readouts.

    Args:
        samples: Of the scene.
        context: That of the scene.
        present: Bands that the scene has (13,).
        height: Rows of the scene.
        width: Columns.

    Returns:
        References without field and errors, and the optimism of the readouts.
    """
    centres = classes_of(samples)
    readouts = fit_readouts(samples, centres, present, np.square(context.std))
    typical, optimism = mean_error(readouts, samples)
    cell = 2
    while max(height, width) > cell * MOST_CELLS:
        cell *= 2
    nothing = np.zeros((len(BANDS) + 1, 1, 1), np.float16)
    unmeasured = np.array([[1.0], [0.3], [0.0]], np.float32) * np.ones_like(NODES)
    found = References(readouts, nothing, cell, unmeasured, typical, centres, limits_of(samples.image))
    return found, optimism


def limits_of(image: Floats) -> Floats:
    """Find what reflectance may be expected at all below the clouds.

    Args:
        image: Reflectance of clear ground (n, 13).

    Returns:
        Least and greatest reflectance (2, 13): the range of nearly all of it, and half of that more on each
        side. Without any ground everything may be.
    """
    if not len(image):
        return np.array([[0.0], [2.0]], np.float32) * np.ones(len(BANDS), np.float32)
    low, high = np.quantile(image, (_RARE, 1 - _RARE), axis=0)
    beyond = 0.5 * (high - low)
    return np.asarray(np.stack([low - beyond, high + beyond]), np.float32)
