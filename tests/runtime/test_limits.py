from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from cmcr_cli.runtime import limits
from cmcr_cli.runtime.allocator import trim_heap


def test_groups_above_count_too(tmp_path: Path) -> None:
    """Version 2 and version 1; a group that does not exist counts as none, and the one above still counts."""
    group = tmp_path / "a" / "b"
    group.mkdir(parents=True)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.stat").write_text("anon 5\nfile 7\n")
    (tmp_path / "a" / "memory.max").write_text("1000\n")
    (tmp_path / "a" / "memory.stat").write_text("anon 100\nfile 700\n")
    assert list(limits._left(tmp_path, "/a/b", "memory.max", "anon")) == [900]
    (group / "limit").write_text("9223372036854771712")
    (group / "memory.stat").write_text("total_rss 10\n")
    assert list(limits._left(tmp_path, "/a/b", "limit", "total_rss")) == []
    (group / "limit").write_text("50")
    assert list(limits._left(tmp_path, "/a/b", "limit", "total_rss")) == [40]
    assert list(limits._left(tmp_path, "/../x", "memory.max", "anon")) == []


def test_what_cannot_be_read_is_not_a_limit(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("many")
    (tmp_path / "memory.stat").write_text("anon 5\n")
    assert list(limits._left(tmp_path, "/", "memory.max", "anon")) == []
    (tmp_path / "memory.max").write_text("100")
    (tmp_path / "memory.stat").write_text("file 5\n")
    assert list(limits._left(tmp_path, "/", "memory.max", "anon")) == []


def test_the_tightest_limit_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(*values: int) -> Iterator[int]:
        return iter(values)

    monkeypatch.setattr(limits, "_address_space", lambda: of(700))
    monkeypatch.setattr(limits, "_control_groups", lambda: of(900, 300))
    assert limits.available() == 300
    monkeypatch.setattr(limits, "_control_groups", of)
    assert limits.available() == 700
    monkeypatch.setattr(limits, "_address_space", of)
    assert limits.available() is None


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_AS")
def test_the_address_space_that_is_left_is_what_ulimit_allows_less_what_is_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import resource

    held = psutil.Process().memory_info().vms
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (held + 2**30, resource.RLIM_INFINITY))
    (left,) = limits._address_space()
    assert abs(left - 2**30) < 2**28
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY,) * 2)
    assert list(limits._address_space()) == []


def test_memory_in_use_is_seen_to_grow() -> None:
    trim_heap()  # else some of what is taken is memory that earlier tests have left to the process
    before = limits.resident()
    taken = np.ones(2**25)  # 256 MB, all of them written
    after = limits.resident()
    assert after - before > 0.9 * taken.nbytes
