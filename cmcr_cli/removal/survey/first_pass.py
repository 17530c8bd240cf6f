"""The first pass over a scene: find what is covered, and learn the ground from what is clear."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.ground.cirrus import FITTED, TILE, fitted_ratio
from cmcr_cli.ground.ground import Ground
from cmcr_cli.output.catalogue.cover import Cover
from cmcr_cli.removal.survey.cloud_map import CLOUD, EDGE_REACH, CloudMap
from cmcr_cli.removal.survey.learning import GroundLearner, strips
from cmcr_cli.removal.survey.mask_sources import MaskSource
from cmcr_cli.removal.survey.reference_pass import ReferenceSurvey
from cmcr_cli.removal.survey.sample_windows import DOWN, evenly_spread
from cmcr_cli.removal.survey.tiles import Each, Progress, tile_rows
from cmcr_cli.scene.area import Area
from cmcr_cli.scene.bands import BANDS, present
from cmcr_cli.scene.masks.mask_codes import CloudClass
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.radar import Radar
from cmcr_cli.scene.span import Span

PROBES = 8
"""Strips of TILE rows, evenly spread over the scene, in which the ratio of cirrus is fitted."""

SAMPLE_ROWS = DOWN[1]
"""Rows below a row of tiles into which the sample windows that begin in it reach."""


class CoverCount:
    """Counts what covers the valid pixels of a scene, or of its area of interest, and which are replaced."""

    def __init__(self, mask: MaskSource, cloud_map: CloudMap, area: Area | None, keep_clear: bool) -> None:
        """Count nothing yet.

        Args:
            mask: That marks the map.
            cloud_map: What covers the scene.
            area: The area of interest; None: the whole scene.
            keep_clear: Whether clear pixels are to be copied.
        """
        self._mask, self._map, self._area, self._keep_clear = mask, cloud_map, area, keep_clear
        self._waiting: list[tuple[Span, NDArray[np.uint8]]] = []
        self._pixels = self._valid = self._dilated = self._edge = 0
        self._found = np.zeros(len(CloudClass) - 1, np.int64)

    def add(self, rows: Span, valid: NDArray[np.bool_]) -> None:
        """Take rows, from the top down, that are counted when the rows around them are marked as well.

        Args:
            rows: Of the scene.
            valid: Where they hold a measurement (rows, width).
        """
        inside = None if self._area is None else _inside(self._area, rows, self._map.width)
        self._pixels += valid.size if inside is None else int(np.count_nonzero(inside))
        self._waiting.append((rows, np.packbits(valid if inside is None else valid & inside, axis=1)))

    def up_to(self, stop: int) -> None:
        """Count rows.

        Args:
            stop: Row after the last one that nothing below it changes any more.
        """
        while self._waiting and self._waiting[0][0].stop <= stop:
            rows, bits = self._waiting.pop(0)
            self._count(rows, np.unpackbits(bits, axis=1, count=self._map.width).view(np.bool_))

    def cover(self) -> Cover:
        """Make shares of what was counted.

        Returns:
            The shares.
        """
        counts = self._pixels, self._valid, self._found.tolist(), self._dilated, self._edge
        return Cover.of(*counts, kinds=self._mask.kinds)

    def _count(self, rows: Span, valid: NDArray[np.bool_]) -> None:
        classes = self._map.classes(rows.start, rows.size)
        self._valid += int(np.count_nonzero(valid))
        replaced = valid
        if self._keep_clear:
            replaced = valid & self._map.replaced(rows.start, rows.size)
        self._edge += int(np.count_nonzero(replaced & (classes == CloudClass.CLEAR)))
        added = self._mask.added(rows.start, classes)
        if added is not None:
            self._dilated += int(np.count_nonzero(valid & added))
            valid = valid & ~added
        self._found += [np.count_nonzero(valid & (classes == kind)) for kind in (*CloudClass,)[1:]]


@dataclass(frozen=True, slots=True)
class Survey:
    """Result of the first pass.

    Attributes:
        cloud_map: What covers the scene.
        ground: What the clear pixels taught, as far as it was asked.
        cover: Shares of the area of interest; None: the whole scene.
        covered_in_scene: Part of the valid pixels of the scene that is covered, 0 to 1. The ground is learnt
            from all others, also from those outside the area.
        clear_in_scene: Part of all pixels of the scene that is valid and not covered, 0 to 1.
        references: What other dates say; None: there are none.
    """

    cloud_map: CloudMap
    ground: Ground
    cover: Cover
    covered_in_scene: float
    clear_in_scene: float
    references: ReferenceSurvey | None = None


def survey(
    optical: Optical,
    radar: Radar | None,
    mask: MaskSource,
    *,
    learn: bool = True,
    keep_clear: bool = True,
    area: Area | None = None,
    each: Each = map,
    progress: Progress = lambda done: None,
) -> Survey:
    """Read a scene once.

    Args:
        optical: The scene.
        radar: Its radar.
        mask: That says where it is covered.
        learn: Whether the ground is learnt from the clear pixels; else it is what the prior says of its
            radar. The ratio of cirrus is always the scene's own.
        keep_clear: Whether clear pixels are to be copied.
        area: The area of interest; None: the whole scene.
        each: The builtin `map`, or one that works on several items at once.
        progress: Called with the part that is done, 0 to 1.

    Returns:
        What was found.
    """
    grid = optical.grid
    cloud_map = CloudMap.empty(grid)
    unknown = Ground.unknown(present(optical.names))
    ratio = _fitted(optical) if present(optical.names)[FITTED].all() else unknown.cirrus_ratio
    learner = GroundLearner(optical, radar, cloud_map.phase, ratio, each) if learn else None
    in_scene = np.zeros(3, np.int64)  # pixels: all, valid, covered
    count = CoverCount(mask, cloud_map, area, keep_clear)
    ahead = 0.5 if mask.reads_ahead else 0.0
    mask.begin(each, lambda done: progress(ahead * done))
    for tiles in tile_rows(optical, mask.above, max(mask.below, SAMPLE_ROWS)):
        mask.mark(cloud_map, tiles, ratio)
        for span in strips(tiles.core, cloud_map.phase[0]):
            dn = tiles.rows(span)
            valid, treatment = optical.valid(dn), cloud_map.pixels(span.start, span.size)
            covered = valid & (treatment > 0)
            in_scene += valid.size, valid.sum(), covered.sum()
            count.add(span, valid)
            if learner is not None:
                doubtful = mask.doubtful(cloud_map, span) if learner.takes_doubtful else None
                learner.learn(span, dn, valid, treatment < CLOUD, doubtful)
        if learner is not None:
            learner.keep(tiles)
        count.up_to(tiles.core.stop - EDGE_REACH)
        progress(ahead + (1 - ahead) * tiles.core.stop / grid.height)
        del tiles, dn  # before the next rows are read
    ground = learner.finish(cloud_map) if learner is not None else replace(unknown, cirrus_ratio=ratio)
    count.up_to(grid.height)
    return Survey(
        cloud_map,
        ground,
        cover=count.cover(),
        covered_in_scene=int(in_scene[2]) / max(int(in_scene[1]), 1),
        clear_in_scene=int(in_scene[1] - in_scene[2]) / int(in_scene[0]),
    )


def _inside(area: Area, span: Span, width: int) -> NDArray[np.bool_]:
    """Mask of the area in full-width rows (rows, width)."""
    _, rows, columns, inside = area.part(span.start, span.size)
    found = np.zeros((span.size, width), np.bool_)
    found[rows, columns] = inside
    return found


def _fitted(optical: Optical) -> np.float32:
    """The ratio of this scene's cirrus, from a few strips of it."""
    names = [BANDS[band] for band in FITTED]
    return fitted_ratio(
        optical.radiometry.reflectance(optical.read(top, rows, names))
        for top, rows in evenly_spread(optical.grid.height, PROBES, TILE)
    )
