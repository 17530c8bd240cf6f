from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from cmcr_cli.ground.cirrus import B10, TYPICAL_RATIO
from cmcr_cli.ground.unmixing import NOTHING
from cmcr_cli.removal.survey import learning
from cmcr_cli.removal.survey.cloud_map import CLOUD, CloudMap
from cmcr_cli.removal.survey.learning import GroundLearner, strips
from cmcr_cli.removal.survey.tiles import TileRow
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.masks.mask_codes import CLEAR, THICK
from cmcr_cli.scene.span import Span
from tests.support.strips import optical


@pytest.mark.parametrize("phase", [0, 1])
@pytest.mark.parametrize(("start", "stop"), [(0, 700), (511, 1023), (0, 1)])
def test_strips_tile_the_rows_and_end_on_even_map_rows(start: int, stop: int, phase: int) -> None:
    found = list(strips(Span(start, stop), phase))
    assert (found[0].start, found[-1].stop) == (start, stop)
    assert all(one.stop == other.start for one, other in itertools.pairwise(found))
    assert all((each.stop + phase) % 2 == 0 and each.size <= learning.STRIP for each in found[:-1])


@pytest.mark.parametrize("phase", [(0, 0), (1, 1)])
def test_the_ground_is_that_of_the_clear_pixels_alone(phase: tuple[int, int]) -> None:
    """Flat ground under bright clouds: not even the edge of a cloud is learnt from."""
    height, width = 260, 600
    scene = optical(BANDS, np.uint16, None)
    grid = SimpleNamespace(height=height, width=width, origin=phase)
    object.__setattr__(scene, "source", SimpleNamespace(grid=grid))
    cells = np.full((-(-(height + phase[0]) // 2), -(-(width + phase[1]) // 2)), CLEAR, np.uint8)
    cells[40:60, 100:150] = THICK
    cloud_map = CloudMap.empty(grid)  # type: ignore[arg-type]
    cloud_map.enter(0, cells, np.zeros(cells.shape, np.bool_))
    treatment = cloud_map.pixels(0, height)
    assert (treatment == CLOUD).any()
    dn = np.where(treatment == CLOUD, 9000, 3000).astype(np.uint16) * np.ones((13, 1, 1), np.uint16)
    dn[B10] = 1010
    learner = GroundLearner(scene, None, phase, TYPICAL_RATIO, map)
    for span in strips(Span(0, height), phase[0]):
        rows = slice(span.start, span.stop)
        learner.learn(span, dn[:, rows], np.ones_like(treatment[rows], np.bool_), treatment[rows] == 0, None)
    learner.keep(TileRow(Span(0, height), 0, dn))
    ground = learner.finish(cloud_map)
    expected = np.full(13, 0.2, np.float32)
    expected[B10] = 0.001
    # Which counts a few blocks of typical ground as well.
    np.testing.assert_allclose(ground.context.mean, expected, atol=2e-4)
    assert ground.cirrus_ratio == TYPICAL_RATIO
    assert not np.array_equal(ground.unmixing, NOTHING), "what covered pixels differ by was looked at"
