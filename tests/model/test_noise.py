from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cmcr_cli.model.noise import BLOCK, ground_noise

POSITION = st.integers(-(2**31), 2**31)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1), step=st.integers(0, 8), top=POSITION, left=POSITION,
    row=st.integers(0, 90), col=st.integers(0, 90), height=st.integers(1, 80), width=st.integers(1, 80),
)  # fmt: skip
@example(seed=0, step=0, top=-BLOCK - 3, left=-1, row=2, col=0, height=BLOCK + 4, width=2)
@example(seed=0, step=0, top=0, left=BLOCK, row=BLOCK, col=0, height=BLOCK, width=BLOCK)
def test_a_window_is_part_of_any_larger_one(
    seed: int, step: int, top: int, left: int, row: int, col: int, height: int, width: int
) -> None:
    larger = ground_noise(seed, step, top, left, 170, 170)
    alone = ground_noise(seed, step, top + row, left + col, height, width)
    assert alone.dtype == np.float32
    np.testing.assert_array_equal(alone, larger[:, row : row + height, col : col + width])


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_seed_step_band_and_place_all_count() -> None:
    size = 4 * BLOCK
    here = ground_noise(1, 0, 0, 0, size, size)
    others = {
        "seed": ground_noise(2, 0, 0, 0, size, size),
        "step": ground_noise(1, 1, 0, 0, size, size),
        "swapped": ground_noise(0, 1, 0, 0, size, size),
        "row": ground_noise(1, 0, BLOCK, 0, size, size),
        "column": ground_noise(1, 0, 0, BLOCK, size, size),
        "mirrored": ground_noise(1, 0, -size, -size, size, size),
        "transposed": here.transpose(0, 2, 1),
        "band": np.roll(here, 1, axis=0),
    }
    for name, other in others.items():
        # transposing keeps the diagonal: one part in `size`
        assert abs(correlation(here, other)) < 0.01, name


def test_it_is_standard_normal_and_white() -> None:
    values = ground_noise(7, 2, -100, 5000, 512, 512)
    assert abs(float(values.mean())) < 0.002
    assert abs(float(values.std()) - 1) < 0.002
    assert abs(float((values**4).mean()) - 3) < 0.03
    assert abs(correlation(values[:, 1:], values[:, :-1])) < 0.002
    assert abs(correlation(values[..., 1:], values[..., :-1])) < 0.002
    assert np.abs(values.mean(axis=(1, 2))).max() < 0.01


def test_callers_own_what_they_get() -> None:
    ground_noise(3, 0, 0, 0, BLOCK, BLOCK)[:] = 0
    assert ground_noise(3, 0, 0, 0, BLOCK, BLOCK).any()
