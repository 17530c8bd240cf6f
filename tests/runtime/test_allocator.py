from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cmcr_cli.runtime import allocator
from cmcr_cli.runtime.allocator import trim_heap, tune_allocator


def test_the_c_library_is_told_and_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    libc = SimpleNamespace(mallopt=lambda *args: calls.append(args), malloc_trim=calls.append)
    monkeypatch.setattr(allocator.sys, "platform", "linux")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: libc)
    tune_allocator()
    assert [name for name, _ in calls] == [-8, -3, -1] and calls[0] == (-8, 1)
    trim_heap()
    assert calls[-1] == 0


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_other_libraries_are_left_alone(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def other(name: str) -> Any:
        raise error

    monkeypatch.setattr(allocator.ctypes, "CDLL", other)
    for platform in ("linux", "darwin"):
        monkeypatch.setattr(allocator.sys, "platform", platform)
        tune_allocator()
        trim_heap()
