from __future__ import annotations

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cmcr_cli.removal.restore.locked_noise import ground_noise

POSITION = st.integers(-(2**34), 2**34)


def noise(seed: int, step: int, top: int, left: int, size: int) -> np.ndarray:
    found: np.ndarray = ground_noise(seed, step, [(top, left)], size, torch.device("cpu"))[0].numpy()
    return found


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**63), step=st.integers(0, 2**20), top=POSITION, left=POSITION,
    row=st.integers(0, 90), col=st.integers(0, 90), size=st.integers(1, 80),
)  # fmt: skip
@example(seed=0, step=0, top=-67, left=-1, row=2, col=0, size=68)
@example(seed=0, step=0, top=2**31 - 20, left=-(2**31) - 20, row=64, col=0, size=64)
def test_a_window_is_part_of_any_larger_one(
    seed: int, step: int, top: int, left: int, row: int, col: int, size: int
) -> None:
    larger, alone = noise(seed, step, top, left, 170), noise(seed, step, top + row, left + col, size)
    assert alone.dtype == np.float32 and alone.shape == (13, size, size)
    np.testing.assert_array_equal(alone, larger[:, row : row + size, col : col + size])


def test_a_batch_is_the_windows_one_by_one() -> None:
    corners = [(-300, 20), (0, 0), (512, 10**6)]
    batch = ground_noise(5, 3, corners, 64, torch.device("cpu"))
    assert batch.is_contiguous(memory_format=torch.channels_last)
    for found, corner in zip(batch.numpy(), corners, strict=True):
        np.testing.assert_array_equal(found, noise(5, 3, *corner, 64))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_seed_step_band_and_place_all_count() -> None:
    size = 256
    here = noise(1, 0, 0, 0, size)
    others = {
        "seed": noise(2, 0, 0, 0, size),
        "step": noise(1, 1, 0, 0, size),
        "sample": noise(1, 4096, 0, 0, size),
        "swapped": noise(0, 1, 0, 0, size),
        "row": noise(1, 0, 64, 0, size),
        "next row": noise(1, 0, 1, 0, size),
        "column": noise(1, 0, 0, 64, size),
        "next column": noise(1, 0, 0, 1, size),
        "mirrored": noise(1, 0, -size, -size, size),
        "transposed": here.transpose(0, 2, 1),
        "turned": here[:, ::-1, ::-1],
        **{f"{n} bands on": np.roll(here, n, axis=0) for n in range(1, 7)},
    }
    for name, other in others.items():
        # transposing keeps the diagonal: one part in `size`
        assert abs(correlation(here, other)) < 0.01, name


def test_it_is_standard_normal_and_white() -> None:
    values = noise(7, 2, -100, 5000, 512)
    assert abs(float(values.mean())) < 0.002
    assert abs(float(values.std()) - 1) < 0.002
    assert abs(float((values**4).mean()) - 3) < 0.03
    assert 4.5 < float(np.abs(values).max()) < 6
    assert abs(correlation(values[:, 1:], values[:, :-1])) < 0.002
    assert abs(correlation(values[..., 1:], values[..., :-1])) < 0.002
    assert np.abs(values.mean(axis=(1, 2))).max() < 0.01
    power = np.abs(np.fft.rfft2(values)) ** 2 / 512**2
    bins = power[:, :, :256].reshape(13, 16, 32, 16, 16).mean(axis=(2, 4))
    assert np.abs(bins - 1).max() < 0.25  # six deviations of the mean of 512 powers


def test_its_numbers_are_uniform_over_equal_shares_of_the_normal() -> None:
    """Chi square over 64 classes of equal chance, for each band."""
    values = noise(11, 1, 10**6, -(10**6), 512)
    edges = np.array([torch.special.ndtri(torch.tensor(k / 64, dtype=torch.float64)) for k in range(1, 64)])
    for band in values:
        counts = np.bincount(np.searchsorted(edges, band.ravel()), minlength=64)
        expected = band.size / 64
        assert ((counts - expected) ** 2 / expected).sum() < 63 + 6 * np.sqrt(126)


def test_callers_own_what_they_get() -> None:
    noise(3, 0, 0, 0, 64)[:] = 0
    assert noise(3, 0, 0, 0, 64).any()
