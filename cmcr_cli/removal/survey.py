"""The first pass over a scene: find what is covered, and learn the context from what is clear."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.model.clouds import MARGIN as REACH
from cmcr_cli.model.clouds import THRESHOLD, CloudNetwork
from cmcr_cli.removal.cover import CELL, CLOUD, VEIL, Cover
from cmcr_cli.scene.bands import BANDS, canonical, present
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
from cmcr_cli.scene.patches import reflected
from cmcr_cli.scene.radar import Radar
from cmcr_cli.scene.unmixing import NOTHING, Unmixing

Array = NDArray[np.float32]
Rows = tuple[int, int]

SIDE = 256
"""Cells along the side of the square that the cloud network is asked about at once."""

VEILED = np.float32(0.015)
"""Reflectance that cirrus adds to the visible, from which on its ground is restored."""

PROBES = 8
"""Strips of TILE rows, evenly spread over the scene, in which the ratio of cirrus is fitted."""

SAMPLED = 16, 32
"""Strips, and the rows of each, whose departures from the context the unmixing is learnt from."""

DILATION = 3
"""Cells (60 m) by which the network's finds are grown: the rim of a cloud is thinner than any threshold."""

BORDER = REACH + 8
"""Cells that the network sees around a tile: its own reach and the dilation's; it halves them three times."""

STRIP = 128
"""Rows of float reflectance held at once, an even number."""

Progress = Callable[[float], None]
Each = Callable[[Callable[[int], Any], Iterable[int]], Iterable[Any]]


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
    valid_pixels = covered_pixels = 0
    for core, window in _tile_rows(grid.origin[0], grid.height):
        dn = optical.read(window[0], window[1] - window[0])
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
        progress(core[1] / grid.height)
    context, unmixing = None, NOTHING
    if builder is not None:
        context = builder.finish(present(optical.names))
        unmixing = _unmixing(context, cover, optical, radar, visible)
    total = grid.height * grid.width
    shares = valid_pixels / total, covered_pixels / max(valid_pixels, 1)
    return Survey(cover, context, visible, unmixing, *shares)


def _fitted(optical: Optical) -> np.float32:
    """The ratio of this scene's cirrus, from a few strips of it."""
    bands = [optical.names.index(BANDS[band]) for band in FITTED]
    return fitted_ratio(
        optical.radiometry.reflectance(optical.read(top, rows)[bands])
        for top, rows in _spread(optical.grid.height, PROBES, TILE)
    )


