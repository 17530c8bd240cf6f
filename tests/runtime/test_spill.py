from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cmcr_cli.errors import OutputError
from cmcr_cli.runtime.spill import Spilled, SpillStore
from tests.support.tensors import assert_close

CPU, META = torch.device("cpu"), torch.device("meta")

some = st.lists(
    arrays(
        st.sampled_from(["bool", "uint8", "uint16", "float16", "float32"]),
        array_shapes(max_dims=3, min_side=0, max_side=4),
    ).map(torch.from_numpy),
    max_size=3,
)


@given(
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(0, 3), some), max_size=12),
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=12),
)
@settings(deadline=None)
def test_everything_comes_back_as_it_was(
    room: int, puts: list[tuple[int, list[Any]]], gets: list[tuple[int, bool]]
) -> None:
    """Whatever finds room in memory, and whatever is put, and got, in whatever order."""
    with SpillStore({CPU: room}, Path(tempfile.gettempdir()) / "out.tif") as spill:
        kept: dict[int, tuple[Spilled, list[Any]]] = {}
        for n in range(max(len(puts), len(gets))):
            for key, tensors in puts[n : n + 1]:
                kept[key] = spill.put(tensors), tensors
            for key, last in gets[n : n + 1]:
                if key not in kept:
                    continue
                handle, tensors = kept[key]
                for got, put in zip(handle.load(), tensors, strict=True):
                    assert got.dtype == put.dtype
                    assert_close(got, put, rtol=0, atol=0, equal_nan=True)
                if last:
                    handle.drop()
                    del kept[key]
                    with pytest.raises(ValueError, match="dropped"):
                        handle.load()


def test_room_and_places_are_used_again(tmp_path: Path) -> None:
    page = torch.zeros(1000, dtype=torch.uint8)
    with SpillStore({CPU: 1000}, tmp_path / "out.tif") as spill:
        for n in range(50):
            held, stored = spill.put([page + n % 7]), spill.put([page.flip(0) + n % 5])
            assert held.load()[0][0] == n % 7
            assert stored.load()[0][0] == n % 5
            for _ in range(n % 3 + 1):  # dropped more than once it does not count twice
                held.drop()
                stored.drop()
        assert spill._end == 1000
    assert not list(tmp_path.iterdir())


def test_what_has_no_room_on_a_gpu_moves_to_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: torch.zeros(tensor.shape, dtype=tensor.dtype))
    page = torch.zeros(1000, dtype=torch.uint8, device=META)
    with SpillStore({META: 1000, CPU: 1000}, tmp_path / "out.tif") as spill:
        handles = [spill.put([page]) for _ in range(3)]
        assert [handle.load()[0].device for handle in handles] == [META, CPU, CPU]
        assert spill._end == 1000  # the third is in the file
        handles[0].drop()
        assert spill.put([page]).load()[0].device == META


def test_many_threads(tmp_path: Path) -> None:
    def there_and_back(n: int) -> bool:
        page = torch.full((n % 13 + 1, 999), n, dtype=torch.int32)
        handle = spill.put([page, page[:1].T])
        one, other = handle.load()
        handle.drop()
        return torch.equal(one, page) and torch.equal(other, page[:1].T)

    with SpillStore({CPU: 10_000}, tmp_path / "out.tif") as spill, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(there_and_back, range(400)))


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), SpillStore({}, tmp_path / "none" / "out.tif"):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with SpillStore({}, tmp_path / "out.tif") as spill, Path("/dev/full").open("r+b", buffering=0) as full:
        spill._file = full  # type: ignore[assignment]
        with pytest.raises(OutputError, match="No space left"):
            spill.put([torch.zeros(10)])
