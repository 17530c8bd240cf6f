"""Made-up ground on several dates, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.ground.context import TYPICAL_MEAN, TYPICAL_STD, SceneContext
from cmcr_cli.ground.radar_basis import MARGIN as RADAR_MARGIN
from cmcr_cli.ground.reference_learning import fit_references, padded
from cmcr_cli.ground.references import Expected, References, View
from cmcr_cli.ground.spectral_basis import MARGIN

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

SIZE = 128
HOLE = slice(48, 88)
PRESENT = np.ones(13, bool)


def fields(seed: int, size: int = SIZE, width: int = 8, region: float = 0.5) -> Floats:
    """Fields of `width` pixels, each of a spectrum of its own that no radar tells (13, size, size).

    Regions are brighter or darker in each band, by `region`, and there is a little noise.
    """
    rng = np.random.default_rng(seed)
    own = rng.uniform(-0.8, 1.6, (13, size // width, size // width)).repeat(width, 1).repeat(width, 2)
    phase = rng.uniform(0, 6, (2, 13, 1))
    along = 2 * np.pi * np.arange(size) / 120
    wide = np.sin(along + phase[0])[:, :, None] + np.sin(along + phase[1])[:, None, :]
    values = own + region * wide + rng.normal(0, 0.02, own.shape)
    return np.asarray(TYPICAL_MEAN[:, None, None] + TYPICAL_STD[:, None, None] * values, np.float32)


@dataclass(frozen=True)
class Today:
    """A scene with a hole, as `fit_references` takes it."""

    image: Floats
    clear: Bools
    radar: Floats | None
    radar_valid: Bools | None

    def fit(self, *views: View, present: Bools = PRESENT) -> tuple[SceneContext, References]:
        return fit_references(self.image, self.clear, self.radar, self.radar_valid, present, views)


def today(image: Floats, *, radar: bool = True) -> Today:
    """A square in the middle is covered, and what is seen there has nothing to do with the ground."""
    clear = np.ones(image.shape[1:], bool)
    clear[HOLE, HOLE] = False
    cloudy = np.where(clear, image, np.float32(0.9))
    if not radar:
        return Today(cloudy, clear, None, None)
    db = np.random.default_rng(9).normal([[[-11]], [[-18]]], 2, (2, *clear.shape)).astype(np.float32)
    return Today(cloudy, clear, db, np.ones_like(clear))


def view(image: Floats, clear: Bools | None = None) -> View:
    return View(image, np.ones(image.shape[1:], bool) if clear is None else clear)


def cut(views: list[View], top: int, left: int, height: int, width: int) -> list[View]:
    """What `References.evaluate` gets for a window of whole views."""
    here = slice(top, top + height + 2 * MARGIN), slice(left, left + width + 2 * MARGIN)
    return [View(each.image[:, *here], each.clear[here]) for each in map(padded, views)]


def predict(
    fitted: tuple[SceneContext, References],
    scene: Today,
    views: list[View],
    box: tuple[int, int, int, int] = (0, 0, SIZE, SIZE),
) -> Expected:
    """What is expected in a window: top, left, height, width."""
    top, left, height, width = box
    radar: list[Any] = [None, None]
    if scene.radar is not None and scene.radar_valid is not None:
        around = ((RADAR_MARGIN, RADAR_MARGIN),) * 2
        rows, columns = (
            slice(start, start + size + 2 * RADAR_MARGIN) for start, size in ((top, height), (left, width))
        )
        radar[0] = np.pad(scene.radar, ((0, 0), *around), mode="reflect")[:, rows, columns]
        radar[1] = np.pad(scene.radar_valid, around, mode="reflect")[rows, columns]
    context, references = fitted
    return references.evaluate(context, top, left, height, width, *radar, cut(views, *box))


def error(found: Expected, truth: Floats) -> float:
    """Root mean square error under the hole, in units of the standard deviation of typical ground."""
    difference = (found.spectrum - truth)[:, HOLE, HOLE] / TYPICAL_STD[:, None, None]
    return float(np.sqrt(np.square(difference).mean()))
