"""Scene context: the spectrum to expect at a pixel given its radar, learnt from the scene's own clear pixels.

Two parts add up. Both follow from sums over clear pixels, so one pass over the scene is enough:

1. a ridge regression of the spectrum on a fixed non-linear basis of multi-scale radar features (random
   features as in Rahimi and Recht 2008, "Weighted sums of random kitchen sinks"), for the scene and, shrunk
   towards that, for each region of about 5 km;
2. the residual of that regression per cell, filled by normalised convolution (Knutsson and Westin 1993) over
   a pyramid, so that cells without clear pixels borrow from farther away.

Everything is computed on blocks of 2 x 2 pixels (20 m) that start at even rows and columns of the scene.
Values are rounded to binary fractions before they are summed, so that the sums are exact and do not depend
on the order in which strips, threads or libraries take them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.ground.pyramid import block_mean, fill, hats, upsample
from cmcr_cli.ground.radar_basis import MARGIN, RADAR_BASIS, radar_basis, rounded
from cmcr_cli.ground.ridge import CONSTANT, SPECTRUM, learnt_prior, ridge, vapour_sums
from cmcr_cli.scene.bands import BANDS

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

REGION = 512
"""Pixels along the side of a region, which has a regression of its own; a multiple of every cell size."""

TYPICAL_MEAN: Floats = np.array(
    [150, 129, 121, 119, 140, 197, 226, 218, 245, 67, 1, 219, 157], np.float32
) / np.float32(1000)
"""Reflectance of clear land."""

TYPICAL_STD = np.array([17, 25, 26, 39, 35, 42, 50, 53, 59, 15, 1, 73, 72], np.float32) / np.float32(1000)
"""Its standard deviation, which is that of a scene without clear ground."""

STD_FLOOR = np.float32(0.01)

WHOLE = 64
"""Doubtful ground in parts of which it counts as clear ground does; a power of 2, so that sums are exact."""

FEW, ENOUGH = 0.01, 0.05
"""Clear part of a scene up to which doubtful ground counts, and from which on it does not count at all."""

_CELL = 4  # samples along the side of a cell
_LARGE = 4096  # scenes wider or higher than this sample every other block, which bounds memory and time
_NEIGHBOURS = (0.5, 1.0, 0.5)  # what the regions around count for in a region's regression
_TYPICAL_WEIGHT = 4.0  # blocks of clear ground that the mean of the prior counts for
# Clear blocks at which the regression of the prior counts about half, and not at all.
_PRIOR_HALF, _PRIOR_GONE = 100.0, 900.0
_COARSE = 4  # cells along the side of a cell of doubtful ground, which bounds memory
_RIDGE = 0.3
_RIDGE_BLOCKS = 4000.0  # neighbouring blocks are alike, so a few thousand of them teach little

# Channels of the sums: clear weight, bands, valid radar, radar basis.
_RADAR = slice(CONSTANT, CONSTANT + 1 + RADAR_BASIS)


@dataclass(frozen=True, slots=True)
class SceneContext:
    """The fitted context of one scene.

    Attributes:
        mean: Mean reflectance of the clear blocks (13,).
        covariance: Their covariance (13, 13).
        readout: (rows, columns, 13, 1 + basis) per region; maps the radar basis to a deviation from `mean`.
        field: Filled residual of 13 bands, and confidence, per cell (14, rows, columns). It has 16 bits, for
            it is the one part that grows with the scene.
        cell: Side of a cell, pixels.
    """

    mean: Floats
    covariance: Floats
    readout: Floats
    field: NDArray[np.float16]
    cell: int

    @property
    def std(self) -> Floats:
        """Standard deviation of the clear blocks per band (13,), at least STD_FLOOR."""
        return np.sqrt(np.maximum(np.diagonal(self.covariance), STD_FLOOR**2))

    def evaluate(
        self, top: int, left: int, height: int, width: int, radar: Floats | None, radar_valid: Bools | None
    ) -> tuple[Floats, Floats]:
        """Evaluate the context in a window. A pixel's result does not depend on the window.

        Args:
            top: First row of the window, even. The window may pass the edges of the scene.
            left: First column, even.
            height: Rows, even.
            width: Columns, even.
            radar: VV and VH in dB (2, height + 2 MARGIN, width + 2 MARGIN); None: no radar.
            radar_valid: Where the radar has data.

        Returns:
            Expected spectrum (13, height, width), reflectance of at least 0; and confidence (height, width):
            1 within clear ground, about one half 64 pixels away, 0 without any.
        """
        return upsampled(self.blocks(top, left, height, width, radar, radar_valid))

    def blocks(
        self, top: int, left: int, height: int, width: int, radar: Floats | None, radar_valid: Bools | None
    ) -> Floats:
        """Evaluate the context in blocks of 2 x 2 pixels, for `upsampled`: a fifth of the size.

        Args:
            top: As for `evaluate`.
            left: As for `evaluate`.
            height: As for `evaluate`.
            width: As for `evaluate`.
            radar: As for `evaluate`.
            radar_valid: As for `evaluate`.

        Returns:
            Spectrum and confidence (14, height / 2 + 2, width / 2 + 2), with one more block on each side.
        """
        basis = None if radar is None or radar_valid is None else radar_basis(radar, radar_valid)
        return self.from_basis(top, left, height, width, basis)

    def from_basis(self, top: int, left: int, height: int, width: int, basis: Floats | None) -> Floats:
        """Evaluate as `blocks` does, with the radar basis already computed.

        Args:
            top: First row of the window, even.
            left: First column, even.
            height: Rows, even.
            width: Columns, even.
            basis: `radar_basis` of the blocks; None: no radar.

        Returns:
            Blocks as `blocks` returns them.
        """
        rows = np.arange(-1, height // 2 + 1) + top // 2
        columns = np.arange(-1, width // 2 + 1) + left // 2
        used, down, across = hats(rows, columns, self.field.shape[1:], self.cell // 2)
        values = np.asarray(down @ self.field[:, *used] @ across.T, np.float32)
        values[:-1] += self.mean[:, None, None]
        if basis is not None:
            self._add_regression(values[:-1], rows, columns, basis)
        return np.maximum(values, 0, out=values)

    def regressed(
        self, top: int, left: int, shape: tuple[int, int], basis: Floats | None, step: int = 1
    ) -> Floats:
        """Evaluate the regression alone for blocks, without the residual of the ground nearby.

        Args:
            top: First row in pixels, an even number.
            left: First column, likewise.
            shape: Rows and columns of blocks.
            basis: Their `radar_basis`; None where there is no radar.
            step: Blocks from one row or column of them to the next.

        Returns:
            Reflectance (13, rows, columns).
        """
        values = np.broadcast_to(self.mean[:, None, None], (len(BANDS), *shape)).copy()
        if basis is not None:
            rows, columns = (
                np.arange(count) * step + start // 2 for count, start in zip(shape, (top, left), strict=True)
            )
            self._add_regression(values, rows, columns, basis)
        return values

    def _add_regression(
        self, values: Floats, rows: NDArray[np.intp], columns: NDArray[np.intp], basis: Floats
    ) -> None:
        """Add what the readouts around the blocks make of their basis to `values` (13, rows, columns)."""
        used, down, across = hats(rows, columns, self.readout.shape[:2], REGION // 2)
        for row, vertical in zip(self.readout[used], down.T, strict=True):
            for readout, horizontal in zip(row, across.T, strict=True):
                found = (readout @ basis.reshape(len(basis), -1)).reshape(-1, *basis.shape[1:])
                found *= vertical[:, None] * horizontal
                values += found


def block_bytes(size: int) -> int:
    """Compute the memory of the blocks of a window.

    Args:
        size: Side of the window in pixels.

    Returns:
        Bytes.
    """
    return (len(BANDS) + 1) * (size // 2 + 2) ** 2 * 4


def upsampled(blocks: Floats) -> tuple[Floats, Floats]:
    """Interpolate blocks to pixels.

    Args:
        blocks: As `SceneContext.blocks` returns them.

    Returns:
        Spectrum (13, height, width) and confidence (height, width).
    """
    values = upsample(upsample(blocks, axis=2), axis=1)
    return values[:-1], values[-1]


class ContextBuilder:
    """Collects, strip by strip, the sums from which the context of a scene follows."""

    def __init__(self, height: int, width: int) -> None:
        """Allocate the sums: 144 MB for 10 980 x 10 980, of which 44 MB are used by doubtful ground only.

        Scenes that are not `_LARGE` take at most 100 MB.

        Args:
            height: Rows of the scene.
            width: Columns.
        """
        self._step = 2 if max(height, width) > _LARGE else 1
        cells, regions = (
            tuple(-(-size // side) for size in (height, width)) for side in (self._cell, REGION)
        )
        self._cells = np.zeros((_RADAR.stop, *cells), np.float16 if self._step > 1 else np.float32)
        self._grams = np.zeros((*regions, _RADAR.stop, _RADAR.stop))
        self._vapour = np.zeros((*regions, 2))
        self._coarse = np.zeros((_RADAR.stop, *(-(-size // _COARSE) for size in cells)))
        self._doubtful = np.zeros((*regions, _RADAR.stop, _RADAR.stop))

    @property
    def _cell(self) -> int:
        """Pixels along the side of a cell."""
        return 2 * self._step * _CELL

    def add(
        self,
        top: int,
        left: int,
        optical: Floats,
        clear: Bools,
        radar: Floats | None,
        radar_valid: Bools | None,
        doubtful: NDArray[np.uint8] | None = None,
    ) -> None:
        """Add a window, each pixel exactly once. Threads may add windows that share no region.

        Args:
            top: First row, even.
            left: First column, a multiple of REGION.
            optical: Reflectance of blocks (13, h // 2, w // 2). h is even except for the last window; w is a
                multiple of REGION except at the right edge of the scene.
            clear: Where the ground is clear, in pixels (h, w).
            radar: VV and VH in dB (2, h + 2 MARGIN, w + 2 MARGIN), reflected at the edges of the scene;
                None: no radar.
            radar_valid: Where the radar has data.
            doubtful: How far pixels that are not clear may teach where little is (h, w), in parts of WHOLE;
                the same within a block, or 0: see `finish`.
        """
        bottom, width = top + clear.shape[0], clear.shape[1]
        for start in (top, *range(-(-(top + 1) // REGION) * REGION, bottom, REGION)):
            rows = slice(start - top, min(start // REGION * REGION + REGION, bottom) - top)
            taller = slice(rows.start, rows.stop + 2 * MARGIN)
            lattice = (
                ...,
                slice(-(start // 2) % self._step, None, self._step),
                slice(None, None, self._step),
            )
            for column in range(0, width, REGION):
                seen = block_mean(clear[rows, column : column + REGION])[lattice] == 1
                here = slice(rows.start // 2, rows.stop // 2), slice(column // 2, (column + REGION) // 2)
                region = start // REGION, (left + column) // REGION
                self._vapour[region] += vapour_sums(optical[:, *here][lattice])
                share = np.zeros(seen.shape)
                if doubtful is not None:
                    vague = doubtful[rows, column : column + REGION]
                    whole = (block_mean(vague > 0)[lattice] == 1) & ~seen
                    share[whole] = block_mean(vague)[lattice][whole] / WHOLE
                if not (seen.any() or share.any()):
                    continue
                values = np.zeros((_RADAR.stop, *seen.shape), np.float32)
                values[0] = 1
                values[SPECTRUM] = rounded(optical[:, *here][lattice], 16)
                if radar is not None and radar_valid is not None:
                    wider = (..., taller, slice(column, column + REGION + 2 * MARGIN))
                    values[_RADAR] = radar_basis(radar[wider], radar_valid[wider], (..., *lattice[1:]))
                values[:, ~seen & (share == 0)] = 0  # whatever a file holds there
                corner = -(-start // (2 * self._step)), (left + column) // (2 * self._step)
                if share.any():
                    self._accumulate(values, share, *corner, self._doubtful, self._coarse, _COARSE * _CELL)
                self._accumulate(values, seen, *corner, self._grams, self._cells, _CELL)

    def _accumulate(
        self,
        values: Floats,
        weight: NDArray[Any],
        row: int,
        column: int,
        grams: NDArray[np.float64],
        cells: NDArray[Any],
        size: int,
    ) -> None:
        """Add samples (channels, rows, columns) times `weight` to `grams`, and to `cells` of `size` samples.

        They start at `row`, `column` of the scene's samples.
        """
        used = weight > 0
        flat = values[:, used].astype(np.float64)
        side = REGION // (2 * self._step)
        grams[row // side, column // side] += (flat * weight[used]) @ flat.T
        first = row // size  # strips that cut a cell in two are exact where cells are not float16
        starts = np.maximum(np.arange(first, -(-(row + values.shape[1]) // size)) * size - row, 0)
        sums = np.add.reduceat(values * weight, starts, axis=1)
        sums = np.add.reduceat(sums, np.arange(0, values.shape[2], size), axis=2)
        left = column // size
        cells[:, first : first + sums.shape[1], left : left + sums.shape[2]] += sums.astype(cells.dtype)

    def finish(self, present: Bools, clear_share: float = 1.0) -> SceneContext:
        """Fit the context to all that was added.

        Args:
            present: Bands of the scene (13,); the others stay 0.
            clear_share: Part of the scene that is clear. If it is small, doubtful ground teaches too: where
                ground was taken for shadow, there is no other.

        Returns:
            The context.
        """
        prior = learnt_prior()
        typical = _single(prior.mean(present, self._vapour.sum(axis=(0, 1))))
        trust = float(np.clip((ENOUGH - clear_share) / (ENOUGH - FEW), 0, 1))
        grams = self._grams + trust * self._doubtful if trust > 0 else self._grams
        gram = grams.sum(axis=(0, 1), dtype=np.float64)
        total = gram[0, 0] + _TYPICAL_WEIGHT
        mean = (gram[0, SPECTRUM] + _TYPICAL_WEIGHT * typical) / total
        products = np.diag(np.square(TYPICAL_STD * present)) + np.outer(typical, typical)
        products = (gram[SPECTRUM, SPECTRUM] + _TYPICAL_WEIGHT * products) / total
        covariance = products - np.outer(mean, mean)
        few = _RIDGE_BLOCKS / self._step**2
        blocks = gram[0, 0] * self._step**2
        believed = max(1 - blocks / _PRIOR_GONE, 0) / (1 + blocks / _PRIOR_HALF)
        whole = ridge(gram, mean, believed * prior.above(mean, typical, present), _RIDGE, few)
        if not gram[0, 0]:  # the same everywhere, to the last bit, wherever the regions begin
            nowhere = np.zeros((len(BANDS) + 1, 1, 1), np.float16)
            return SceneContext(
                _single(mean), _single(covariance), _single(whole)[None, None], nowhere, self._cell
            )
        nearby = ndimage.convolve1d(grams, _NEIGHBOURS, axis=0, mode="constant")
        nearby = ndimage.convolve1d(nearby, _NEIGHBOURS, axis=1, mode="constant")
        readout = _single(ridge(nearby, mean, whole, _RIDGE, few))
        field = fill(*self._residual(_single(mean), readout, trust), self._cell).astype(np.float16)
        return SceneContext(_single(mean), _single(covariance), readout, field, self._cell)

    def _residual(self, mean: Floats, readout: Floats, trust: float) -> tuple[Floats, Floats]:
        """Sums per cell of what the regression leaves (14, rows, columns), and the clear share of cells."""
        _, *shape = self._cells.shape
        residual = np.zeros((len(BANDS) + 1, *shape), np.float32)
        weight = np.zeros(shape, np.float32)
        rows, columns = ((np.arange(size) + 0.5) * self._cell / 2 - 0.5 for size in shape)
        used, down, across = hats(rows, columns, readout.shape[:2], REGION // 2)
        for row, vertical in enumerate(down):
            sums = self._cells[:, row].astype(np.float32)
            if trust > 0:
                coarse = trust / _COARSE**2 * self._coarse[:, row // _COARSE]
                sums += coarse.astype(np.float32).repeat(_COARSE, axis=1)[:, : shape[1]]
            weight[row] = sums[0]
            local = np.tensordot(across, np.tensordot(vertical, readout[used], 1), 1)
            residual[:-1, row] = (
                sums[SPECTRUM] - mean[:, None] * sums[0] - np.einsum("cij,jc->ic", local, sums[_RADAR])
            )
        samples = np.float32(_CELL**2)
        return residual / samples, weight / samples


def fit_context(
    optical: Floats,
    clear: Bools,
    radar: Floats | None,
    radar_valid: Bools | None,
    present: Bools,
    doubtful: NDArray[np.uint8] | None = None,
) -> SceneContext:
    """Fit the context of an image in memory.

    Args:
        optical: Reflectance (13, H, W).
        clear: Where the ground is clear (H, W).
        radar: VV and VH in dB (2, H, W); None: no radar.
        radar_valid: Where the radar has data (H, W).
        present: Bands of the image (13,).
        doubtful: As for `ContextBuilder.add` (H, W).

    Returns:
        The context.
    """
    builder = ContextBuilder(*clear.shape)
    if radar is not None and radar_valid is not None:
        radar = np.pad(radar, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)), mode="reflect")
        radar_valid = np.pad(radar_valid, MARGIN, mode="reflect")
    builder.add(0, 0, block_mean(optical), clear, radar, radar_valid, doubtful)
    return builder.finish(present, float(clear.mean()))


def _single(values: NDArray[Any]) -> Floats:
    return values.astype(np.float32)
