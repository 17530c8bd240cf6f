from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cmcr_cli.errors import OutputError
from cmcr_cli.removal.shelf import Shelf

some = st.lists(
    arrays(st.sampled_from(["uint8", "float16", "float32"]), array_shapes(max_dims=3, max_side=4)), max_size=3
)


@given(
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(0, 3), some), max_size=12),
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=12),
)
def test_everything_comes_back_as_it_was(
    room: int, puts: list[tuple[int, list[Any]]], gets: list[tuple[int, bool]]
) -> None:
    """Whatever finds room in memory, and whatever is put, and got, in whatever order."""
    with Shelf(room, Path(tempfile.gettempdir()) / "out.tif") as shelf:
        kept: dict[int, list[Any]] = {}
        for n in range(max(len(puts), len(gets))):
            for key, arrays_ in puts[n : n + 1]:
                shelf.put(key, arrays_)
                kept[key] = arrays_
            for key, last in gets[n : n + 1]:
                if key not in kept:
                    with pytest.raises(KeyError):
                        shelf.get(key)
                    continue
                for got, put in zip(shelf.get(key), kept[key], strict=True):
                    assert got.dtype == put.dtype
                    np.testing.assert_array_equal(got, put)
                if last:
                    shelf.drop(key)
                    del kept[key]


def test_room_and_places_are_used_again(tmp_path: Path) -> None:
    page = np.zeros(1000, np.uint8)
    with Shelf(1000, tmp_path / "out.tif") as shelf:
        for n in range(50):
            shelf.put("held", [page + n % 7])
            shelf.put("stored", [page[::-1] + n % 5])
            assert shelf.get("held")[0][0] == n % 7
            assert shelf.get("stored")[0][0] == n % 5
            if n % 3 == 0:
                shelf.drop("held")
                shelf.drop("stored")
        assert shelf._end == 1000
    assert not list(tmp_path.iterdir())


def test_many_threads(tmp_path: Path) -> None:
    def there_and_back(n: int) -> bool:
        page = np.full((n % 13 + 1, 999), n, np.int32)
        shelf.put(n, [page, page[:1].T])
        one, other = shelf.get(n)
        shelf.drop(n)
        return np.array_equal(one, page) and np.array_equal(other, page[:1].T)

    with Shelf(10_000, tmp_path / "out.tif") as shelf, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(there_and_back, range(400)))


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), Shelf(0, tmp_path / "none" / "out.tif"):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with Shelf(0, tmp_path / "out.tif") as shelf, Path("/dev/full").open("r+b", buffering=0) as full:
        shelf._file = full  # type: ignore[assignment]
        with pytest.raises(OutputError, match="No space left"):
            shelf.put("page", [np.zeros(10)])
