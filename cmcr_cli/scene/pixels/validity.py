"""Where pixels of a scene hold a measurement, by all that its files say of it and by what plainly is none.

Pixels without one get the same value in all bands as they are read, and so are told from others by this value
alone from there on. What they held is kept for the outputs, which show these pixels as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from cmcr_cli.scene.radiometry import measured

Bools = NDArray[np.bool_]
Mask = Callable[[Window], Bools]
"""Reads where a window is valid (rows, columns)."""

PLAUSIBLE = (-1000.0, 30_000.0)
"""DN that may be measured; a nodata value beyond cannot, so a pixel that has it in one band is nodata."""

RUN = 4
"""Pixels from the rim on in which a band is empty and others are not: fewer may be dark ground."""

KEPT_BYTES = 64 * 2**20
"""Of values that are kept for the outputs; rows for which there is no space are read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """What tells where a raster holds a measurement, beyond one nodata value in all bands.

    Attributes:
        names: Of the bands.
        width: Of the raster.
        fill: Value of pixels without a measurement in all bands, once they are read.
        empty: The nodata value of each band, 0 where none is stated.
        never: For each band the values that no measurement has.
        masks: Masks of the raster or of the files of which it is made.
        look: Tells whether a band is empty wherever one looks.
        kept: What pixels held that were not measured.
    """

    names: tuple[str, ...]
    width: int
    fill: float
    empty: tuple[float, ...]
    never: tuple[tuple[float, ...], ...]
    masks: tuple[Mask, ...] = ()
    look: Callable[[int], bool] = lambda place: False
    kept: Kept = field(default_factory=lambda: Kept())
    _unfilled: dict[int, bool] = field(default_factory=dict, repr=False)

    @property
    def beyond_nodata(self) -> bool:
        """Whether it takes more than the nodata value of a file to say where a scene is valid."""
        return bool(self.masks) or len(set(self.empty)) > 1

    @property
    def plain(self) -> bool:
        """Whether `fill` in all bands is all that a file says of its nodata."""
        return not self.masks and not any(self.never) and set(self.empty) == {self.fill}

    @property
    def unmeasured(self) -> tuple[float, ...]:
        """What each band may hold where nothing was measured; other values are found wherever they are."""
        return tuple(0.0 if never else value for value, never in zip(self.empty, self.never, strict=True))

    def never_filled(self, place: int) -> bool:
        """Tell whether a band is empty everywhere.

        Args:
            place: Of the band among all.

        Returns:
            Whether it is.
        """
        if place not in self._unfilled:
            self._unfilled[place] = self.look(place)
        return self._unfilled[place]

    def cleaned(self, dn: NDArray[Any], window: Window, places: Sequence[int]) -> NDArray[Any]:
        """Put `fill` in the place of what was not measured.

        Args:
            dn: Pixels of a window (bands, rows, columns), which may be overwritten.
            window: The window.
            places: Of these bands among all.

        Returns:
            The pixels.
        """
        gone, stored, changed = self._absent(dn, window, places), dn, None
        if gone is not None and gone.any():
            stored = dn.copy()
            dn[:, gone] = self.fill
            changed = gone & (stored != dn).any(axis=0)
        if len(places) == len(self.names) and self._is_full_width(window):
            self.kept.keep(window.row_off, stored, changed)
        return dn

    def _absent(self, dn: NDArray[Any], window: Window, places: Sequence[int]) -> Bools | None:
        """Where there is no measurement, as far as `fill` in all bands does not tell; None: nowhere."""
        found = [~mask(window) for mask in self.masks]
        for band, place in zip(dn, places, strict=True):
            if band.dtype.kind == "f":
                found.append(~np.isfinite(band))
            if band.dtype.kind == "i" and (absent := band < PLAUSIBLE[0]).any():
                found.append(absent)
            for value in self.never[place]:
                if (absent := band == value).any():
                    found.append(absent)
        if len(places) == len(self.names):
            if (same := dn[0] > PLAUSIBLE[1]).any():  # no ground or cloud is as bright alike in all bands
                found.append(same & (dn[1:] == dn[0]).all(axis=0))
            if len(set(self.empty)) > 1:
                empty = [
                    band == value for band, value, name in zip(dn, self.empty, self.names, strict=True)
                    if name != "B10"
                ]  # fmt: skip
                found.append(np.logical_and.reduce(empty))
            if self.fill != 0:
                found.append(~np.asarray(measured(dn, self.names, 0)))
            if self._is_full_width(window):
                found += [rim for rim in (self._rim(dn), self._rim(dn, backwards=True)) if rim is not None]
        return np.logical_or.reduce(found) if found else None

    def _is_full_width(self, window: Window) -> bool:
        return bool(window.col_off == 0 and window.width == self.width)

    def _rim(self, dn: NDArray[Any], *, backwards: bool = False) -> Bools | None:
        """Runs from the rim of full-width rows on in which some bands are empty and others are not.

        The rim is the edge of the raster, or of what is nodata from there on. Bands do not end at the same
        pixel where a swath does, and stacks are made of bands that do not cover the same ground.
        """
        step = -1 if backwards else 1
        bands = [(band[:, ::step], value) for band, value in zip(dn, self.unmeasured, strict=True)]
        begins = np.logical_or.reduce(
            [
                (band[:, :RUN] == value).all(axis=1)
                for (band, value), name in zip(bands, self.names, strict=True)
                if name != "B10"
            ]
        )
        rows = np.flatnonzero(begins)
        if not rows.size or self.width < RUN:
            return None
        leads = np.stack([_lead(band[rows] == value) for band, value in bands])
        # In B10, 0 is the usual value.
        leads[[name == "B10" for name in self.names]] = self.width
        start = leads.min(axis=0)
        long = leads - start >= RUN
        long[[name == "B10" for name in self.names]] = False
        for place in np.flatnonzero((long & (leads == self.width)).any(axis=1)):
            # All rows of a band that was never filled are like that; one such band spoils no pixel.
            long[place] &= not self.never_filled(int(place))
        runs = np.where(long, leads, 0).max(axis=0)
        if not runs.any():
            return None
        found = np.zeros(dn.shape[1:], np.bool_)
        found[rows, ::step] = np.arange(self.width) < runs[:, None]
        return found


