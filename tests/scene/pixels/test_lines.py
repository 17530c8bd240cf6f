from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cmcr_cli.scene.pixels.lines import PIECE, Lines, RollingRows

HEIGHT = 40


@given(st.lists(st.tuples(*[st.integers(0, HEIGHT - 1)] * 3), min_size=1, max_size=8))
def test_windows_hold_their_lines_however_they_follow_each_other(windows: list[tuple[int, int, int]]) -> None:
    pixels, lines = np.arange(2 * HEIGHT * 3).reshape(2, HEIGHT, 3), []

    def read(top: int, rows: int) -> tuple[NDArray[Any], NDArray[Any]]:
        lines.append(rows)
        return pixels[:, top : top + rows], pixels[0, top : top + rows]

    reader = Lines(read)
    for first, rows, following in windows:
        stop = min(first + rows + 1, HEIGHT)
        several, one = reader.window(first, stop, following)
        assert np.array_equal(several, pixels[:, first:stop]) and np.array_equal(one, pixels[0, first:stop])


def test_windows_that_move_down_read_each_line_once() -> None:
    lines: list[int] = []

    def read(top: int, rows: int) -> tuple[NDArray[Any]]:
        lines.extend(range(top, top + rows))
        return (np.zeros((rows, 1)),)

    reader = Lines(read)
    for first in range(0, HEIGHT - 10, 5):
        reader.window(first, first + 10, first + 5)
    assert lines == list(range(35))


def test_lines_that_were_held_are_let_go_before_others_are() -> None:
    line, windows = 8 * 10_000, ((0, 600, 400), (400, 1000, 800))

    def read(top: int, rows: int) -> tuple[NDArray[Any]]:
        return (np.full((rows, line // 8), top, float),)

    reader = Lines(read)
    tracemalloc.start()
    try:
        reader.window(*windows[0])
        tracemalloc.reset_peak()
        reader.window(*windows[1])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The window, what was held before, and two pieces on their way; not what is held after, too.
    assert peak < (600 + 200 + 2 * 64 + 30) * line


class Counted:
    """Rows of a made-up scene, and which of them were read."""

    def __init__(self, height: int) -> None:
        self.pixels = np.arange(2 * height * 3, dtype=np.int64).reshape(2, height, 3)
        self.lines: list[int] = []

    def __call__(self, top: int, rows: int) -> NDArray[Any]:
        assert 0 < rows <= PIECE and 0 <= top <= self.pixels.shape[1] - rows
        self.lines.extend(range(top, top + rows))
        return self.pixels[:, top : top + rows]


@given(st.integers(1, 400), st.data())
def test_rolling_rows_are_those_of_the_scene(height: int, data: st.DataObject) -> None:
    """Windows move down or stay, grow or shrink; also where they leave no row to share."""
    scene, most = Counted(height), data.draw(st.integers(1, height))
    rolling = RollingRows(scene, most)
    first, previous, read = 0, 0, 0
    for _ in range(data.draw(st.integers(1, 8))):
        first = data.draw(st.integers(first, height - 1))
        stop = data.draw(st.integers(min(max(previous, first + 1), height), height))
        stop = max(min(stop, first + most), first + 1)
        read += stop - max(first, min(previous, stop))
        assert np.array_equal(rolling.window(first, stop), scene.pixels[:, first:stop])
        if stop < previous:  # what was dropped below is read again
            break
        previous = stop
    assert len(scene.lines) == read == len(set(scene.lines))


@pytest.mark.parametrize(
    ("side", "around"), [(512, (64, 416)), (512, (0, 32)), (64, (64, 416)), (10, (3, 7))]
)
@pytest.mark.parametrize("height", [1, 31, 513, 1200])
def test_windows_that_move_down_a_scene_read_each_row_once(
    side: int, around: tuple[int, int], height: int
) -> None:
    scene = Counted(height)
    rolling = RollingRows(scene, side + sum(around))
    for top in range(0, height, side):
        first, stop = max(top - around[0], 0), min(top + side + around[1], height)
        assert np.array_equal(rolling.window(first, stop), scene.pixels[:, first:stop])
    assert scene.lines == list(range(height))


@given(st.lists(st.tuples(st.integers(0, 39), st.integers(1, 20)), min_size=1, max_size=8))
def test_rolling_rows_that_jump_are_right_all_the_same(windows: list[tuple[int, int]]) -> None:
    scene = Counted(HEIGHT)
    rolling = RollingRows(scene, 20)
    for first, rows in windows:
        stop = min(first + rows, HEIGHT)
        assert np.array_equal(rolling.window(first, stop), scene.pixels[:, first:stop])


def test_rolling_rows_stay_in_one_buffer() -> None:
    line = 8 * 10_000
    rolling = RollingRows(lambda top, rows: np.full((1, rows, line // 8), top, float), 600)
    tracemalloc.start()
    try:
        for first in range(0, 2000, 300):
            assert rolling.window(first, first + 600).shape == (1, 600, line // 8)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < (600 + 2 * PIECE + 30) * line
