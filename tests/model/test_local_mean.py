from __future__ import annotations

import torch

from cmcr_cli.model.local_mean import MEAN_CELL, around, level, means, repeated
from tests.support.tensors import assert_close


def test_cells_have_the_mean_of_their_pixels() -> None:
    image = torch.randn(2, 3, 4 * MEAN_CELL, 5 * MEAN_CELL)
    found = means(image)
    assert found.shape == (2, 3, 4, 5)
    assert_close(found[1, 2, 3, 4], image[1, 2, 3 * MEAN_CELL :, 4 * MEAN_CELL :].mean())


def test_cells_outside_the_image_are_not_counted() -> None:
    cells = torch.arange(12.0).view(1, 1, 3, 4)
    found = around(cells, 3)
    assert found.shape == cells.shape
    assert float(found[0, 0, 1, 1]) == float(cells[..., :3, :3].mean())
    assert float(found[0, 0, 0, 0]) == float(cells[..., :2, :2].mean())


def test_between_the_centres_of_cells_it_is_linear() -> None:
    cells = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 3, 4)
    row = repeated(cells)[0, 0, MEAN_CELL]
    assert row.shape == (4 * MEAN_CELL,)
    steps = row.diff()[MEAN_CELL // 2 : -MEAN_CELL // 2]
    assert_close(steps, torch.full_like(steps, 1 / MEAN_CELL))


def test_the_level_of_an_image_has_none_of_its_detail() -> None:
    detail = (torch.arange(8 * MEAN_CELL)[:, None] + torch.arange(8 * MEAN_CELL)) % 2 - 0.5
    flat = level((3 + detail).expand(1, 2, -1, -1))
    assert_close(flat, torch.full_like(flat, 3))
