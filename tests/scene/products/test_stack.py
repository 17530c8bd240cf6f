from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rasterio import Affine

from cmcr_cli.scene.products.stack import BlockRows, open_stack

if TYPE_CHECKING:
    from tests.support.rasters import Write


class Counted:
    """A band in memory that counts which of its rows were read."""

    def __init__(self, pixels: Any, block: int) -> None:
        self.pixels, self.block_shapes = pixels, [(block, 16)]
        self.height, self.width = pixels.shape
        self.dtypes, self.reads = (pixels.dtype,), np.zeros(self.height, int)

    def read(self, index: int, window: Any) -> Any:
        assert index == 1 and (window.col_off, window.width) == (0, self.width)
        rows = slice(window.row_off, window.row_off + window.height)
        self.reads[rows] += 1
        return self.pixels[rows]


@pytest.mark.parametrize(("rows", "stride"), [(16, 16), (20, 14), (48, 33), (120, 1)])
def test_rows_from_the_top_down_read_each_block_once(rows: int, stride: int) -> None:
    draw = np.random.default_rng(0)
    bands = [
        Counted(draw.integers(0, 9999, (120 // f, 60 // f)).astype(np.uint16), block)
        for f, block in ((1, 32), (2, 13), (6, 20))
    ]
    expected = np.stack(
        [band.pixels.repeat(120 // band.height, 0).repeat(120 // band.height, 1) for band in bands]
    )
    reader = BlockRows(bands, 60)
    for top in range(0, 121 - rows, stride):
        assert np.array_equal(reader.read(top, rows, range(3)), expected[:, top : top + rows])
    assert all(band.reads.max() == 1 for band in bands)
    # and anywhere else, upwards too
    for top in (90, 3, 50, 0):
        assert np.array_equal(reader.read(top, 7, [2, 0]), expected[[2, 0], top : top + 7])


def test_rows_are_those_of_the_dataset(write: Write) -> None:
    draw = np.random.default_rng(1)
    fine = write("fine.tif", draw.integers(1, 9999, (40, 60)).astype(np.uint16))
    coarse = write(
        "coarse.tif",
        draw.integers(1, 9999, (20, 30)).astype(np.uint16),
        transform=Affine(20, 0, 600000, 0, -20, 5900040),
    )
    with open_stack({"B02": str(fine), "B05": str(coarse)}, "a test") as (dataset, rows):
        assert rows is not None
        whole = dataset.read()
        assert np.array_equal(
            np.concatenate([rows.read(0, 13, (0, 1)), rows.read(13, 27, (0, 1))], axis=1), whole
        )
    uneven = write(
        "uneven.tif",
        draw.integers(1, 9999, (27, 40)).astype(np.uint16),
        transform=Affine(15, 0, 600000, 0, -400 / 27, 5900040),
    )
    with open_stack({"B02": str(fine), "B05": str(uneven)}, "a test") as (dataset, rows):
        assert rows is None and dataset.read().shape == (2, 40, 60)
