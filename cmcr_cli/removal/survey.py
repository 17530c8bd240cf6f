"""The first pass over a scene: find what is covered, and learn the context from what is clear."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.model.clouds import MARGIN as REACH
from cmcr_cli.model.clouds import THRESHOLD, CloudNetwork
from cmcr_cli.model.device import fetched, placed, trim_heap
from cmcr_cli.removal.cover import CELL, CLOUD, VEIL, Cover
from cmcr_cli.removal.spots import Each, Rows, Spots, spread
from cmcr_cli.scene.bands import BANDS, canonical, present
from cmcr_cli.scene.cells import block_mean
from cmcr_cli.scene.cirrus import (
    B10,
    FITTED,
    GROUND,
    THIN,
    TILE,
    VISIBLE,
    fitted_ratio,
    veil_of,
    without_cirrus,
)
from cmcr_cli.scene.context import MARGIN, REGION, ContextBuilder, SceneContext
from cmcr_cli.scene.mask import CoverRows
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import cut, reflected
from cmcr_cli.scene.radar import Radar
from cmcr_cli.scene.raster import Lines
from cmcr_cli.scene.unmixing import NOTHING

Array = NDArray[np.float32]

SIDE, WIDE = 256, 512
"""Cells, rows and columns, that the cloud network is asked about at once, besides BORDER on each side."""

VEILED = np.float32(0.015)
"""Reflectance that cirrus adds to the visible, from which on its ground is restored."""

PROBES = 8
"""Strips of TILE rows, evenly spread over the scene, in which the ratio of cirrus is fitted."""

DILATION = 3
"""Cells (60 m) by which the network's finds are grown: the rim of a cloud is thinner than any threshold."""

BORDER = REACH + 8
"""Cells that the network sees around a tile: its own reach and the dilation's; it halves them three times."""

STRIP = 256
"""Rows that the context learns from at once, an even number."""

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first pass found; the shares are of the scene's valid pixels, 0 to 1.

    visible (see `scene.cirrus`) is what the scene taught; so are context and unmixing, if it was asked.
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
) -> Survey:
    """One pass over the scene; `mask` is an open raster, the network, or None: all is covered.

    `each` is the builtin `map`, or one that works on several items at once.
    """
    grid = optical.grid
    cover = Cover.empty(grid)
    phase = cover.phase
    builder = ContextBuilder(grid.height + phase[0], grid.width + phase[1]) if with_context else None
    visible = _fitted(optical) if present(optical.names)[FITTED].all() else VISIBLE
    spots = Spots(grid.height, grid.width)
    valid_pixels = covered_pixels = 0
    for core, window, dn in _tile_rows_read(optical):
        inside = dn[:, core[0] - window[0] : core[1] - window[0]]
        if isinstance(mask, CloudNetwork):
            _find(cover, core, window, optical, dn, mask, visible, each)
        elif mask is None:
            cover.mark(core[0], optical.valid(inside))
        else:
            cover.mark_codes(core[0], mask.read(core[0], core[1] - core[0]))
        for top, stop in _strips(core, phase[0]):
            rows = inside[:, top - core[0] : stop - core[0]]
            valid, covered = optical.valid(rows), cover.pixels(top, rows.shape[1])
            valid_pixels += int(valid.sum())
            covered_pixels += int((valid & (covered > 0)).sum())
            if builder is not None:
                _learn(builder, phase, top, optical, rows, valid & (covered < CLOUD), radar, visible, each)
        if builder is not None:
            spots.keep(core, window[0], dn)
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


