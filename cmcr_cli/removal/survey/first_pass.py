"""The first pass over a scene: find what is covered, and learn the ground from what is clear."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.ground.cirrus import FITTED, TILE, fitted_ratio
from cmcr_cli.ground.ground import Ground
from cmcr_cli.removal.survey.cloud_map import CLOUD, CloudMap
from cmcr_cli.removal.survey.learning import GroundLearner, strips
from cmcr_cli.removal.survey.mask_sources import MaskSource
from cmcr_cli.removal.survey.reference_pass import ReferenceSurvey
from cmcr_cli.removal.survey.sample_windows import DOWN, evenly_spread
from cmcr_cli.removal.survey.tiles import Each, Progress, tile_rows
from cmcr_cli.scene.area import Area
from cmcr_cli.scene.bands import BANDS, present
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.radar import Radar
from cmcr_cli.scene.span import Span

PROBES = 8
"""Strips of TILE rows, evenly spread over the scene, in which the ratio of cirrus is fitted."""

SAMPLE_ROWS = DOWN[1]
"""Rows below a row of tiles into which the sample windows that begin in it reach."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Result of the first pass.

    Attributes:
        cloud_map: What covers the scene.
        ground: What the clear pixels taught, as far as it was asked.
        valid_share: Part of the pixels of the area of interest that hold a measurement, 0 to 1.
        covered_share: Part of these that is covered, 0 to 1.
        covered_in_scene: Part of the valid pixels of the scene that is covered, 0 to 1. The ground is learnt
            from all others, also from those outside the area.
        clear_in_scene: Part of all pixels of the scene that is valid and not covered, 0 to 1.
        references: What other dates say; None: there are none.
    """

    cloud_map: CloudMap
    ground: Ground
    valid_share: float
    covered_share: float
    covered_in_scene: float
    clear_in_scene: float
    references: ReferenceSurvey | None = None


def survey(
    optical: Optical,
    radar: Radar | None,
    mask: MaskSource,
    unknown: Ground,
    *,
    learn: bool,
    area: Area | None = None,
    each: Each = map,
    progress: Progress = lambda done: None,
) -> Survey:
    """Read a scene once.

    Args:
        optical: The scene.
        radar: Its radar.
        mask: That says where it is covered.
        unknown: The ground where nothing is learnt.
        learn: Whether the ground is learnt from the clear pixels; the ratio of cirrus always is.
        area: The area of interest; None: the whole scene.
        each: The builtin `map`, or one that works on several items at once.
        progress: Called with the part that is done, 0 to 1.

    Returns:
        What was found.
    """
    grid = optical.grid
    cloud_map = CloudMap.empty(grid)
    ratio = _fitted(optical) if present(optical.names)[FITTED].all() else unknown.cirrus_ratio
    learner = GroundLearner(optical, radar, cloud_map.phase, ratio, each) if learn else None
    in_scene, in_area = np.zeros(3, np.int64), np.zeros(3, np.int64)  # pixels: all, valid, covered
    ahead = 0.5 if mask.reads_ahead else 0.0
    mask.begin(each, lambda done: progress(ahead * done))
    for tiles in tile_rows(optical, mask.above, max(mask.below, SAMPLE_ROWS)):
        mask.mark(cloud_map, tiles, ratio)
        for span in strips(tiles.core, cloud_map.phase[0]):
            dn = tiles.rows(span)
            valid, treatment = optical.valid(dn), cloud_map.pixels(span.start, span.size)
            covered = valid & (treatment > 0)
            in_scene += valid.size, valid.sum(), covered.sum()
            if area is not None:
                inside = _inside(area, span, grid.width)
                in_area += inside.sum(), (valid & inside).sum(), (covered & inside).sum()
            if learner is not None:
                doubtful = mask.doubtful(cloud_map, span) if learner.takes_doubtful else None
                learner.learn(span, dn, valid, treatment < CLOUD, doubtful)
        if learner is not None:
            learner.keep(tiles)
        progress(ahead + (1 - ahead) * tiles.core.stop / grid.height)
        del tiles, dn  # before the next rows are read
    ground = learner.finish(cloud_map) if learner is not None else replace(unknown, cirrus_ratio=ratio)
    total, valid_pixels, covered_pixels = (in_scene if area is None else in_area).tolist()
    return Survey(
        cloud_map,
        ground,
        valid_share=valid_pixels / max(total, 1),
        covered_share=covered_pixels / max(valid_pixels, 1),
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
