from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cmcr_cli.scene.raster import Lines

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
