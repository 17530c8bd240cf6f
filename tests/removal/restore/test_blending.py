from __future__ import annotations

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from cmcr_cli.removal.restore.blending import blend, join_rows, strip_canvas
from cmcr_cli.scene.patches import PATCH, edge_ramps, lattice_starts, reflected

CPU = torch.device("cpu")

overlaps = st.integers(8, 64).map(lambda half: 2 * half)
origins = st.integers(-2000, 600_000)
sides = st.integers(1, 600)


def ramps(count: int, overlap: int) -> list[Tensor]:
    return [torch.from_numpy(ramp) for ramp in edge_ramps(count, overlap)]


def blended(image: Tensor, origin: tuple[int, int], overlap: int) -> Tensor:
    """Cut `image` (bands, H, W) into patches and blend them again: all that the lattice spans."""
    bands, height, width = image.shape
    tops = lattice_starts(origin[0], height, overlap)
    lefts = lattice_starts(origin[1], width, overlap)
    canvases = []
    for top, down in zip(tops, ramps(len(tops), overlap), strict=True):
        canvases.append(strip_canvas(bands, lefts, CPU))
        rows = reflected(top, PATCH, height)
        for left, across in zip(lefts, ramps(len(lefts), overlap), strict=True):
            patch = image[:, rows[:, None], reflected(left, PATCH, width)]
            blend(canvases[-1], left - lefts[0], patch, down, across)
    out = torch.full((bands, tops[-1] + PATCH - tops[0], lefts[-1] + PATCH - lefts[0]), torch.nan)
    for index, top in enumerate(tops):
        above = canvases[index - 1][:, -overlap:] if index else None
        below = canvases[index + 1] if index + 1 < len(tops) else None
        for left in lefts:
            lines, column = slice(top - tops[0], top - tops[0] + PATCH), left - lefts[0]
            joined = join_rows(above, canvases[index], below, overlap, column)
            out[:, lines, column : column + PATCH] = joined
    return out


@given(sides, sides, origins, origins, overlaps)
@example(1, 1, 0, 0, 32)
@example(600, 1, 223, 224, 32)
@settings(deadline=None)
def test_blending_the_patches_of_an_image_gives_the_image(
    height: int, width: int, row0: int, column0: int, overlap: int
) -> None:
    image = np.random.default_rng(0).random((2, height, width), dtype=np.float32)
    out = blended(torch.from_numpy(image), (row0, column0), overlap)
    top, left = (
        lattice_starts(origin, size, overlap)[0] for origin, size in ((row0, height), (column0, width))
    )
    rows, columns = (
        reflected(first, length, size)
        for first, length, size in ((top, out.shape[1], height), (left, out.shape[2], width))
    )
    np.testing.assert_allclose(out, image[:, rows[:, None], columns], atol=2e-6)


def test_rows_without_patches_count_as_zero() -> None:
    canvas, middle = strip_canvas(1, [0], CPU), ramps(3, 32)[1]
    blend(canvas, 0, torch.ones(1, PATCH, PATCH), middle, ramps(1, 32)[0])
    alone = join_rows(None, canvas, None, 32, 0)
    assert torch.equal(alone[0, :, 0], middle)
    whole = join_rows(canvas[:, -32:], canvas, canvas, 32, 0)
    np.testing.assert_allclose(whole, 1, atol=1e-6)
    assert canvas[0, 0, 0] == middle[0], "joining must not change what is joined"


def test_estimates_that_wait_are_rounded_once_for_each_patch() -> None:
    """As sums of 32 bits that are stored in 16: the rounding of one patch, not that of its every part."""
    torch.manual_seed(0)
    canvas, down, (left, right) = strip_canvas(2, [0, 224], CPU, half=True), ramps(1, 32)[0], ramps(2, 32)
    first, second = torch.randn(2, 2, PATCH, PATCH)
    blend(canvas, 0, first, down, left)
    blend(canvas, 224, second, down, right)
    waiting = (first[..., 224:] * left[224:]).half().float()
    seam = torch.addcmul(waiting, second[..., :32], right[:32])
    assert torch.equal(canvas[..., 224:256], seam.half())
    assert join_rows(None, canvas, None, 32, 224).dtype == torch.float32
