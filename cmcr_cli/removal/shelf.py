"""What waits for its next step: in memory as far as there is room, the rest in a file beside the output.

The file has no name, so that nothing is left of it however the run ends.
"""

from __future__ import annotations

import tempfile
import threading
from collections import defaultdict
from collections.abc import Hashable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.scene.cog import output_errors

Arrays = Sequence[NDArray[Any]]


class Shelf:
    """Context manager that keeps arrays until they are wanted; many threads may use it at once.

    `room` is in bytes of memory, `output` a path beside which the file may lie.
    """

    def __init__(self, room: int, output: Path) -> None:
        self._room, self._output = room, output
        self._lock = threading.Lock()
        self._held: dict[Hashable, Arrays] = {}
        self._stored: dict[Hashable, tuple[int, Arrays]] = {}  # where, and arrays of the same shapes
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

    def put(self, key: Hashable, arrays: Arrays) -> None:
        """Keep `arrays`, which nobody may change any more; OutputError when the disk is full.

        What was kept under the same `key` is forgotten.
        """
        with self._lock:
            self._drop(key)
            size = _bytes(arrays)
            if size <= self._room:
                self._room -= size
                self._held[key] = arrays
                return
            if self._free[size]:
                place = self._free[size].pop()
            else:
                place, self._end = self._end, self._end + size
            with output_errors(self._output):
                self._file.seek(place)
                for array in arrays:
                    self._file.write(np.ascontiguousarray(array).data)
                self._file.flush()
            # A broadcast array remembers shape and type, and takes no room.
            self._stored[key] = place, [np.broadcast_to(np.zeros((), a.dtype), a.shape) for a in arrays]

    def get(self, key: Hashable) -> Arrays:
        """What is kept under `key`; KeyError where nothing is."""
        with self._lock:
            if key in self._held:
                return self._held[key]
            place, like = self._stored[key]
            arrays = [np.empty(each.shape, each.dtype) for each in like]
            with output_errors(self._output):
                self._file.seek(place)
                for array in arrays:
                    self._file.readinto(array.data)
            return arrays

    def drop(self, key: Hashable) -> None:
        """Forget what is kept under `key`, if anything is."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        if key in self._held:
            self._room += _bytes(self._held.pop(key))
        if key in self._stored:
            place, like = self._stored.pop(key)
            self._free[_bytes(like)].append(place)


def _bytes(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays)
