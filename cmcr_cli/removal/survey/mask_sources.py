"""Where the mask of clouds and shadows comes from: cmcr's own network, a raster, or no mask at all."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.ground.cirrus import B10, BLUE, TYPICAL_RATIO
from cmcr_cli.ground.pyramid import block_mean
from cmcr_cli.model.cloud_network import CloudNetwork
from cmcr_cli.removal.survey.cloud_map import CELL, CloudMap, lifted_cells, thin_cirrus
from cmcr_cli.removal.survey.detection import ABOVE, BELOW, Detector
from cmcr_cli.removal.survey.tiles import Each, Progress, TileRow, tile_rows
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.masks.mask_codes import CLEAR, THICK, THIN
from cmcr_cli.scene.masks.mask_raster import dilated
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import crop, reflected
from cmcr_cli.scene.span import Span
from cmcr_cli.warning_kinds import MaskWarning

log = logging.getLogger("cmcr")

Bytes = NDArray[np.uint8]


class MaskSource(Protocol):
    """Anything that says where a scene is covered, one row of tiles after the other.

    Attributes:
        above: Rows of the scene above a row of tiles that `mark` looks at.
        below: Rows below it that `mark` looks at.
        reads_ahead: Whether `begin` takes a pass of its own.
        kinds: Whether its classes tell what covers the ground.
        warnings: What there is to say about the mask.
    """

    above: int
    below: int
    reads_ahead: bool
    kinds: bool
    warnings: tuple[MaskWarning, ...]

    @abstractmethod
    def begin(self, each: Each, progress: Progress) -> None:
        """Begin a pass over the scene, with all that must be done before its first row of tiles.

        Args:
            each: The builtin `map`, or one that works on several items at once.
            progress: Called with the part that is done, 0 to 1.
        """

    @abstractmethod
    def mark(self, cloud_map: CloudMap, tiles: TileRow, cirrus_ratio: np.float32) -> None:
        """Enter the classes of one row of tiles, and which of its cells show the ground through cirrus.

        Args:
            cloud_map: Receives them.
            tiles: The row of tiles.
            cirrus_ratio: What cirrus adds to the visible bands for 1 in B10.
        """

    @abstractmethod
    def doubtful(self, cloud_map: CloudMap, rows: Span) -> Bytes | None:
        """Compute how far pixels in shadow of the rows of tiles last marked may teach.

        Args:
            cloud_map: The map that was marked.
            rows: Rows of pixels of the scene.

        Returns:
            Full-width rows (rows, width), see `detection.doubtful`; None: not known.
        """

    @abstractmethod
    def added(self, top: int, classes: Bytes) -> NDArray[np.bool_] | None:
        """Find what was added to the mask beyond what its source calls covered.

        Args:
            top: First row of pixels.
            classes: CloudClass of full-width rows (rows, width).

        Returns:
            Booleans (rows, width); None: nothing.
        """

    @abstractmethod
    def keep_certainty(self) -> None:
        """Keep how sure the mask is in the passes to come, if it is known."""

    @abstractmethod
    def certainty(self, cloud_map: CloudMap, top: int, classes: Bytes) -> Bytes | None:
        """Compute the probability that classes are right.

        Args:
            cloud_map: Map of the scene.
            top: First row of pixels.
            classes: CloudClass of full-width rows (rows, width).

        Returns:
            Per cent (rows, width); None if it is unknown.
        """


class NoMask(MaskSource):
    """In place of a mask: every pixel that was measured is covered."""

    above = below = 0
    reads_ahead = kinds = False
    warnings: tuple[MaskWarning, ...] = ()

    def __init__(self, optical: Optical) -> None:
        """Source for one scene.

        Args:
            optical: The scene.
        """
        self._optical = optical

    def begin(self, each: Each, progress: Progress) -> None:
        """Do nothing."""

    def mark(self, cloud_map: CloudMap, tiles: TileRow, cirrus_ratio: np.float32) -> None:
        """Enter thick cloud wherever there is a measurement."""
        valid = self._optical.valid(tiles.rows(tiles.core))
        cloud_map.mark(tiles.core.start, np.where(valid, THICK, CLEAR).astype(np.uint8))

    def doubtful(self, cloud_map: CloudMap, rows: Span) -> Bytes | None:
        """Return None: all is certain."""

    def added(self, top: int, classes: Bytes) -> NDArray[np.bool_] | None:
        """Return None: nothing is added."""

    def keep_certainty(self) -> None:
        """Do nothing: it is not known."""

    def certainty(self, cloud_map: CloudMap, top: int, classes: Bytes) -> Bytes | None:
        """Return None: it is not known."""


class RasterMask(NoMask):
    """A mask that can be read by rows of pixels."""

    def __init__(
        self,
        optical: Optical,
        read: Callable[[int, int], Bytes],
        warnings: tuple[MaskWarning, ...] = (),
        *,
        found: Callable[[int, int], Bytes] | None = None,
        kinds: bool = True,
    ) -> None:
        """Prepare to read a mask.

        Args:
            optical: The scene.
            read: Called with the first row and the number of rows; returns CloudClass (rows, width).
            warnings: What there is to say about the mask.
            found: Reads it as it was before it was dilated; None: it was not.
            kinds: Whether its classes tell what covers the ground.
        """
        super().__init__(optical)
        self._read, self.warnings, self.kinds, self._found = read, warnings, kinds, found

    def added(self, top: int, classes: Bytes) -> NDArray[np.bool_] | None:
        """Find where it was clear before it was dilated."""
        if self._found is None:
            return None
        return np.asarray((classes != CLEAR) & (self._found(top, len(classes)) == CLEAR))

    def mark(self, cloud_map: CloudMap, tiles: TileRow, cirrus_ratio: np.float32) -> None:
        """Enter what the raster says; thin cloud is cirrus where B10 shows it."""
        core = tiles.core
        classes = self._read(core.start, core.size)
        cloud_map.mark(core.start, classes)
        if "B10" in self._optical.names and (classes == THIN).any():
            shown = _cirrus_cells(self._optical, tiles, cloud_map.phase)
            cloud_map.lift(core.start, core.size, shown, cirrus_ratio)


class NetworkMask(MaskSource):
    """cmcr's own network for clouds and shadows."""

    above, below = ABOVE, BELOW
    reads_ahead, kinds = False, True
    warnings: tuple[MaskWarning, ...] = ()

    def __init__(self, optical: Optical, network: CloudNetwork) -> None:
        """Source for one scene.

        Args:
            optical: The scene.
            network: The cloud network.
        """
        self._optical, self._network = optical, network
        self._certainty: Bytes | None = None
        self._doubtful: tuple[int, Bytes] = 0, np.zeros((0, 0), np.uint8)

    def begin(self, each: Each, progress: Progress) -> None:
        """Start at the top of the scene."""
        self._detector = Detector(self._network, self._optical, each)

    def mark(self, cloud_map: CloudMap, tiles: TileRow, cirrus_ratio: np.float32) -> None:
        """Enter what the network finds in cells of 20 m."""
        found = self._detector.find(tiles.core, tiles.first, tiles.dn)
        row = (tiles.core.start + cloud_map.phase[0]) // CELL
        cloud_map.enter(row, found.classes, lifted_cells(found.classes, found.cirrus, cirrus_ratio))
        self._doubtful = row, found.doubtful
        if self._certainty is not None:
            known = self._certainty[row : row + len(found.certainty)]
            known[:] = found.certainty[: len(known), : known.shape[1]]

    def doubtful(self, cloud_map: CloudMap, rows: Span) -> Bytes | None:
        """Return the values of the cells (see `detection.doubtful`) at full-width rows of pixels."""
        return cloud_map.to_pixels(self._doubtful[1], rows.start, rows.size, first=self._doubtful[0])

    def added(self, top: int, classes: Bytes) -> NDArray[np.bool_] | None:
        """Return None: where it is in doubt, the network itself decides how far a cloud goes."""

    def keep_certainty(self) -> None:
        """Keep the probability that the network gives to the class of each cell."""
        self._certainty = np.zeros(CloudMap.empty(self._optical.grid).shape, np.uint8)

    def certainty(self, cloud_map: CloudMap, top: int, classes: Bytes) -> Bytes | None:
        """Return the probability of the pixels' cells, per cent, if it was kept."""
        return None if self._certainty is None else cloud_map.to_pixels(self._certainty, top, len(classes))


