"""The first pass over a scene: find what is covered, and learn the context from what is clear."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.model.clouds import MARGIN as REACH
from cmcr_cli.model.clouds import THRESHOLD, CloudNetwork
from cmcr_cli.removal.cover import CELL, Cover
from cmcr_cli.scene.bands import canonical, present
from cmcr_cli.scene.cirrus import without_cirrus
from cmcr_cli.scene.context import MARGIN, ContextBuilder, SceneContext
from cmcr_cli.scene.mask import CoverRows
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import reflected
from cmcr_cli.scene.radar import Radar

Array = NDArray[np.float32]
Rows = tuple[int, int]

TILE = 256
"""Cells along the side of the square that the cloud network is asked about at once."""

DILATION = 3
"""Cells (60 m) by which the network's finds are grown: the rim of a cloud is thinner than any threshold."""

BORDER = REACH + 8
"""Cells that the network sees around a tile: its own reach and the dilation's; it halves them three times."""

STRIP = 128
"""Rows of float reflectance held at once, an even number."""

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first pass found; the shares are of the scene's valid pixels, 0 to 1."""

    cover: Cover
    context: SceneContext | None
    valid_share: float
    covered_share: float


def survey(
    optical: Optical,
    radar: Radar | None,
    mask: CoverRows | CloudNetwork | None,
    *,
    with_context: bool,
    progress: Progress = lambda done: None,
) -> Survey:
    """One pass over the scene; `mask` is an open raster, the network, or None: all is covered."""
    grid = optical.grid
    cover = Cover.empty(grid)
    phase = cover.phase
    builder = ContextBuilder(grid.height + phase[0], grid.width + phase[1]) if with_context else None
    valid_pixels = covered_pixels = 0
    for core, window in _tile_rows(grid.origin[0], grid.height):
        dn = optical.read(window[0], window[1] - window[0])
        inside = dn[:, core[0] - window[0] : core[1] - window[0]]
        if isinstance(mask, CloudNetwork):
            _find(cover, core, window, optical, dn, mask)
        elif mask is None:
            cover.mark(core[0], optical.valid(inside))
        else:
            cover.mark(core[0], mask.read(core[0], core[1] - core[0]) > 0)
        for top, stop in _strips(core, phase[0]):
            rows = inside[:, top - core[0] : stop - core[0]]
            valid, covered = optical.valid(rows), cover.pixels(top, rows.shape[1])
            valid_pixels += int(valid.sum())
            covered_pixels += int((valid & covered).sum())
            if builder is not None:
                _learn(builder, phase, top, optical, rows, valid & ~covered, radar)
        progress(core[1] / grid.height)
    context = builder.finish(present(optical.names)) if builder is not None else None
    total = grid.height * grid.width
    return Survey(cover, context, valid_pixels / total, covered_pixels / max(valid_pixels, 1))


def _tile_rows(origin: int, height: int) -> Iterator[tuple[Rows, Rows]]:
    """(core rows, rows to read) per row of tiles, which begin at multiples of their side on the map."""
    side = TILE * CELL
    for start in range(origin // side * side, origin + height, side):
        core = max(start - origin, 0), min(start - origin + side, height)
        ideal = reflected(start - origin - BORDER * CELL, side + 2 * BORDER * CELL, height)
        yield core, (min(int(ideal.min()), core[0]), max(int(ideal.max()) + 1, core[1]))


def _strips(core: Rows, phase: int) -> Iterator[Rows]:
    """Cut `core` into strips that end on even map rows, since the context works on blocks of 2 x 2 pixels."""
    top = core[0]
    while top < core[1]:
        stop = min((top + phase) // STRIP * STRIP + STRIP - phase, core[1])
        yield top, stop
        top = stop


@torch.inference_mode()
def found_cells(network: CloudNetwork, image: Array, names: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What the network finds covered, (h, w) cells, in reflectance (13, H, W) with the bands `names` (13,).

    Not grown by DILATION yet, and not sure within BORDER cells of the edge.
    """
    device = next(network.parameters()).device
    tile = torch.nn.functional.avg_pool2d(torch.from_numpy(without_cirrus(image))[None].to(device), CELL)
    known = torch.from_numpy(names.astype(np.float32))[None].to(device)
    return np.asarray(network.cover(tile, known)[0].cpu().numpy() > THRESHOLD)


def _find(
    cover: Cover, core: Rows, window: Rows, optical: Optical, dn: NDArray[np.generic], network: CloudNetwork
) -> None:
    """Mark what the network finds in one row of tiles."""
    grid = optical.grid
    side, border = TILE * CELL, BORDER * CELL
    row0, col0 = grid.origin
    top = (core[0] + row0) // side * side - row0
    rows = reflected(top - border, side + 2 * border, grid.height) - window[0]
    for left in range(col0 // side * side - col0, grid.width, side):
        cols = reflected(left - border, side + 2 * border, grid.width)
        patch = dn[:, rows[:, None], cols]
        reflectance = canonical(optical.radiometry.reflectance(patch), optical.names)
        found = found_cells(network, reflectance, present(optical.names))
        grown = ndimage.binary_dilation(found, iterations=DILATION)[BORDER:-BORDER, BORDER:-BORDER]
        y, x = (top + cover.phase[0]) // CELL, (left + cover.phase[1]) // CELL
        y0, x0 = max(y, 0), max(x, 0)
        target = cover.cells[y0 : y + TILE, x0 : x + TILE]
        target[:] = grown[y0 - y : y0 - y + target.shape[0], x0 - x : x0 - x + target.shape[1]]


def _learn(
    builder: ContextBuilder,
    phase: tuple[int, int],
    top: int,
    optical: Optical,
    dn: NDArray[np.generic],
    clear: NDArray[np.bool_],
    radar: Radar | None,
) -> None:
    """Give one strip to the context, whose blocks of 2 x 2 pixels lie on even map pixels as cells do."""
    above = phase[0] if top == 0 else 0
    optical_values = without_cirrus(canonical(optical.radiometry.reflectance(dn), optical.names))
    pad = ((above, 0), (phase[1], 0))
    optical_values = np.pad(optical_values, ((0, 0), *pad))
    clear = np.pad(clear, pad)
    db, valid = None, None
    if radar is not None:
        rows = reflected(top - above - MARGIN, above + dn.shape[1] + 2 * MARGIN, optical.grid.height)
        cols = reflected(-phase[1], phase[1] + optical.grid.width, optical.grid.width)
        db, valid = radar_rows(radar, rows)
        db, valid = db[:, :, cols], valid[:, cols]
    builder.add(top + phase[0] - above, optical_values, clear, db, valid)


def radar_rows(radar: Radar, rows: NDArray[np.intp]) -> tuple[Array, NDArray[np.bool_]]:
    """Radar dB (2, n, width) and validity (n, width) at rows of any order, read as one window."""
    first = int(rows.min())
    db, valid = radar.read(first, int(rows.max()) + 1 - first)
    return db[:, rows - first], valid[rows - first]