def _tile_rows(origin: int, height: int) -> Iterator[tuple[Rows, Rows]]:
    """(core rows, rows to read) per row of tiles, which begin at multiples of their side on the map."""
    side = SIDE * CELL
    for start in range(origin // side * side, origin + height, side):
        core = max(start - origin, 0), min(start - origin + side, height)
        ideal = reflected(start - origin - BORDER * CELL, side + 2 * BORDER * CELL, height)
        yield core, (min(int(ideal.min()), core[0]), max(int(ideal.max()) + 1, core[1]))


def _tile_rows_read(optical: Optical) -> Iterator[tuple[Rows, Rows, NDArray[Any]]]:
    """(core rows, rows read, their DN) per row of tiles. Each row of the scene is read once."""
    lines = Lines(lambda top, rows: (optical.read(top, rows),))
    for core, window in _tile_rows(optical.grid.origin[0], optical.grid.height):
        (dn,) = lines.window(*window, core[1] - BORDER * CELL)
        trim_heap()
        yield core, window, dn
        del dn
        trim_heap()  # else what is read next comes on top of what was free in between


def _strips(core: Rows, phase: int) -> Iterator[Rows]:
    """Cut `core` into strips that end on even map rows, since the context works on blocks of 2 x 2 pixels."""
    top = core[0]
    while top < core[1]:
        stop = min((top + phase) // STRIP * STRIP + STRIP - phase, core[1])
        yield top, stop
        top = stop


@torch.inference_mode()
def found_cells(
    network: CloudNetwork, image: Array, names: NDArray[np.bool_], visible: np.float32
) -> NDArray[np.uint8]:
    """What lies over cells (13, h, w) of reflectance, bands `names` (13,): (h, w) of 0, VEIL or CLOUD.

    The network sees B10 as it is. Where it finds nothing once B10 is as over clear ground, all that lies
    there is cirrus, which if it is THIN is taken off well enough to learn from the ground below. Not grown by
    DILATION yet, and not sure within BORDER cells of the edge.
    """
    device = next(network.parameters()).device
    tile = placed(without_cirrus(image, visible), device)[None]
    known = placed(names.astype(np.float32), device)[None]
    found = network.cover(tile, known)[0] > THRESHOLD
    veil = placed(veil_of(image, visible), device)
    cloud = found
    if bool((veil > VEILED / 2).any()):
        tile[:, B10] = float(GROUND)
        cloud = (network.cover(tile, known)[0] > THRESHOLD) | (veil > float(THIN))
        found = found | (veil > float(VEILED))
    return fetched(torch.where(cloud, CLOUD, torch.where(found, VEIL, 0)).to(torch.uint8))


def grown_cells(found: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cells (h, w) of 0, VEIL or CLOUD grown by DILATION, clouds over veils."""
    cloud, covered = (ndimage.binary_dilation(found >= least, iterations=DILATION) for least in (CLOUD, VEIL))
    return np.where(cloud, CLOUD, np.where(covered, VEIL, 0)).astype(np.uint8)


def _find(
    cover: Cover,
    core: Rows,
    window: Rows,
    optical: Optical,
    dn: NDArray[np.generic],
    network: CloudNetwork,
    visible: np.float32,
    each: Each,
) -> None:
    """Mark what the network finds in one row of tiles."""
    grid = optical.grid
    side, wide, border = SIDE * CELL, WIDE * CELL, BORDER * CELL
    row0, col0 = grid.origin
    top = (core[0] + row0) // side * side - row0
    rows = reflected(top - border, side + 2 * border, grid.height) - window[0]
    names = present(optical.names)

    def find(left: int) -> NDArray[np.uint8]:
        cols = reflected(left - border, wide + 2 * border, grid.width)
        cells = optical.radiometry.reflectance(block_mean(cut(dn, rows, cols)))
        tile = found_cells(network, canonical(cells, optical.names), names, visible)
        return grown_cells(tile)[BORDER:-BORDER, BORDER:-BORDER]

    lefts = range(col0 // wide * wide - col0, grid.width, wide)
    y, x = ((start + phase) // CELL for start, phase in zip((top, lefts[0]), cover.phase, strict=True))
    found = np.concatenate(list(each(find, lefts)), axis=1)
    cover.enter(max(y, 0), found[max(-y, 0) :, -x:])


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
