"""Store for intermediate results: in memory up to a limit, beyond it in a file beside the output.

The file has no name, so that nothing is left of it however the run ends.
"""

from __future__ import annotations

import tempfile
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from cmcr_cli.output.write_errors import output_errors

Tensors = Sequence[Tensor]

CPU = torch.device("cpu")


@dataclass(slots=True)
class Spilled:
    """Tensors in a store; get one from `SpillStore.put`. Whoever holds it may load them, and drops them."""

    _store: SpillStore
    _size: int  # bytes
    _held: Tensors | None = None  # where they are in memory
    _place: int = 0  # in the file, where they are not
    _like: list[Any] = field(default_factory=list)  # their shapes and types there
    _dropped: bool = False

    def load(self) -> Tensors:
        """Read the tensors, which stay in the store.

        Returns:
            The tensors, on their device or on the CPU; nobody may change them.

        Raises:
            OutputError: The file cannot be read.
        """
        return self._store._load(self)

    def drop(self) -> None:
        """Make room: the tensors cannot be loaded any more."""
        self._store._drop(self)


class SpillStore:
    """Context manager that keeps tensors until they are wanted; many threads may use it at once.

    What finds no room on a GPU moves to the CPU, and from there to the file.
    """

    def __init__(self, limits: Mapping[torch.device, int], output: Path) -> None:
        """Store of which nothing is opened yet.

        Args:
            limits: Bytes that the tensors may take up on each device; those that are not named count as 0.
            output: A path; the file is made beside it.
        """
        self._free_bytes, self._output = defaultdict(int, limits), output
        self._lock = threading.Lock()
        self._free_places: dict[int, list[int]] = defaultdict(list)  # in the file, by their size
        self._end = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Create the file, which is empty as long as it is not used."""
        with output_errors(self._output):
            self._file = self._stack.enter_context(tempfile.TemporaryFile(dir=self._output.parent))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._stack.close()

    def put(self, tensors: Tensors) -> Spilled:
        """Keep tensors.

        Args:
            tensors: All on one device. Nobody may change them any more.

        Returns:
            The handle to load and to drop them.

        Raises:
            OutputError: The disk is full.
        """
        with self._lock:
            size = _bytes(tensors)
            if not self._has_room(tensors, size):
                tensors = [tensor.cpu() for tensor in tensors]
            if self._has_room(tensors, size):
                self._free_bytes[_device(tensors)] -= size
                return Spilled(self, size, tensors)
            if self._free_places[size]:
                place = self._free_places[size].pop()
            else:
                place, self._end = self._end, self._end + size
            with output_errors(self._output):
                self._file.seek(place)
                for tensor in tensors:
                    self._file.write(tensor.contiguous().numpy().data)
                self._file.flush()
            like = [(tensor.shape, tensor.numpy().dtype) for tensor in tensors]
            return Spilled(self, size, None, place, like)

    def _load(self, spilled: Spilled) -> Tensors:
        with self._lock:
            if spilled._dropped:
                raise ValueError("these tensors were dropped")
            if spilled._held is not None:
                return spilled._held
            # Memory of numpy's, since what torch aligns tears holes into a heap that many threads share.
            arrays = [np.empty(shape, dtype) for shape, dtype in spilled._like]
            with output_errors(self._output):
                self._file.seek(spilled._place)
                for array in arrays:
                    self._file.readinto(array.data)
            return [torch.from_numpy(array) for array in arrays]

    def _drop(self, spilled: Spilled) -> None:
        with self._lock:
            if spilled._dropped:
                return
            spilled._dropped = True
            if spilled._held is not None:
                self._free_bytes[_device(spilled._held)] += spilled._size
                spilled._held = None
            else:
                self._free_places[spilled._size].append(spilled._place)

    def _has_room(self, tensors: Tensors, size: int) -> bool:
        return size <= self._free_bytes[_device(tensors)]


def _device(tensors: Tensors) -> torch.device:
    return tensors[0].device if tensors else CPU


def _bytes(tensors: Tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors)
