from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cmcr_cli.errors import OptionError
from cmcr_cli.scene.patches import PATCH, blend_ramp, lattice_starts, mirrored, reflected

overlaps = st.integers(8, 64).map(lambda half: 2 * half)
origins = st.integers(-2000, 600_000)
sizes = st.integers(1, 1500)


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


@pytest.mark.parametrize("size", [1, 2, 5])
def test_mirrored_is_numpys_symmetric_padding(size: int) -> None:
    axis = np.arange(size)
    assert mirrored(-7, size + 14, size).tolist() == np.pad(axis, 7, mode="symmetric").tolist()
    assert mirrored(1, 3, size).tolist() == np.pad(axis, 7, mode="symmetric")[8:11].tolist()
