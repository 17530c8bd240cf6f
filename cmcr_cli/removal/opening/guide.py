"""A guide: a raster of any bands on the ground of a scene, opened as one more reference, without a date.

A land cover map, an index, a mosaic or elevation says which pixels are alike. Its bands become columns of the
regressions that references have. What they mean does not matter, so they are scaled by their own mean and
standard deviation, and written as an image of as many bands in place of a reference's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from cmcr_cli.errors import InputError
from cmcr_cli.ground.spectral_basis import USED, reflectance_of
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.pixels.warped import warped_windows, window_around
from cmcr_cli.scene.radiometry import Radiometry
from cmcr_cli.scene.raster import Source, open_raster
from cmcr_cli.scene.references.listing import LeftOut
from cmcr_cli.scene.references.reference import Reference, label_of

MOST_CLASSES = 64
"""Distinct values of one band of integers up to which they are classes, not quantities."""

RADIOMETRY = Radiometry(offset=-4000)
"""Of the columns as they are read: they fit into 16 bits with it, and 0 is left for what is not known."""

EMPTY = 0

PLACES, SIDE = 6, 48
"""Windows along each axis that mean, spread and classes are taken from, and their side in pixels."""


@dataclass(frozen=True, slots=True)
class Columns:
    """How pixels of a guide become columns: classes by a table, quantities by their own scale.

    Attributes:
        codes: Classes that occur, ascending; None: the guide has quantities.
        table: Columns of each class (classes, columns).
        mean: Of the bands (bands,).
        weights: Columns as combinations of the bands (columns, bands).
    """

    codes: NDArray[np.float64] | None
    table: NDArray[np.float32]
    mean: NDArray[np.float64]
    weights: NDArray[np.float64]

    @property
    def count(self) -> int:
        """Number of columns."""
        return len(self.weights)

    def of(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Make the columns of pixels.

        Args:
            values: Pixels (bands, n).

        Returns:
            Columns (columns, n), typically from -1 to 1; 0 for a class that was not seen before.
        """
        if self.codes is None:
            return np.asarray(self.weights @ (values - self.mean[:, None]), np.float32)
        place = np.searchsorted(self.codes, values[0]).clip(max=len(self.codes) - 1)
        known = self.codes[place] == values[0]
        return np.asarray(self.table[place].T * known, np.float32)


def columns_of(values: NDArray[np.float64], *, classes: bool) -> Columns | None:
    """Find out how the pixels of a guide become columns.

    Args:
        values: Pixels that are spread over the scene (bands, n).
        classes: Whether one band of few values has classes.

    Returns:
        At most as many columns as a reference has bands; of more, the first principal components. None
        where all pixels are the same.
    """
    if classes and len(values) == 1:
        codes = np.unique(values)
        if len(codes) <= MOST_CLASSES:
            members = (values == codes[:, None]).astype(np.float64)
            mean, weights = _scaled(members)
            table = np.eye(len(codes)) - mean
            return (
                Columns(codes, (table @ weights.T).astype(np.float32), mean, weights)
                if len(weights)
                else None
            )
    mean, weights = _scaled(values)
    return Columns(None, np.zeros((0, 0), np.float32), mean, weights) if len(weights) else None


