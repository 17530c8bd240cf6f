from __future__ import annotations

from pathlib import Path
from threading import get_ident
from time import sleep

import numpy as np  # loads the library of which this is about
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from cmcr_cli.model.weights import load
from cmcr_cli.runtime.workers import Worker, open_workers
from cmcr_cli.warning_kinds import WarningLog


def blas_threads() -> set[int]:
    return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}


def test_numpy_has_one_thread_for_each_worker_and_its_own_number_afterwards(weights: Path) -> None:
    np.eye(2) @ np.eye(2)
    with (
        threadpool_limits(2, "blas"),
        open_workers(load(weights), [torch.device("cpu")], None, WarningLog()) as workers,
    ):
        assert blas_threads() == {1}
        assert {workers.submit(lambda worker, _: max(blas_threads()), None).result() for _ in range(4)} == {1}
    with threadpool_limits(2, "blas"):
        with open_workers(load(weights), [torch.device("cpu")], None, WarningLog()):
            pass
        assert blas_threads() == {2}


def test_one_patch_at_a_time_on_cpus_unless_asked_for_more(weights: Path) -> None:
    for asked, given in ((None, 1), (3, 3)):
        with open_workers(load(weights), [torch.device("cpu")], asked, WarningLog()) as workers:
            assert workers.batch_size == given


def test_each_thread_keeps_to_one_worker_and_devices_take_turns(weights: Path) -> None:
    """A GPU keeps a workspace for every pair of a thread and a stream."""
    pairs: set[tuple[int, int]] = set()

    def work(worker: Worker, _: int) -> None:
        pairs.add((get_ident(), id(worker)))
        sleep(0.002)

    devices = [torch.device("cpu")] * 2
    with open_workers(load(weights), devices, None, WarningLog()) as workers:
        for future in [workers.submit(work, number) for number in range(40)]:
            future.result()
        threads, used = ({pair[index] for pair in pairs} for index in (0, 1))
        assert len(pairs) == len(threads) == len(used)
        networks = [id(worker.denoiser) for worker in workers.workers]
        assert len(set(networks[:2])) == 2 and networks[::2] == networks[:1] * (len(networks) // 2)
