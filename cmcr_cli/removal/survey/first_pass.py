"""The first pass over a scene: find what is covered, and learn the context from what is clear."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.ground.cirrus import FITTED, TILE, VISIBLE, fitted_ratio, without_cirrus
from cmcr_cli.ground.context import MARGIN, REGION, ContextBuilder, SceneContext
from cmcr_cli.ground.pyramid import block_mean
from cmcr_cli.ground.unmixing import NOTHING
from cmcr_cli.model.cloud_network import CloudNetwork
from cmcr_cli.removal.survey.cloud_map import CELL, CLOUD, Cover, lifted_cells
from cmcr_cli.removal.survey.detection import ABOVE, BELOW, SIDE, Detector
from cmcr_cli.removal.survey.sample_windows import DOWN, Each, Rows, Spots, spread
from cmcr_cli.runtime.device import trim_heap
from cmcr_cli.scene.bands import BANDS, canonical, present
from cmcr_cli.scene.masks.mask_codes import CLEAR, THICK, THIN
from cmcr_cli.scene.masks.mask_raster import CoverRows
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import cut, reflected
from cmcr_cli.scene.radar import Radar
from cmcr_cli.scene.raster import RollingRows

Array = NDArray[np.float32]

PROBES = 8
"""Strips of TILE rows, evenly spread over the scene, in which the ratio of cirrus is fitted."""

SPOT_ROWS = DOWN[1]
"""Rows below a row of tiles into which the sample windows that begin in it reach."""

STRIP = 256
"""Rows that the context learns from at once, an even number."""

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first pass found; the shares are of the scene's valid pixels, 0 to 1.

    visible (see `ground.cirrus`) is what the scene taught; so are context and unmixing, if it was asked.
    """

    cover: Cover
    context: SceneContext | None
    visible: np.float32
    unmixing: Array
    valid_share: float
    covered_share: float


def survey(
    optical: Optical,
    radar: Radar | None,
    mask: CoverRows | CloudNetwork | None,
    *,
    with_context: bool,
    each: Each = map,
    progress: Progress = lambda done: None,
    certainty: NDArray[np.uint8] | None = None,
) -> Survey:
    """One pass over the scene; `mask` is an open raster, the network, or None: all is covered.

    `each` is the builtin `map`, or one that works on several items at once. `certainty`, of the shape of the
    cover's cells, receives the probability of each cell's class in per cent, as the network gives it.
    """
    grid = optical.grid
    cover = Cover.empty(grid)
    phase = cover.phase
    builder = ContextBuilder(grid.height + phase[0], grid.width + phase[1]) if with_context else None
    visible = _fitted(optical) if present(optical.names)[FITTED].all() else VISIBLE
    detector, raster = None, None
    if isinstance(mask, CloudNetwork):
        detector = Detector(mask, optical, each)
    else:
        raster = mask
    spots = Spots(grid.height, grid.width)
    valid_pixels = covered_pixels = 0
    for core, first, dn in _tile_rows(optical, (ABOVE, BELOW) if detector else (0, SPOT_ROWS)):
        inside = dn[:, core[0] - first : core[1] - first]
        if detector is not None:
            found = detector.find(core, first, dn)
            row = (core[0] + phase[0]) // CELL
            cover.enter(row, found.classes, lifted_cells(found.classes, found.cirrus, visible))
            if certainty is not None:
                known = certainty[row : row + len(found.certainty)]
                known[:] = found.certainty[: len(known), : known.shape[1]]
        elif raster is None:
            cover.mark(core[0], np.where(optical.valid(inside), THICK, CLEAR).astype(np.uint8))
        else:
            classes = raster.read(core[0], core[1] - core[0])
            cover.mark(core[0], classes)
            if "B10" in optical.names and (classes == THIN).any():
                cover.lift(core[0], len(classes), _cirrus_cells(optical, core, first, dn, phase), visible)
        for top, stop in _strips(core, phase[0]):
            rows = inside[:, top - core[0] : stop - core[0]]
            valid, covered = optical.valid(rows), cover.pixels(top, rows.shape[1])
            valid_pixels += int(valid.sum())
            covered_pixels += int((valid & (covered > 0)).sum())
            if builder is not None:
                _learn(builder, phase, top, optical, rows, valid & (covered < CLOUD), radar, visible, each)
        if builder is not None:
            spots.keep(core, first, dn)
        progress(core[1] / grid.height)
        del dn, inside, rows  # before the next rows are read
    context, unmixing = None, NOTHING
    if builder is not None:
        context = builder.finish(present(optical.names))
        unmixing = spots.unmixing(context, cover, optical, radar, visible, each)
    total = grid.height * grid.width
    shares = valid_pixels / total, covered_pixels / max(valid_pixels, 1)
    return Survey(cover, context, visible, unmixing, *shares)