def _scaled(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (bands,) and weights (columns, bands) of columns with a standard deviation of one half."""
    mean, std = values.mean(axis=1), values.std(axis=1)
    varies = np.flatnonzero(std > 1e-9 * np.maximum(np.abs(mean), 1e-3))
    weights = np.zeros((len(varies), len(values)))
    weights[np.arange(len(varies)), varies] = 0.5 / std[varies]
    if len(varies) > len(USED):
        _, vectors = np.linalg.eigh(np.corrcoef(values[varies]))
        main = vectors[:, : -len(USED) - 1 : -1].T
        strongest = np.take_along_axis(main, np.abs(main).argmax(axis=1, keepdims=True), axis=1)
        weights = main * np.sign(strongest) @ weights
    return mean, weights


@contextmanager
def open_guide(path: str | None, scene: Optical) -> Iterator[Reference | LeftOut | None]:
    """Open a guide on the grid of a scene.

    Args:
        path: Any raster that GDAL reads; None: there is none.
        scene: The open scene.

    Yields:
        The guide as a reference; why it is left out; or None.

    Raises:
        InputError: It is no raster, or has no place on the ground.
    """
    if path is None:
        yield None
        return
    with open_raster(path, "a guide, a raster of any bands") as dataset:
        if any(np.issubdtype(np.dtype(each), np.complexfloating) for each in dataset.dtypes):
            raise InputError(f"{path}: holds complex numbers; expected a guide of integers or fractions.")
        own = Grid.from_dataset(dataset)
        shown = [band for band, use in enumerate(dataset.colorinterp, 1) if use != ColorInterp.alpha]
        values = _sample(dataset, window_around(scene.grid, own), shown)
        if not values.size:
            yield LeftOut(path, "shows nothing of the ground of the scene")
            return
        columns = columns_of(values, classes=np.issubdtype(np.dtype(dataset.dtypes[0]), np.integer))
        if columns is None:
            yield LeftOut(path, "is the same all over the scene")
            return
        resampling = Resampling.bilinear if columns.codes is None else Resampling.nearest
        warped = warped_windows(
            lambda window, bands: _read(dataset, bands, window),
            *(own, scene.grid),
            fill=np.nan,
            resampling=resampling,
            unified=False,
        )
        count = columns.count

        def window(window: Window, bands: Sequence[int]) -> NDArray[np.uint16]:
            values = warped(window, shown)
            known = np.isfinite(values).all(axis=0)
            found = np.full((count, *known.shape), EMPTY, np.uint16)
            made = reflectance_of(columns.of(values[:, known]))
            found[:, known] = RADIOMETRY.dn(made, found.dtype, EMPTY)
            return found[list(bands)]

        names = tuple(BANDS[band] for band in USED[:count])
        optical = Optical(
            source=Source(path, dataset, scene.grid, tuple(range(1, count + 1)), warped=False, window=window),
            names=names,
            radiometry=RADIOMETRY,
            offset_source="assumed 0",
            dtype=np.dtype(np.uint16),
            nodata=EMPTY,
            descriptions=names,
            scales=(1.0,) * count,
            offsets=(0.0,) * count,
            tags={},
            warnings=(),
            form="guide",
        )
        yield Reference(optical=optical, date=None, days=None, mask=None, label=label_of(optical), guide=True)


def _sample(dataset: Any, window: Window | None, bands: Sequence[int]) -> NDArray[np.float64]:
    """Known pixels of places all over a window (bands, n). Overviews would mix classes."""
    if window is None:
        return np.zeros((len(bands), 0))
    rows, columns = (
        sorted(
            {
                start + int(place * max(size - SIDE, 0))
                for place in np.linspace(0, 1, max(min(PLACES, size // SIDE), 1))
            }
        )
        for start, size in ((window.row_off, window.height), (window.col_off, window.width))
    )
    height, width = min(SIDE, window.height), min(SIDE, window.width)
    values = np.concatenate(
        [
            _read(dataset, bands, Window(column, row, width, height)).reshape(len(bands), -1)
            for row in rows
            for column in columns
        ],
        axis=1,
    )
    return values[:, np.isfinite(values).all(axis=0)]


def _read(dataset: Any, bands: Sequence[int], window: Window) -> NDArray[np.float64]:
    """Pixels (bands, rows, columns), NaN in all bands where one is not known."""
    try:
        # One by one, for bands of several types are not read at once.
        layers = [dataset.read(band, window=window) for band in bands]
        masks = [dataset.read_masks(band, window=window) > 0 for band in bands]
    except RasterioError as error:
        raise InputError(
            f"{dataset.name}: cannot be read ({error.__cause__ or error}); expected a complete raster as "
            "--guide. It is truncated, damaged or out of reach: copy or download it again."
        ) from error
    values = np.stack(layers).astype(np.float64)
    values[:, ~np.all(masks, axis=0) | ~np.isfinite(values).all(axis=0)] = np.nan
    return np.asarray(values)
