from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cmcr_cli.model.local_mean import MEAN_CELL
from cmcr_cli.model.shrinkage import (
    AROUND,
    FAR,
    HIDES,
    PART,
    UNSUPPORTED,
    hidden,
    shrunk,
    supported,
    unexplained,
)
from tests.support.tensors import assert_close

SIZE = 64
CELLS = SIZE // MEAN_CELL


def plane(value: float) -> Tensor:
    return torch.full((1, 1, SIZE, SIZE), float(value))


@pytest.mark.parametrize(
    ("brightness", "cover", "confidence", "expected"),
    [
        (HIDES[0], 1, 1, 0),
        (sum(HIDES) / 2, 1, 1, 0.5),
        (HIDES[1], 1, 1, 1),
        (0.9, 1, 1, 1),
        (0.9, 1, 0.25, 0.5),  # a context that is hardly known is not believed
        (0.9, 1, 0, 0),
        (0.9, 0, 1, 0),  # bright ground
        (-0.1, 1, 1, 0),  # shadow
    ],
)
def test_only_bright_cloud_over_a_known_context_hides_the_ground(
    brightness: float, cover: float, confidence: float, expected: float
) -> None:
    found = hidden(plane(brightness), plane(cover), plane(confidence))
    assert_close(found, plane(expected))


@pytest.mark.parametrize(
    ("brightness", "cover", "confidence", "expected"),
    [
        (UNSUPPORTED[1], 1, 0, PART),
        (0.9, 1, 0, PART),
        (0.9, 1, FAR / 2, (1 + PART) / 2),
        (sum(UNSUPPORTED) / 2, 1, 0, (1 + PART) / 2),
        (UNSUPPORTED[0], 1, 0, 1),  # the ground shines through
        (0.9, 1, FAR, 1),
        (0.9, 0, 0, 1),  # not covered
    ],
)
def test_only_under_opaque_cloud_far_from_clear_ground_a_part_is_given_up(
    brightness: float, cover: float, confidence: float, expected: float
) -> None:
    found = supported(plane(brightness), plane(cover), plane(confidence))
    assert_close(found, plane(expected))


def test_clear_ground_tells_how_far_the_context_is_off() -> None:
    residual = torch.where(torch.arange(SIZE) < SIZE // 2, 0.1, 2.0).expand(1, 13, SIZE, SIZE).clone()
    cover = plane(0)
    cover[..., 16:48] = 1  # the border lies in the middle of the cloud
    residual[..., 16:48] = 1e3
    found = unexplained(residual, cover)
    assert found.shape == (1, 1, CELLS, CELLS)
    mean = (0.1**2 + 2**2) / 2
    calm, rough = found[..., 0], found[..., -1]
    assert (calm < 0.1 * mean).all() and (rough > 1.8 * mean).all()


def test_far_from_clear_ground_the_patch_speaks_and_without_any_the_scene() -> None:
    size = 4 * AROUND * MEAN_CELL
    residual, cover = torch.full((1, 13, size, size), 0.5), torch.ones(1, 1, size, size)
    assert_close(unexplained(residual, cover), torch.ones(1, 1, size // MEAN_CELL, size // MEAN_CELL))
    cover[..., : 2 * MEAN_CELL] = 0
    far = unexplained(residual, cover)[..., -1]
    assert_close(far, torch.full_like(far, 0.25), rtol=0.1, atol=0)


@pytest.mark.parametrize("size", [0.0, 0.1, 1.0, 10.0])
def test_a_departure_keeps_its_share_of_the_power(size: float) -> None:
    estimate, usual = torch.full((1, 13, SIZE, SIZE), size), torch.full((1, 1, CELLS, CELLS), 0.25)
    expected = torch.full_like(estimate, size**3 / (size**2 + 0.25))
    assert_close(shrunk(estimate, plane(1), usual), expected)
    assert torch.equal(shrunk(estimate, plane(0), usual), estimate)
    half = shrunk(estimate, plane(0.5), usual)
    assert_close(half, (estimate + expected) / 2)


def test_level_and_detail_are_scaled_each_on_its_own() -> None:
    checks = (torch.arange(SIZE)[:, None] + torch.arange(SIZE)) % 2 - 0.5  # a mean of 0 in every cell
    estimate = (2 + 0.2 * checks).expand(1, 13, SIZE, SIZE)
    found = shrunk(estimate, plane(1), torch.full((1, 1, CELLS, CELLS), 0.04))
    level, detail = found.mean(), (found - found.mean()).abs().mean()
    assert float(level) == pytest.approx(2 * 4 / 4.04, rel=1e-4)
    assert float(detail) == pytest.approx(0.1 * 0.01 / 0.05, rel=1e-4)
