"""Reading cloud masks from outside: cmcr's own, 0/1 rasters, and the class maps of other tools."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from scipy import ndimage

from cmcr_cli.errors import GridMismatchError, InputError
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.masks.mask_codes import CloudClass, Scheme, parse_codes
from cmcr_cli.scene.masks.mask_values import (
    UNKNOWN,
    classes_of,
    listed,
    measured,
    scheme_by_name,
    scheme_by_values,
)
from cmcr_cli.scene.raster import Source, aligned, open_raster
from cmcr_cli.warning_kinds import MaskWarning

__all__ = ["CloudClass", "CoverRows", "Mask", "dilated", "open_mask"]

FULL_OVERLAP = 0.99
"""A 20 m mask of a 10 m crop may end within the last pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """An open cloud mask on the scene's grid; get one from `open_mask`. One handle: one thread.

    Attributes:
        source: The open raster.
        scheme: What its values mean.
        nodata: Its nodata value; None: none.
        warnings: What there is to say about it.
        dilate: How far it is dilated, pixels along a column.
        aspect: Width of a pixel over its height.
    """

    source: Source
    scheme: Scheme
    nodata: float | None
    warnings: tuple[MaskWarning, ...]
    dilate: float = 0.0
    aspect: float = 1.0

    @property
    def path(self) -> str:
        """The path that was opened."""
        return self.source.path

    def read(self, top: int, rows: int) -> NDArray[np.uint8]:
        """Read full-width rows.

        Args:
            top: First row.
            rows: Number of rows.

        Returns:
            CloudClass codes (rows, width); CLEAR where the mask has nodata.

        Raises:
            InputError: The file is damaged or holds values that are not among its codes.
        """
        return dilated(self.undilated, self.source.grid.height, self.dilate, top, rows, self.aspect)

    def undilated(self, top: int, rows: int) -> NDArray[np.uint8]:
        """Read full-width rows as they are before they are dilated.

        Args:
            top: First row.
            rows: Number of rows.

        Returns:
            CloudClass codes (rows, width); CLEAR where the mask has nodata.

        Raises:
            InputError: As for `read`.
        """
        return _classes(self.source.read(top, rows), self.scheme, self.nodata, self.path)


class CoverRows(Protocol):
    """Anything that says where the ground is covered, row by row."""

    def read(self, top: int, rows: int) -> NDArray[np.uint8]:
        """Read full-width rows.

        Args:
            top: First row.
            rows: Number of rows.

        Returns:
            CloudClass codes (rows, width).
        """
        ...


def dilated(
    read: Callable[[int, int], NDArray[np.uint8]],
    height: int,
    pixels: float,
    top: int,
    rows: int,
    aspect: float = 1.0,
) -> NDArray[np.uint8]:
    """Rows of a mask whose classes grow into clear ground.

    Every class grows in every direction, and none over another: a pixel that has a class keeps it. Where
    several reach the same clear pixel, THICK goes before THIN, and THIN before SHADOW.

    Args:
        read: Gives the mask's codes, by first row and number of rows.
        height: Rows of the mask.
        pixels: How far its classes grow along a column.
        top: First row.
        rows: Number of rows.
        aspect: Width of a pixel over its height, both on the ground.

    Returns:
        CloudClass codes (rows, width).
    """
    around = math.ceil(pixels)
    first, stop = max(top - around, 0), min(top + rows + around, height)
    codes = read(first, stop - first)
    if pixels > 0:
        grown = codes.copy()
        sampling = None if aspect == 1 else (1.0, aspect)
        for code in (CloudClass.SHADOW, CloudClass.THIN, CloudClass.THICK):
            if (codes == code).any():
                near = ndimage.distance_transform_edt(codes != code, sampling) <= pixels
                grown[near & (codes == CloudClass.CLEAR)] = code
        codes = grown
    return codes[top - first : top - first + rows]


