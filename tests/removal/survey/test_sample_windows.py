from __future__ import annotations

import pytest

from cmcr_cli.removal.survey.sample_windows import evenly_spread


@pytest.mark.parametrize("height", [1, 16, 31, 512, 513, 10_980])
def test_strips_are_spread_over_the_whole_scene(height: int) -> None:
    strips = list(evenly_spread(height, 16, 32))
    assert len(strips) <= 16 and strips[0][0] == 0 and sum(strips[-1]) == height
    assert all(top >= 0 and rows == min(32, height) for top, rows in strips)
    if height <= 512:
        assert {row for top, rows in strips for row in range(top, top + rows)} == set(range(height))
