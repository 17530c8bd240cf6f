"""The cloud network at work on a scene, one row of tiles after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from cmcr_cli.errors import WeightsError
from cmcr_cli.ground.cirrus import B10, BLUE
from cmcr_cli.ground.context import WHOLE
from cmcr_cli.ground.pyramid import block_mean
from cmcr_cli.model.cloud_network import (
    FAR_MARGIN,
    NEAR_MARGIN,
    SQUARE,
    CloudNetwork,
    squares_of,
    sun_input,
)
from cmcr_cli.removal.survey.cloud_map import CELL, thin_cirrus
from cmcr_cli.removal.survey.tiles import SIDE, Each
from cmcr_cli.runtime.device import to_device, to_numpy
from cmcr_cli.scene.bands import present
from cmcr_cli.scene.masks.mask_codes import CLEAR, SHADOW, THICK, THIN
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import crop, mirrored, reflected
from cmcr_cli.scene.span import Span

Array = NDArray[np.float32]

WIDE = 512
"""Columns of cells of 20 m of a tile."""

ABOVE, BELOW = NEAR_MARGIN * CELL, FAR_MARGIN * CELL
"""Pixels around a row of tiles that must be read: what is farther above is kept as squares."""

COVERED = 0.4
"""Probability of cloud or shadow from which on a cell is covered. With 0.5, 0.4 and 0.3 in place of COVERED,
SHADED and RIM, 0.7 points more of the cloud and 1.4 of the shadow in eight scenes labelled by eye are missed,
and 0.2 points less of the ground of clear images is covered."""

SHADED = 0.35
"""Probability of shadow from which on a cell is in shadow: dark ground looks alike, so the network is seldom
sure."""

RIM = 0.2
"""Probability from which on a cell beside a cloud is covered as well. Shadows do not grow."""

RIM_REACH = 1
"""Cells by which a cloud may grow: its rim is thinner than any threshold."""

DOUBTED, SURE = 0.6, 0.9
"""Probability of shadow up to which ground in shadow is as good as clear ground to learn from where little is
clear, and from which on it is not learnt from; see `doubtful`."""

CLOUDLESS = 0.1
"""Probability of cloud from which on no ground in shadow is learnt from: it may be the rim of a cloud."""

UNKNOWN_SUN = np.zeros(4, np.float32)
"""Input of the network if the position of the sun is unknown."""

_SQUARE = SQUARE * CELL  # pixels
_FAR = FAR_MARGIN // SQUARE  # squares
_AT_ONCE = 64  # squares along a row that are made at once


@dataclass(frozen=True, slots=True)
class Detections:
    """Full-width rows of cells.

    Attributes:
        classes: CloudClass (rows, columns).
        certainty: Probability of the class, per cent.
        cirrus: What `thin_cirrus` finds.
        doubtful: What `doubtful` finds.
    """

    classes: NDArray[np.uint8]
    certainty: NDArray[np.uint8]
    cirrus: Array
    doubtful: NDArray[np.uint8]


class Detector:
    """Finds clouds and shadows row of tiles by row of tiles, from the top; keeps the squares above."""

    def __init__(self, network: CloudNetwork, optical: Optical, each: Each) -> None:
        """Detector at the top of the scene.

        Args:
            network: The cloud network.
            optical: The scene.
            each: The builtin `map`, or one that works on several items at once.
        """
        self._network, self._optical, self._each = network, optical, each
        self._device = next(network.parameters()).device
        self._names = to_device(present(optical.names).astype(np.float32), self._device)[None]
        self._sun = to_device(sun_vector(optical), self._device)[None]
        grid = optical.grid
        self._rows, self._columns = (
            (start // _SQUARE, (start + size - 1) // _SQUARE)
            for start, size in zip(grid.origin, (grid.height, grid.width), strict=True)
        )
        self._squares: dict[int, Array] = {}

    def find(self, core: Span, first: int, dn: NDArray[Any]) -> Detections:
        """Find the clouds in one row of tiles.

        Args:
            core: Its rows of the scene.
            first: The first row of the scene in `dn`.
            dn: The scene as it is stored (bands, rows, width), with the rows that the network looks at.

        Returns:
            What is found, from the first row of cells that `core` touches.
        """
        grid = self._optical.grid
        row0, col0 = grid.origin
        side, wide = SIDE * CELL, WIDE * CELL
        self._look_ahead((core.start + row0) // side * side // _SQUARE, first, dn)
        # Of tiles that hang over the edges of the scene, only the squares within it are looked at.
        down, across = _squared(core.start + row0, core.stop + row0), _squared(col0, col0 + grid.width)
        far = np.stack([self._squares[square] for square in self._mirrored(down, self._rows)], axis=1)
        rows = reflected(down.start - row0 - ABOVE, down.size + 2 * ABOVE, grid.height) - first

        def find(columns: Span) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Array, NDArray[np.uint8]]:
            near = reflected(columns.start - col0 - ABOVE, columns.size + 2 * ABOVE, grid.width)
            cells = self._cells(crop(dn, rows, near))
            squares = [square - self._columns[0] for square in self._mirrored(columns, self._columns)]
            probability = self._probability(cells, far[:, :, squares])
            classes, certainty = classified(probability)
            inner = slice(NEAR_MARGIN, -NEAR_MARGIN)
            cirrus = thin_cirrus(cells[B10, inner, inner], cells[BLUE, inner, inner])
            doubt = doubtful(probability[:, inner, inner], classes[inner, inner])
            return classes[inner, inner], certainty[inner, inner], cirrus, doubt

        lefts = range(across.start // wide * wide, across.stop, wide)
        tiles = [Span(max(left, across.start), min(left + wide, across.stop)) for left in lefts]
        found = list(self._each(find, tiles))
        inside = (
            slice((core.start + row0 - down.start) // CELL, None),
            slice((col0 - across.start) // CELL, None),
        )
        return Detections(*(np.concatenate(part, axis=1)[inside] for part in zip(*found, strict=True)))

    def _probability(self, cells: Array, far: Array) -> Array:
        seen, squares = to_device(cells, self._device)[None], to_device(far, self._device)[None]
        return to_numpy(_probability(self._network, seen, squares, self._names, self._sun))

    def _cells(self, dn: NDArray[Any]) -> Array:
        return self._optical.reflectance(block_mean(dn))

    def _look_ahead(self, top: int, first: int, dn: NDArray[Any]) -> None:
        """Make the squares that the row of tiles from square row `top` needs, and forget what none will."""
        grid = self._optical.grid
        row0, col0 = grid.origin
        start = max(self._squares, default=self._rows[0] - 1) + 1
        stop = min(top + SIDE // SQUARE + _FAR, self._rows[1] + 1)
        lines = reflected(start * _SQUARE - row0, (stop - start) * _SQUARE, grid.height) - first
        count = self._columns[1] + 1 - self._columns[0]

        @torch.inference_mode()
        def squares(left: int) -> Array:
            pixels = min(_AT_ONCE, count - left) * _SQUARE
            columns = reflected((self._columns[0] + left) * _SQUARE - col0, pixels, grid.width)
            cells = to_device(self._cells(crop(dn, lines, columns)), self._device)[None]
            return to_numpy(squares_of(cells)[0])

        if start < stop:
            made = np.concatenate(list(self._each(squares, range(0, count, _AT_ONCE))), axis=2)
            self._squares |= {row: made[:, row - start] for row in range(start, stop)}
        for row in [row for row in self._squares if row < top - SIDE // SQUARE - 2 * _FAR]:
            del self._squares[row]

    def _mirrored(self, pixels: Span, span: tuple[int, int]) -> list[int]:
        """Squares along an axis that a tile of these `pixels` looks at, those beyond `span` mirrored."""
        low, high = span
        squares = low + mirrored(-_FAR, high - low + 1 + 2 * _FAR, high - low + 1)
        first = pixels.start // _SQUARE - low
        return [int(square) for square in squares[first : first + pixels.size // _SQUARE + 2 * _FAR]]


def _squared(start: int, stop: int) -> Span:
    """Pixels grown to whole squares."""
    return Span(start // _SQUARE * _SQUARE, -(-stop // _SQUARE) * _SQUARE)


@torch.inference_mode()
def detect(
    network: CloudNetwork, cells: Array, names: NDArray[np.bool_], sun: Array
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Find clouds and shadows in an image of cells. Edges are mirrored.

    Args:
        network: The cloud network.
        cells: Reflectance in cells (13, h, w).
        names: Bands that the image has (13,).
        sun: Position of the sun (4,), as `sun_vector` returns it.

    Returns:
        CloudClass (h, w), and its probability in per cent.
    """
    device = next(network.parameters()).device
    height, width = cells.shape[1:]

    def with_margin(margin: int) -> Tensor:
        lines, columns = (
            reflected(-margin, -(-size // SQUARE) * SQUARE + 2 * margin, size) for size in (height, width)
        )
        return to_device(np.ascontiguousarray(crop(cells, lines, columns)), device)[None]

    squares = to_numpy(squares_of(with_margin(0))[0])
    rows, columns = (mirrored(-_FAR, size + 2 * _FAR, size) for size in squares.shape[1:])
    far = crop(squares, rows, columns)
    known, towards = (to_device(np.asarray(part, np.float32), device)[None] for part in (names, sun))
    near = with_margin(NEAR_MARGIN)
    probability = to_numpy(_probability(network, near, to_device(far, device)[None], known, towards))
    inner = slice(NEAR_MARGIN, NEAR_MARGIN + height), slice(NEAR_MARGIN, NEAR_MARGIN + width)
    classes, certainty = classified(probability)
    return classes[inner], certainty[inner]


@torch.inference_mode()
def _probability(network: CloudNetwork, cells: Tensor, squares: Tensor, names: Tensor, sun: Tensor) -> Tensor:
    """Probability (4, h, w) of the classes in cells (1, 13, h, w); `squares` reach FAR_MARGIN around them."""
    features = network.look_far(squares, names, sun)
    inner = slice(_FAR - NEAR_MARGIN // SQUARE, NEAR_MARGIN // SQUARE - _FAR)
    logits = network.look_near(cells, names, features[:, :, inner, inner])
    return torch.softmax(logits[0], dim=0)


def sun_vector(optical: Optical) -> Array:
    """Make the input of the network for the sun over a scene.

    Args:
        optical: The scene.

    Returns:
        Vector (4,), see `CloudNetwork`.
    """
    if optical.sun is None:
        return UNKNOWN_SUN
    return sun_input(*optical.sun.direction(optical.grid), optical.sun.elevation)


def classified(probability: Array) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Choose a class for each cell: covered if that is likely, or less likely beside a cloud.

    Args:
        probability: Probability of each class (4, h, w).

    Returns:
        CloudClass (h, w), and its probability in per cent.

    Raises:
        WeightsError: A probability is NaN, which every threshold would take for clear.
    """
    if not np.isfinite(probability).all():
        raise WeightsError(
            "the cloud network of the weights gave NaN; expected probabilities. They are damaged, or their "
            "training failed: choose others with --weights, or give a mask with --mask"
        )
    covered = 1 - probability[CLEAR]
    likeliest = (probability[THICK:].argmax(axis=0) + 1).astype(np.uint8)
    classes = np.where(covered > COVERED, likeliest, CLEAR).astype(np.uint8)
    classes[(classes == CLEAR) & (probability[SHADOW] > SHADED)] = SHADOW
    rim = (classes == CLEAR) & (covered > RIM)
    dilated = classes.copy()
    for kind in (THIN, THICK):
        near = ndimage.binary_dilation(classes == kind, iterations=RIM_REACH)
        dilated[near & rim] = kind
    certainty = np.where(dilated == CLEAR, probability[CLEAR], covered)
    return dilated, np.rint(100 * certainty).astype(np.uint8)


def doubtful(probability: Array, classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Weigh cells in shadow, which teach where little else is clear.

    In a scene full of large clouds the lit ground between them passes for shadow, if seldom for certain.

    Args:
        probability: Of each class (4, h, w).
        classes: The cells (h, w).

    Returns:
        Parts of WHOLE (h, w); 0 for cells that are not in shadow.
    """
    doubt = np.clip((SURE - probability[SHADOW]) / (SURE - DOUBTED), 0, 1)
    used = (classes == SHADOW) & (probability[THICK] + probability[THIN] < CLOUDLESS)
    return np.asarray(np.rint(WHOLE * doubt * used), np.uint8)
