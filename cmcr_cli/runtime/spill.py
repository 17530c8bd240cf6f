"""What waits for its next step: where it is as far as there is room, the rest in a file beside the output.

The file has no name, so that nothing is left of it however the run ends.
"""

from __future__ import annotations

import tempfile
import threading
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from cmcr_cli.output.files import output_errors

Tensors = Sequence[Tensor]

CPU = torch.device("cpu")


class Shelf:
    """Context manager that keeps tensors until they are wanted; many threads may use it at once.

    `rooms` are the bytes that they may take up on each device, `output` is a path beside which the file may
    lie. What finds no room on a GPU moves to the CPU, and from there to the file.
    """

    def __init__(self, rooms: Mapping[torch.device, int], output: Path) -> None:
        self._rooms, self._output = defaultdict(int, rooms), output
        self._lock = threading.Lock()
        self._held: dict[Hashable, Tensors] = {}
        self._stored: dict[Hashable, tuple[int, int, list[Any]]] = {}  # where, bytes, shapes and types
        self._free: dict[int, list[int]] = defaultdict(list)  # places by their size
        self._end = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Make the file, which takes no room as long as it is not used."""
        with output_errors(self._output):
            self._file = self._stack.enter_context(tempfile.TemporaryFile(dir=self._output.parent))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of everything."""
        self._held.clear()
        self._stack.close()

    def put(self, key: Hashable, tensors: Tensors) -> None:
        """Keep `tensors` of one device, which nobody may change any more; OutputError when the disk is full.

        What was kept under the same `key` is forgotten.
        """
        with self._lock:
            self._drop(key)
            size = _bytes(tensors)
            if not self._has_room(tensors, size):
                tensors = [tensor.cpu() for tensor in tensors]
            if self._has_room(tensors, size):
                self._rooms[_device(tensors)] -= size
                self._held[key] = tensors
                return
            if self._free[size]:
                place = self._free[size].pop()
            else:
                place, self._end = self._end, self._end + size
            with output_errors(self._output):
                self._file.seek(place)
                for tensor in tensors:
                    self._file.write(tensor.contiguous().numpy().data)
                self._file.flush()
            self._stored[key] = place, size, [(tensor.shape, tensor.numpy().dtype) for tensor in tensors]

    def get(self, key: Hashable) -> Tensors:
        """What is kept under `key`, on its device or on the CPU; KeyError where nothing is."""
        with self._lock:
            if key in self._held:
                return self._held[key]
            place, _, like = self._stored[key]
            # Memory of numpy's, since what torch aligns tears holes into a heap that many threads share.
            arrays = [np.empty(shape, dtype) for shape, dtype in like]
            with output_errors(self._output):
                self._file.seek(place)
                for array in arrays:
                    self._file.readinto(array.data)
            return [torch.from_numpy(array) for array in arrays]

    def drop(self, key: Hashable) -> None:
        """Forget what is kept under `key`, if anything is."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        if key in self._held:
            tensors = self._held.pop(key)
            self._rooms[_device(tensors)] += _bytes(tensors)
        if key in self._stored:
            place, size, _ = self._stored.pop(key)
            self._free[size].append(place)

    def _has_room(self, tensors: Tensors, size: int) -> bool:
        return size <= self._rooms[_device(tensors)]


def _device(tensors: Tensors) -> torch.device:
    return tensors[0].device if tensors else CPU


def _bytes(tensors: Tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors)
