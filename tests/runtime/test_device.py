from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cmcr_cli.errors import OptionError
from cmcr_cli.runtime.device import pick_device, pick_devices, synchronize, to_device, to_numpy, usable_cores

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("cuda", "mps", "best"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_is_the_best_there_is(cuda: bool, mps: bool, best: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    # In place of a tensor on a device that is not here.
    monkeypatch.setattr(torch, "zeros", lambda size, device: SimpleNamespace(device=device))
    assert pick_device("auto") == torch.device(best)


def test_devices_that_are_not_there() -> None:
    with pytest.raises(OptionError, match=r"--device cuda:99: not available here \(.*\); try auto or cpu"):
        pick_device("cuda:99")


@pytest.mark.parametrize("name", ["gpu", "GPU", "abacus", "", "cuda:", "cuda:x", "cpu:0", "xpu", "nvidia"])
def test_words_that_are_no_devices(name: str) -> None:
    message = (
        rf"^--device {name}: is not a device; expected auto, cpu, cuda, cuda:N or mps, .* NVIDIA .* is cuda"
    )
    with pytest.raises(OptionError, match=message):
        pick_device(name)


def test_one_device_is_not_several() -> None:
    with pytest.raises(OptionError, match=r"--device cuda:0,cuda:1: names several .* torchrun"):
        pick_device("cuda:0,cuda:1")


def test_a_list_of_devices() -> None:
    assert pick_devices("cpu") == [CPU] and pick_devices("cpu, cpu,meta") == [CPU, CPU, torch.device("meta")]
    with pytest.raises(OptionError, match="--device nothing"):
        pick_devices("cpu,nothing")


def test_there_and_back_without_a_copy() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = to_device(array, CPU)
    assert np.shares_memory(to_numpy(tensor), array) and torch.equal(tensor, torch.from_numpy(array))
    assert to_device(array, torch.device("meta")).device.type == "meta"
    synchronize(CPU)


def test_cores_are_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("needs affinity masks")
    for cores, threads, expected in ((8, 3, 3), (2, 3, 2), (1, 0, 1)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process, cores=cores: set(range(cores)))
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert usable_cores() == expected
