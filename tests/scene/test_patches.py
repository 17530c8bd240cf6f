from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cmcr_cli.errors import OptionError
from cmcr_cli.scene.patches import (
    PATCH,
    blend,
    blend_ramp,
    edge_ramps,
    join_rows,
    lattice_starts,
    reflected,
    row_canvas,
)

overlaps = st.integers(8, 64).map(lambda half: 2 * half)
origins = st.integers(-2000, 600_000)
sizes = st.integers(1, 1500)
sides = st.integers(1, 600)


@given(origins, sizes, overlaps)
def test_starts_lie_on_the_map_lattice_and_cover_the_scene(origin: int, size: int, overlap: int) -> None:
    starts = lattice_starts(origin, size, overlap)
    assert all((origin + start) % (PATCH - overlap) == 0 for start in starts)
    assert starts == sorted(set(starts))
    assert starts[0] <= 0 and starts[-1] + PATCH >= size
    assert all(start < size and start + PATCH > 0 for start in starts)


@given(origins, sizes, overlaps, st.data())
def test_a_crop_has_the_patches_of_the_whole(
    origin: int, size: int, overlap: int, data: st.DataObject
) -> None:
    begin = data.draw(st.integers(0, size - 1))
    end = data.draw(st.integers(begin + 1, size))
    whole = {start + origin for start in lattice_starts(origin, size, overlap)}
    crop = {start + origin + begin for start in lattice_starts(origin + begin, end - begin, overlap)}
    touching = {start for start in whole if start < origin + end and start + PATCH > origin + begin}
    assert crop == touching


@given(origins, sizes, overlaps)
def test_weights_of_every_pixel_sum_to_one(origin: int, size: int, overlap: int) -> None:
    total = np.zeros(size)
    for start in lattice_starts(origin, size, overlap):
        inside = slice(max(start, 0), min(start + PATCH, size))
        total[inside] += blend_ramp(overlap)[inside.start - start : inside.stop - start]
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_the_ramp_is_smooth_and_symmetric() -> None:
    ramp = blend_ramp(32)
    assert ramp.dtype == np.float32
    np.testing.assert_array_equal(ramp, ramp[::-1])
    assert (np.diff(ramp[:33]) > 0).all()
    assert (ramp[32:-32] == 1).all()
    assert ramp[0] < 1e-3


@pytest.mark.parametrize("overlap", [0, 14, 15, 33, 130, -32])
def test_impossible_overlaps_are_usage_errors(overlap: int) -> None:
    with pytest.raises(OptionError, match="--overlap"):
        lattice_starts(0, 100, overlap)
    with pytest.raises(OptionError, match="--overlap"):
        blend_ramp(overlap)


@given(st.integers(-300, 300), st.integers(1, 300), st.integers(1, 40))
@example(start=-100, length=256, size=2)
def test_reflection_is_that_of_numpy(start: int, length: int, size: int) -> None:
    line = np.arange(size)
    before, after = max(-start, 0), max(start + length - size, 0)
    # numpy refuses nothing here: it reflects again and again, and repeats a single pixel.
    padded = np.pad(line, (before, after), mode="reflect")
    np.testing.assert_array_equal(line[reflected(start, length, size)], padded[start + before :][:length])


def _blend(image: NDArray[np.float32], origin: tuple[int, int], overlap: int) -> NDArray[np.float32]:
    """Cut `image` (bands, H, W) into patches and blend them again: all that the lattice spans."""
    bands, height, width = image.shape
    tops = lattice_starts(origin[0], height, overlap)
    lefts = lattice_starts(origin[1], width, overlap)
    canvases = []
    for top, down in zip(tops, edge_ramps(len(tops), overlap), strict=True):
        canvases.append(row_canvas(bands, lefts))
        rows = reflected(top, PATCH, height)
        for left, across in zip(lefts, edge_ramps(len(lefts), overlap), strict=True):
            patch = image[:, rows[:, None], reflected(left, PATCH, width)]
            blend(canvases[-1], left - lefts[0], patch, down, across)
    out = np.full((bands, tops[-1] + PATCH - tops[0], lefts[-1] + PATCH - lefts[0]), np.nan, np.float32)
    for index, top in enumerate(tops):
        above = canvases[index - 1][:, -overlap:] if index else None
        below = canvases[index + 1] if index + 1 < len(tops) else None
        for left in lefts:
            columns = slice(left - lefts[0], left - lefts[0] + PATCH)
            joined = join_rows(above, canvases[index], below, overlap, columns)
            out[:, top - tops[0] : top - tops[0] + PATCH, columns] = joined
    return out


@given(sides, sides, origins, origins, overlaps)
@example(1, 1, 0, 0, 32)
@example(600, 1, 223, 224, 32)
@settings(deadline=None)
def test_blending_the_patches_of_an_image_gives_the_image(
    height: int, width: int, row0: int, column0: int, overlap: int
) -> None:
    image = np.random.default_rng(0).random((2, height, width), dtype=np.float32)
    out = _blend(image, (row0, column0), overlap)
    top, left = (
        lattice_starts(origin, size, overlap)[0] for origin, size in ((row0, height), (column0, width))
    )
    rows, columns = (
        reflected(first, length, size)
        for first, length, size in ((top, out.shape[1], height), (left, out.shape[2], width))
    )
    np.testing.assert_allclose(out, image[:, rows[:, None], columns], atol=2e-6)


def test_rows_without_patches_count_as_zero() -> None:
    ones, columns = np.ones((1, PATCH, PATCH), np.float32), slice(0, PATCH)
    canvas = row_canvas(1, [0])
    middle = edge_ramps(3, 32)[1]
    blend(canvas, 0, ones, middle, edge_ramps(1, 32)[0])
    alone = join_rows(None, canvas, None, 32, columns)
    np.testing.assert_array_equal(alone[0, :, 0], middle)
    whole = join_rows(canvas[:, -32:], canvas, canvas, 32, columns)
    np.testing.assert_allclose(whole, 1, atol=1e-6)
    assert canvas[0, 0, 0] == middle[0], "joining must not change what is joined"