def _lead(empty: Bools) -> NDArray[np.intp]:
    """How many pixels each row begins with that are empty."""
    lead = np.where(empty.all(axis=1), empty.shape[1], (~empty).argmax(axis=1))
    return np.asarray(lead, np.intp)


class Kept:
    """What pixels held that were not measured, of the last rows that were read."""

    def __init__(self) -> None:
        self._rows: dict[int, tuple[NDArray[np.intp], NDArray[Any]] | None] = {}
        self._bytes = 0

    def keep(self, top: int, stored: NDArray[Any], changed: Bools | None) -> None:
        """Keep the values of pixels that are changed.

        Args:
            top: First of the full-width rows.
            stored: Their values (bands, rows, width).
            changed: Which are changed (rows, width); None: none.
        """
        rows = stored.shape[1]
        for line in range(rows):
            self._drop(top + line)
            self._rows[top + line] = None
            if changed is not None and changed[line].any():
                columns = np.flatnonzero(changed[line])
                values = stored[:, line, columns]
                self._rows[top + line] = columns, values
                self._bytes += values.nbytes
        while self._bytes > KEPT_BYTES and len(self._rows) > rows:
            self._drop(next(iter(self._rows)))

    def put_back(self, top: int, pixels: NDArray[Any], read: Callable[[int, int], Any]) -> NDArray[Any]:
        """Give pixels without a measurement the values that they were stored with.

        Args:
            top: First row.
            pixels: Full-width rows (bands, rows, width), which are not changed.
            read: Reads rows again that are no longer known.

        Returns:
            The pixels, or a copy of them.
        """
        lines = range(top, top + pixels.shape[1])
        if not self._rows.keys() >= set(lines):
            read(top, pixels.shape[1])
        found = {line: kept for line in lines if (kept := self._rows[line]) is not None}
        if found:
            pixels = pixels.copy()
        for line, (columns, values) in found.items():
            pixels[:, line - top, columns] = values
        return pixels

    def _drop(self, line: int) -> None:
        if (kept := self._rows.pop(line, None)) is not None:
            self._bytes -= kept[1].nbytes