def _unmixing(
    context: SceneContext, cover: Cover, optical: Optical, radar: Radar | None, visible: np.float32
) -> Array:
    """The matrices that part ground from cloud, from covered pixels of strips all over the scene."""
    found, names = Unmixing(), optical.names
    phase, grid = cover.phase, optical.grid
    for top, rows in _spread(grid.height, *SAMPLED):
        dn = optical.read(top, rows)
        covered = optical.valid(dn) & (cover.pixels(top, rows) > 0)
        if not covered.any():
            continue
        image = without_cirrus(canonical(optical.radiometry.reflectance(dn), names), visible)
        # The context is asked for windows on even map pixels.
        above, before = (phase[0] + top) % CELL, phase[1]
        height, width = (-(-size // CELL) * CELL for size in (above + rows, before + grid.width))
        db = valid = None
        if radar is not None:
            lines = reflected(top - above - MARGIN, height + 2 * MARGIN, grid.height)
            columns = reflected(-before - MARGIN, width + 2 * MARGIN, grid.width)
            db, valid = radar_rows(radar, lines)
            db, valid = db[:, :, columns], valid[:, columns]
        spectrum, _ = context.evaluate(top + phase[0] - above, 0, height, width, db, valid)
        expected = spectrum[:, above : above + rows, before : before + grid.width]
        found.add((image - expected)[:, covered])
    return found.matrices(context.covariance)


def _spread(height: int, count: int, rows: int) -> Iterator[Rows]:
    """(top, rows) of at most `count` strips, evenly spread over `height` rows, or all rows if few."""
    if height <= count * rows:
        count = -(-height // rows)
    for index in range(count):
        top = index * max(height - rows, 0) // max(count - 1, 1)
        yield top, min(rows, height - top)


def _tile_rows(origin: int, height: int) -> Iterator[tuple[Rows, Rows]]:
    """(core rows, rows to read) per row of tiles, which begin at multiples of their side on the map."""
    side = SIDE * CELL
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
def found_cells(
    network: CloudNetwork, image: Array, names: NDArray[np.bool_], visible: np.float32
) -> NDArray[np.uint8]:
    """What lies over an image (13, H, W) of reflectance, bands `names` (13,): (h, w) cells 0, VEIL or CLOUD.

    The network sees B10 as it is. Where it finds nothing once B10 is as over clear ground, all that lies
    there is cirrus, which if it is THIN is taken off well enough to learn from the ground below. Not grown by
    DILATION yet, and not sure within BORDER cells of the edge.
    """
    device = next(network.parameters()).device

    def coarse(plane: Array) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(torch.from_numpy(plane)[None].to(device), CELL)

    tile = coarse(without_cirrus(image, visible))
    known = torch.from_numpy(names.astype(np.float32))[None].to(device)
    found = network.cover(tile, known)[0] > THRESHOLD
    veil = coarse(veil_of(image, visible)[None])[0, 0]
    cloud = found
    if bool((veil > VEILED / 2).any()):
        tile[:, B10] = float(GROUND)
        cloud = (network.cover(tile, known)[0] > THRESHOLD) | (veil > float(THIN))
        found = found | (veil > float(VEILED))
    cells = torch.where(cloud, CLOUD, torch.where(found, VEIL, 0))
    return np.asarray(cells.cpu().numpy(), dtype=np.uint8)


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
    side, border = SIDE * CELL, BORDER * CELL
    row0, col0 = grid.origin
    top = (core[0] + row0) // side * side - row0
    rows = reflected(top - border, side + 2 * border, grid.height) - window[0]
    names = present(optical.names)

    def find(left: int) -> NDArray[np.uint8]:
        cols = reflected(left - border, side + 2 * border, grid.width)
        patch = dn[:, rows[:, None], cols]
        reflectance = canonical(optical.radiometry.reflectance(patch), optical.names)
        found = found_cells(network, reflectance, names, visible)
        return grown_cells(found)[BORDER:-BORDER, BORDER:-BORDER]

    lefts = range(col0 // side * side - col0, grid.width, side)
    for left, grown in zip(lefts, each(find, lefts), strict=True):
        y, x = (top + cover.phase[0]) // CELL, (left + cover.phase[1]) // CELL
        y0, x0 = max(y, 0), max(x, 0)
        target = cover.cells[y0 : y + SIDE, x0 : x + SIDE]
        target[:] = grown[y0 - y : y0 - y + target.shape[0], x0 - x : x0 - x + target.shape[1]]


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
        db, valid = radar_rows(
            radar, reflected(top - above - MARGIN, height + 2 * MARGIN, optical.grid.height)
        )
    wide = reflected(-phase[1], width, optical.grid.width)[reflected(-MARGIN, width + 2 * MARGIN, width)]

    def learn(left: int) -> None:
        cols = slice(max(left - phase[1], 0), min(left + REGION - phase[1], optical.grid.width))
        pad = ((above, 0), (phase[1] if left == 0 else 0, 0))
        values = without_cirrus(
            canonical(optical.radiometry.reflectance(dn[:, :, cols]), optical.names), visible
        )
        values = np.pad(values, ((0, 0), *pad))
        seen = np.pad(clear[:, cols], pad)
        near = (..., wide[left : left + seen.shape[1] + 2 * MARGIN])
        around = (None, None) if radar is None else (db[near], valid[near])
        builder.add(top + phase[0] - above, left, values, seen, *around)

    for _ in each(learn, range(0, width, REGION)):
        pass


def radar_rows(radar: Radar, rows: NDArray[np.intp]) -> tuple[Array, NDArray[np.bool_]]:
    """Radar dB (2, n, width) and validity (n, width) at rows of any order, read as one window."""
    first = int(rows.min())
    db, valid = radar.read(first, int(rows.max()) + 1 - first)
    return db[:, rows - first], valid[rows - first]