@contextmanager
def open_mask(
    path: str | Path, grid: Grid, *, dilate: float = 0.0, codes: str | None = None
) -> Iterator[Mask]:
    """Open a mask on `grid`; pixels on another grid are resampled by nearest neighbour.

    Args:
        path: Any raster that GDAL opens.
        grid: Of the scene.
        dilate: Pixels of `grid`, along a column, by which its classes are grown.
        codes: What its values mean, as `parse_codes` takes it; None: what its tags, name or values tell.

    Yields:
        The mask.

    Raises:
        InputError: The file cannot be used, holds other values than its codes, or they are not certain.
        GridMismatchError: It does not cover `grid`.
    """
    with open_raster(path, "a cloud mask") as dataset:
        scheme = scheme_by_name(dataset, str(path)) if codes is None else parse_codes(codes)
        _check_bands(path, dataset.count, scheme)
        own = Grid.from_dataset(dataset)
        overlap = grid.overlap(own)
        if overlap < FULL_OVERLAP:
            raise GridMismatchError(
                f"{path}: the mask covers {overlap:.1%} of the Sentinel-2 scene; expected all of it. "
                "Give the mask of this scene to --mask, or use --mask auto."
            )
        indexes = tuple(range(1, dataset.count + 1))
        with aligned(dataset, path, grid, indexes, resampling=Resampling.nearest) as source:
            nodata = dataset.nodata
            scheme = scheme or scheme_by_values(source, nodata)
            _check_nodata(path, nodata, scheme)
            found = [f"the mask is read as {scheme.title} codes: {scheme.meaning}"]
            if source.warped:
                found += [f"the mask is resampled (nearest) from {own.describe()} to the Sentinel-2 grid"]
            if not _covers(source, scheme, nodata):
                found += [
                    "the mask covers nothing: all of it is clear or nodata. If that is wrong, state what its "
                    "values mean with --mask-codes"
                ]
            warnings = tuple(map(MaskWarning, found))
            width, height = grid.metres
            yield Mask(
                source=source,
                scheme=scheme,
                nodata=nodata,
                warnings=warnings,
                dilate=dilate,
                aspect=width / height,
            )


def _check_bands(path: str | Path, count: int, scheme: Scheme | None) -> None:
    if scheme is not None and scheme.bands > 1:
        if count != scheme.bands:
            raise InputError(
                f"{path}: has {count} bands; expected {scheme.title}: {scheme.meaning}. Give the "
                "whole file to --mask, or other codes to --mask-codes."
            )
    elif count != 1:
        raise InputError(
            f"{path}: has {count} bands; expected a cloud mask of one. Take one band out with gdal_translate "
            "-b, and give it to --mask; MSK_CLASSI_B00 as a whole needs --mask-codes msk_classi."
        )


def _check_nodata(path: str | Path, nodata: float | None, scheme: Scheme) -> None:
    """Raise InputError when what is covered would pass for nodata, and stay in the image in silence."""
    if nodata is None:
        return
    meant = int(classes_of(scheme, np.full((scheme.bands, 1), nodata))[0])
    if meant not in (CloudClass.CLEAR, UNKNOWN):
        raise InputError(
            f"{path}: its nodata value is {nodata:g}, which means {CloudClass(meant).name.lower()} in "
            f"{scheme.title} codes; expected another, since nothing is removed at nodata. Take it off with "
            f'gdal_edit -unsetnodata, or say "{nodata:g}=nodata" and the other codes to --mask-codes.'
        )


def _covers(source: Source, scheme: Scheme, nodata: float | None) -> bool:
    """Whether any pixel is covered: in a sample, or else anywhere."""
    parts = chain([source.sample()], source.strips())
    return any(_classes(part, scheme, nodata, source.path).any() for part in parts)


def _classes(values: NDArray[Any], scheme: Scheme, nodata: float | None, path: str) -> NDArray[np.uint8]:
    """CloudClass codes (...) of values (bands, ...); InputError when one is not among the codes."""
    classes = classes_of(scheme, values)
    classes[~measured(values, nodata)] = CloudClass.CLEAR
    if (strange := classes == UNKNOWN).any():
        raise InputError(
            f"{path}: holds {listed(values[:, strange])}; expected {scheme.title} codes: {scheme.meaning}. "
            'Give the mask\'s own codes to --mask-codes, by name or as in "1=cloud,2=thin,3=shadow".'
        )
    return classes
