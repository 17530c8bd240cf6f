"""Reading cloud masks from outside: cmcr's own, 0/1 rasters, and the classification (SCL) of L2A."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from scipy import ndimage

from cmcr_cli.errors import GridMismatchError, InputError
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.raster import Source, aligned, open_raster

MaskKind = Literal["mask", "SCL"]

CLEAR, COVERED, CIRRUS = 0, 1, 2
"""Codes of masks: ground, cloud or shadow, and cirrus so thin that the ground below is learnt from."""

SCL_COVERED = (3, 8, 9, 10)
"""Cloud shadow, cloud of medium and high probability, and cirrus, thicker one too."""

MEANINGS: dict[MaskKind, str] = {
    "mask": "0 (clear), 1 (covered) and 2 (thin cirrus)",
    "SCL": "SCL codes (3, 8, 9, 10 are covered)",
}

CODES = tuple(range(12))
"""All codes of SCL, and so of both kinds of mask."""

FULL_OVERLAP = 0.99
"""A 20 m mask of a 10 m crop may end within the last pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """An open cloud mask on the scene's grid; get one from `open_mask`. One handle: one thread."""

    source: Source
    kind: MaskKind
    nodata: float | None
    notes: tuple[str, ...]
    dilate: float = 0.0  # pixels

    @property
    def path(self) -> str:
        """The path that was opened."""
        return self.source.path

    def read(self, top: int, rows: int) -> NDArray[np.uint8]:
        """CLEAR, COVERED or CIRRUS (rows, width); CLEAR where the mask has nodata.

        Raises InputError when the file is damaged or holds values that are no codes.
        """
        return dilated(self._codes, self.source.grid.height, self.dilate, top, rows)

    def _codes(self, top: int, rows: int) -> NDArray[np.uint8]:
        codes = self.source.read(top, rows)[0]
        _check_codes(codes, self.nodata, self.path)
        if self.kind == "SCL":
            return np.where(np.isin(codes, SCL_COVERED), COVERED, CLEAR).astype(np.uint8)
        known = np.isin(codes, (COVERED, CIRRUS))
        if self.nodata is not None:
            known &= codes != self.nodata
        return np.where(known, codes, CLEAR).astype(np.uint8)


class CoverRows(Protocol):
    """Anything that says where the ground is covered, row by row."""

    def read(self, top: int, rows: int) -> NDArray[np.uint8]:
        """CLEAR, COVERED or CIRRUS: (rows, width)."""
        ...


def dilated(
    read: Callable[[int, int], NDArray[np.uint8]], height: int, pixels: float, top: int, rows: int
) -> NDArray[np.uint8]:
    """Rows of a mask of `height` rows, grown by `pixels` in every direction, what is COVERED over CIRRUS.

    `read(top, rows)` gives its codes.
    """
    around = math.ceil(pixels)
    first, stop = max(top - around, 0), min(top + rows + around, height)
    codes = read(first, stop - first)
    if pixels > 0:
        grown = np.zeros_like(codes)
        for code in (CIRRUS, COVERED):
            if (codes == code).any():
                grown[ndimage.distance_transform_edt(codes != code) <= pixels] = code
        codes = grown
    return codes[top - first : top - first + rows]


@contextmanager
def open_mask(path: str | Path, grid: Grid, *, dilate: float = 0.0) -> Iterator[Mask]:
    """Open a mask of one band on `grid`: 0 (clear), 1 (covered) and 2 (thin cirrus), or SCL codes 0 to 11.

    What is covered is grown by `dilate` pixels of `grid`.
    Pixels on another grid are resampled by nearest neighbour. Raises InputError for a file that cannot be
    used or holds other values, GridMismatchError when it does not cover `grid`.
    """
    with open_raster(path, "a cloud mask") as dataset:
        if dataset.count != 1:
            raise InputError(
                f"{path}: has {dataset.count} bands; expected a cloud mask of one. "
                "Take one band out with gdal_translate -b, and give it to --mask."
            )
        own = Grid.from_dataset(dataset)
        overlap = grid.overlap(own)
        if overlap < FULL_OVERLAP:
            raise GridMismatchError(
                f"{path}: the mask covers {overlap:.1%} of the Sentinel-2 scene; expected all of it. "
                "Give the mask of this scene to --mask, or use --mask auto."
            )
        with aligned(dataset, path, grid, (1,), resampling=Resampling.nearest) as source:
            kind = _kind(source, dataset.nodata)
            notes: tuple[str, ...] = (f"the mask is read as {MEANINGS[kind]}",)
            if source.warped:
                notes += (f"the mask is resampled (nearest) from {own.describe()} to the Sentinel-2 grid",)
            yield Mask(source=source, kind=kind, nodata=dataset.nodata, notes=notes, dilate=dilate)


def _kind(source: Source, nodata: float | None) -> MaskKind:
    """SCL as soon as a code above CIRRUS turns up, in a sample or else anywhere."""
    for codes in chain([source.sample()], source.strips()):
        _check_codes(codes, nodata, source.path)
        measured = codes if nodata is None else codes[codes != nodata]
        if (measured > CIRRUS).any():
            return "SCL"
    return "mask"


def _check_codes(codes: NDArray[Any], nodata: float | None, path: str) -> None:
    """Raise InputError when `codes` holds anything but nodata and the codes of either kind of mask."""
    strange = codes[~np.isin(codes, CODES)]
    if nodata is not None:
        strange = strange[(strange != nodata) & ~(np.isnan(strange) & np.isnan(nodata))]
    if strange.size:
        seen = ", ".join(f"{value:g}" for value in np.unique(strange)[:5])
        raise InputError(
            f"{path}: holds {seen}; expected 0 (clear) and 1 (covered), or SCL codes 0 to 11. "
            "Write the mask as 0 and 1, for example with gdal_calc --calc 'A>0'."
        )