def _fitted(optical: Optical) -> np.float32:
    """The ratio of this scene's cirrus, from a few strips of it."""
    names = [BANDS[band] for band in FITTED]
    return fitted_ratio(
        optical.radiometry.reflectance(optical.read(top, rows, names))
        for top, rows in spread(optical.grid.height, PROBES, TILE)
    )


def _tile_rows(optical: Optical, around: Rows) -> Iterator[tuple[Rows, int, NDArray[Any]]]:
    """(core rows, first row read, DN) per row of tiles, with at least `around` rows above and below.

    Each row of the scene is read once; the DN are overwritten by those of the next row of tiles.
    """
    side, origin, height = SIDE * CELL, optical.grid.origin[0], optical.grid.height
    rows = RollingRows(optical.read, side + sum(around))
    for start in range(origin // side * side, origin + height, side):
        core = max(start - origin, 0), min(start - origin + side, height)
        ideal = reflected(start - origin - around[0], side + 2 * around[0], height)
        first = min(int(ideal.min()), core[0])
        stop = max(int(ideal.max()) + 1, min(start - origin + side + around[1], height))
        yield core, first, rows.window(first, stop)
        trim_heap()


def _cirrus_cells(optical: Optical, core: Rows, first: int, dn: NDArray[Any], phase: Rows) -> Array:
    """Reflectance of B10 in the cells of the rows `core` of the scene."""
    top, left = core[0] - (phase[0] if core[0] == 0 else 0), -phase[1]
    height, width = (-(-size // CELL) * CELL for size in (core[1] - top, optical.grid.width - left))
    rows, columns = reflected(top, height, optical.grid.height), reflected(left, width, optical.grid.width)
    band = dn[optical.names.index("B10")]
    return optical.radiometry.reflectance(block_mean(cut(band, rows - first, columns)))


def _strips(core: Rows, phase: int) -> Iterator[Rows]:
    """Cut `core` into strips that end on even map rows, since the context works on blocks of 2 x 2 pixels."""
    top = core[0]
    while top < core[1]:
        stop = min((top + phase) // STRIP * STRIP + STRIP - phase, core[1])
        yield top, stop
        top = stop


def _learn(
    builder: ContextBuilder,
    phase: tuple[int, int],
    top: int,
    optical: Optical,
    dn: NDArray[np.generic],
    clear: NDArray[np.bool_],
    radar: Radar | None,
    visible: np.float32,
    each: Each,
) -> None:
    """Give one strip to the context, whose blocks of 2 x 2 pixels lie on even map pixels as cells do."""
    above = phase[0] if top == 0 else 0
    height, width = above + dn.shape[1], phase[1] + optical.grid.width
    if radar is not None:
        lines = reflected(top - above - MARGIN, height + 2 * MARGIN, optical.grid.height)
        db, valid = radar.lines(lines)
    wide = reflected(-phase[1], width, optical.grid.width)[reflected(-MARGIN, width + 2 * MARGIN, width)]

    def learn(left: int) -> None:
        cols = slice(max(left - phase[1], 0), min(left + REGION - phase[1], optical.grid.width))
        pad = ((above, 0), (phase[1] if left == 0 else 0, 0))
        blocks = block_mean(np.pad(dn[:, :, cols], ((0, 0), *pad)))
        values = canonical(optical.radiometry.reflectance(blocks), optical.names)
        seen = np.pad(clear[:, cols], pad)
        near = (..., wide[left : left + seen.shape[1] + 2 * MARGIN])
        around = (None, None) if radar is None else (db[near], valid[near])
        builder.add(top + phase[0] - above, left, without_cirrus(values, visible), seen, *around)

    for _ in each(learn, range(0, width, REGION)):
        pass
