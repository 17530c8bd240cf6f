from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cmcr_cli.removal.restore.strips import StripReader
from cmcr_cli.scene.patches import lattice_starts


@pytest.mark.parametrize("origin", [0, 30, 100, 200, 223])
@pytest.mark.parametrize("height", [700, 1600])
def test_rows_read_each_line_once(origin: int, height: int) -> None:
    """But near the edges, where rows show more lines than they share: reading is slow, above all of JP2."""
    read: dict[str, list[int]] = {"image": [], "radar": []}

    def image(top: int, rows: int) -> NDArray[Any]:
        read["image"] += range(top, top + rows)
        return np.arange(top, top + rows, dtype=np.uint16)[None, :, None]

    def radar(top: int, rows: int) -> tuple[NDArray[Any], NDArray[Any]]:
        read["radar"] += range(top, top + rows)
        lines = np.arange(top, top + rows, dtype=np.float32)[:, None]
        return np.stack([lines, lines]), lines >= 0

    optical = SimpleNamespace(read=image, grid=SimpleNamespace(height=height))
    cover = SimpleNamespace(pixels=lambda top, rows: np.zeros((rows, 1), np.uint8))
    tops = lattice_starts(origin, height, 32)
    reader = StripReader(optical, SimpleNamespace(read=radar), cover, tops)  # type: ignore[arg-type]
    for index in range(len(tops)):
        row = reader.load(index)
        assert row.dn[0, :, 0].tolist() == list(range(row.first, row.first + row.dn.shape[1]))
        assert row.radar is not None and row.radar[0, 0, 0] == row.radar_first
    for lines in read.values():
        counts = np.bincount(lines, minlength=height)
        assert counts.min() == 1 and counts.max() <= 3 and (counts[320:-320] == 1).all()
