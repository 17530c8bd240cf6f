from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cmcr_cli.errors import OptionError
from cmcr_cli.scene.patches import PATCH, RowBlender, blend_ramp, lattice_starts, reflected

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


def _blend(
    image: NDArray[np.float32], origin: tuple[int, int], overlap: int
) -> tuple[NDArray[np.float32], list[tuple[int, int]]]:
    """Cut `image` (bands, H, W) into patches and blend them again; also the row ranges as handed out."""
    bands, height, width = image.shape
    blender = RowBlender(bands, height, width, overlap)
    out = np.full_like(image, np.nan)
    ranges = []
    tops = lattice_starts(origin[0], height, overlap)
    for top, below in itertools.pairwise([*tops, height]):
        rows = reflected(top, PATCH, height)
        for left in lattice_starts(origin[1], width, overlap):
            blender.add(top, left, image[:, rows[:, None], reflected(left, PATCH, width)])
        for first, finished in blender.finish(below):
            out[:, first : first + finished.shape[1]] = finished
            ranges.append((first, first + finished.shape[1]))
    return out, ranges


@given(sides, sides, origins, origins, overlaps)
@example(1, 1, 0, 0, 32)
@example(600, 1, 223, 224, 32)
def test_blending_the_patches_of_an_image_gives_the_image(
    height: int, width: int, row0: int, column0: int, overlap: int
) -> None:
    image = np.random.default_rng(0).random((2, height, width), dtype=np.float32)
    out, ranges = _blend(image, (row0, column0), overlap)
    np.testing.assert_allclose(out, image, atol=2e-6)
    assert ranges[0][0] == 0 and ranges[-1][1] == height
    assert all(one[1] == other[0] for one, other in itertools.pairwise(ranges))


def test_patches_left_out_leave_zeros_and_rows_can_be_skipped() -> None:
    blender = RowBlender(1, 2000, 300, 32)
    ones = np.ones((1, PATCH, PATCH), dtype=np.float32)
    blender.add(0, 0, ones)
    rows = np.concatenate([finished.copy() for _, finished in blender.finish(1120)], axis=1)
    assert rows.shape == (1, 1120, 300)
    assert rows[0, 100, 100] == 1
    assert (rows[0, :, PATCH:] == 0).all() and (rows[0, PATCH:] == 0).all()
    blender.add(1120, 0, ones)
    rows = np.concatenate([finished.copy() for _, finished in blender.finish(5000)], axis=1)
    assert rows.shape == (1, 880, 300)
    assert rows[0, 100, 100] == 1
    assert (rows[0, PATCH:] == 0).all()


def test_a_patch_outside_the_ring_is_refused() -> None:
    blender = RowBlender(1, 1000, 256, 32)
    patch = np.ones((1, PATCH, PATCH), dtype=np.float32)
    with pytest.raises(ValueError, match="rows 224 to 480"):
        blender.add(224, 0, patch)
    list(blender.finish(224))
    blender.add(224, 0, patch)
    with pytest.raises(ValueError, match="rows 0 to 256"):
        blender.add(0, 0, patch)