class DilatedMask(RasterMask):
    """Another source, whose classes grow into clear ground; it is read in a pass of its own."""

    reads_ahead = True

    def __init__(self, optical: Optical, source: MaskSource, pixels: float) -> None:
        """Dilate another mask.

        Args:
            optical: The scene.
            source: The other mask.
            pixels: Distance along a column.
        """
        super().__init__(optical, self._dilated, source.warnings, found=self._before, kinds=source.kinds)
        width, height = optical.grid.metres
        self._source, self._pixels, self._aspect = source, pixels, width / height

    def begin(self, each: Each, progress: Progress) -> None:
        """Read the whole of the other source."""
        optical, source = self._optical, self._source
        source.begin(each, progress)
        own = (lambda done: None) if source.reads_ahead else progress
        self._map = CloudMap.empty(optical.grid)
        for tiles in tile_rows(optical, source.above, source.below):
            source.mark(self._map, tiles, TYPICAL_RATIO)  # the ratio decides nothing about classes
            own(tiles.core.stop / optical.grid.height)
            del tiles  # before the next rows are read

    def keep_certainty(self) -> None:
        """Keep that of the other source."""
        self._source.keep_certainty()

    def certainty(self, cloud_map: CloudMap, top: int, classes: Bytes) -> Bytes | None:
        """Return that of the other source; what was added is covered against its opinion."""
        known = self._source.certainty(cloud_map, top, self._before(top, len(classes)))
        if known is None:
            return None
        added = (classes != CLEAR) & (self._before(top, len(classes)) == CLEAR)
        return np.where(added, 100 - known, known).astype(np.uint8)

    def _before(self, top: int, rows: int) -> Bytes:
        return self._map.classes(top, rows)

    def _dilated(self, top: int, rows: int) -> Bytes:
        return dilated(self._map.classes, self._optical.grid.height, self._pixels, top, rows, self._aspect)


def _cirrus_cells(optical: Optical, tiles: TileRow, phase: tuple[int, int]) -> NDArray[np.float32]:
    """Return the `thin_cirrus` in the cells of a row of tiles."""
    core: Span = tiles.core
    top, left = core.start - (phase[0] if core.start == 0 else 0), -phase[1]
    height, width = (-(-size // CELL) * CELL for size in (core.stop - top, optical.grid.width - left))
    rows, columns = reflected(top, height, optical.grid.height), reflected(left, width, optical.grid.width)
    bands = tiles.dn[[optical.names.index(BANDS[band]) for band in (B10, BLUE)]]
    return thin_cirrus(*optical.radiometry.reflectance(block_mean(crop(bands, rows - tiles.first, columns))))
