from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cmcr_cli.removal.survey import tiles
from cmcr_cli.removal.survey.tiles import tile_rows
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.span import Span
from tests.support.strips import optical


class Counted:
    """A raster of three bands whose rows hold their numbers; counts how often each is read."""

    def __init__(self, height: int, origin: int) -> None:
        self.grid = SimpleNamespace(height=height, width=5, origin=(origin, 0))
        self.times = np.zeros(height, int)

    def read(self, top: int, rows: int, bands: Any = None) -> NDArray[Any]:
        self.times[top : top + rows] += 1
        numbers = np.arange(top, top + rows, dtype=np.uint16)[None, :, None]
        return np.broadcast_to(numbers, (3, rows, 5)).copy()


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "SIDE", 16)


def made(height: int, origin: int) -> tuple[Optical, Counted]:
    scene, raster = optical(("B02", "B03", "B04"), np.uint16, None), Counted(height, origin)
    object.__setattr__(scene, "source", raster)
    return scene, raster


@pytest.mark.parametrize(("height", "origin"), [(100, 0), (100, 20), (7, 31), (1, 0), (64, -5)])
def test_rows_of_tiles_tile_the_scene_and_begin_at_multiples_of_their_side(height: int, origin: int) -> None:
    scene, _ = made(height, origin)
    cores = [row.core for row in tile_rows(scene, 4, 4)]
    assert cores[0].start == 0 and cores[-1].stop == height
    for above, below in itertools.pairwise(cores):
        assert above.stop == below.start and (origin + below.start) % 32 == 0


@pytest.mark.parametrize(("above", "below"), [(0, 0), (10, 3), (3, 20)])
def test_each_row_is_read_once_and_comes_with_its_neighbours(above: int, below: int) -> None:
    scene, raster = made(150, 7)
    for row in tile_rows(scene, above, below):
        first, stop = max(row.core.start - above, 0), min(row.core.stop + below, 150)
        assert row.first <= first and row.first + row.dn.shape[1] >= stop
        wanted = row.rows(Span(first, stop))
        assert np.array_equal(wanted[2, :, 4], np.arange(first, stop))
    assert (raster.times == 1).all()


def test_what_is_mirrored_at_the_edges_of_the_scene_is_there() -> None:
    """A tile that hangs over the last row sees the rows above it once more, from the edge upwards."""
    scene, _ = made(40, 0)
    last = list(tile_rows(scene, 12, 0))[-1]
    assert last.core == Span(32, 40) and last.first <= 40 - 1 - (32 + 32 + 12 - 40)
