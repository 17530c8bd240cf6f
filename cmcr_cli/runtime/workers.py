"""Workers: threads that run the networks side by side, as many as there are cores, shared out to the devices.

On a CPU many networks of one thread each make better use of the cores than one network of many threads: all
that is done to a patch runs in parallel, not the convolutions alone, nothing waits for the slowest thread of
each layer, and the pixels do not depend on the number of cores. A GPU is fed by its share of the cores, each
with a stream of its own: one copies while another computes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, local
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

from cmcr_cli.errors import CmcrError
from cmcr_cli.model.cloud_network import CloudNetwork
from cmcr_cli.model.diffusion import Denoiser
from cmcr_cli.model.network import to_inference
from cmcr_cli.model.weights import Weights
from cmcr_cli.runtime.device import synchronize, usable_cores
from cmcr_cli.warning_kinds import MemoryWarning, WarningLog

Item = TypeVar("Item")
Result = TypeVar("Result")

GPU_BATCH = 8
"""Patches per call on a GPU, which serves several workers at once."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A device and the networks on it.

    Work on a worker ends when its stream has done all of it, so no tensor is used by two streams at once.

    Attributes:
        device: The device.
        stream: Its own stream on a GPU; None: on a CPU.
        denoiser: The denoiser on this device.
        clouds: The cloud network on this device.
        stopped: Set when the run has failed or was interrupted.
    """

    device: torch.device
    stream: torch.cuda.Stream | None
    denoiser: Denoiser
    clouds: CloudNetwork
    stopped: Event

    def check(self) -> None:
        """Check whether the result is still wanted; long work calls this now and then.

        Raises:
            CancelledError: The run has failed or was interrupted.
        """
        if self.stopped.is_set():
            raise CancelledError


@dataclass(slots=True)
class WorkerPool:
    """Threads that share out work; get one from `open_workers`.

    Each thread has a worker of its own. If any thread might take any worker, a GPU would keep a workspace for
    every pair of a thread and a stream.

    Attributes:
        workers: One for each thread.
        batch_size: Patches per batch; it shrinks when the memory of a GPU is short.
        warnings: Receives what there is to say about that.
    """

    workers: Sequence[Worker]
    batch_size: int
    warnings: WarningLog
    _pool: ThreadPoolExecutor
    _mine: local

    @property
    def on_cpu(self) -> bool:
        """Tell whether the workers share the processor with all other work."""
        return all(worker.device.type == "cpu" for worker in self.workers)

    @property
    def home(self) -> torch.device:
        """The device on which what all workers make is put together."""
        return self.workers[0].device

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Apply a function to items on as many threads as there are workers.

        Args:
            work: The function.
            items: The items.

        Returns:
            Results in the order of the items.
        """
        return self._pool.map(work, items)

    def submit(self, work: Callable[[Worker, Item], Result], item: Item) -> Future[Result]:
        """Start work on the worker of the next free thread.

        Args:
            work: Called with the worker and the item.
            item: The item.

        Returns:
            The future result.
        """
        return self._pool.submit(self._on_a_worker, work, item)

    def _on_a_worker(self, work: Callable[[Worker, Item], Result], item: Item) -> Result:
        worker: Worker = self._mine.worker
        with torch.cuda.stream(worker.stream):
            result = work(worker, item)
            synchronize(worker.device)
            return result

    def in_parts(self, work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]) -> list[Result]:
        """Do work on all items at once or, if the memory of a GPU does not suffice, half by half.

        From then on batches are smaller.

        Args:
            work: Returns the results of some items.
            items: All items.

        Returns:
            Results in the order of the items.

        Raises:
            torch.cuda.OutOfMemoryError: The memory does not suffice for one item.
        """
        try:
            return work(items)
        except torch.cuda.OutOfMemoryError:
            half = len(items) // 2
            if not half:
                raise
        torch.cuda.empty_cache()
        if half < self.batch_size:
            self.batch_size = half
            self.warnings.add(MemoryWarning(f"GPU memory is low: continuing with batch size {half}"))
        return [result for part in (items[:half], items[half:]) for result in self.in_parts(work, part)]


@contextmanager
def open_workers(
    weights: Weights, devices: Sequence[torch.device], batch_size: int | None, warnings: WarningLog
) -> Iterator[WorkerPool]:
    """Start as many workers as there are cores, at least one per device.

    If the context is left on an exception, work that has not begun is cancelled, and other work is stopped.

    Args:
        weights: The networks.
        devices: Devices of the workers.
        batch_size: Patches per call; None: chosen for the device.
        warnings: Receives one if batches become smaller.

    Yields:
        The pool.

    Raises:
        CmcrError: The memory of a GPU is too small.
    """
    parts: list[list[Worker]] = []
    stopped = Event()
    for index, device in enumerate(devices):
        networks = weights.denoiser, weights.clouds
        denoiser, clouds = copy.deepcopy(networks) if index else networks
        to_inference(denoiser, device)
        to_inference(clouds, device)
        cores = range(max(usable_cores() // len(devices), 1))
        parts.append([Worker(device, _stream(device), denoiser, clouds, stopped) for _ in cores])
    # The devices in turn: threads begin as work comes in, and little work should be shared out as well.
    workers = [worker for turn in zip(*parts, strict=True) for worker in turn]
    on_cpu = all(device.type == "cpu" for device in devices)
    threads = torch.get_num_threads()
    mine, rest = local(), SimpleQueue[Worker]()
    for worker in workers:
        rest.put(worker)

    def begin() -> None:
        torch.set_num_threads(1)
        mine.worker = rest.get()

    pool = ThreadPoolExecutor(len(workers), "worker", begin)
    try:
        # What this thread does meanwhile must not ask for the cores of the workers, nor wait for them.
        torch.set_num_threads(1)
        # The command line has numpy loaded with one thread; notebooks and workers of a cluster have not.
        with threadpool_limits(1, "blas"):
            yield WorkerPool(workers, batch_size or (1 if on_cpu else GPU_BATCH), warnings, pool, mine)
    except torch.cuda.OutOfMemoryError as error:
        raise CmcrError(
            "the GPU's memory is too small for a patch and some rows of the scene; free some of it, or "
            "compute with --device cpu"
        ) from error
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
        if any(device.type == "cuda" for device in devices):
            _free_workspaces()


def _free_workspaces() -> None:
    """Free what cuBLAS allocated for the threads and streams that have ended: 32 MB for each, on an H200.

    torch has no public name for this. Without it, the scenes of one process take more and more memory.
    """
    torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.empty_cache()


def _stream(device: torch.device) -> torch.cuda.Stream | None:
    """One more stream on a GPU, on which the networks have arrived; None on a CPU."""
    if device.type != "cuda":
        return None
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    return stream
