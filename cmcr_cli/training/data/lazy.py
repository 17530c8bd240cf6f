"""Sequences and mappings whose items are read when asked for: a data set may be larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, overload

Key = TypeVar("Key")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class LazySequence(Sequence[Item], Generic[Key, Item]):
    """`read(key)` for each of the keys in turn; nothing is kept."""

    keys: Sequence[Key]
    read: Callable[[Key], Item]

    def __len__(self) -> int:
        """How many there are, without reading any."""
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> LazySequence[Key, Item]: ...
    def __getitem__(self, index: int | slice) -> Item | LazySequence[Key, Item]:
        """Read one; a slice reads nothing yet."""
        if isinstance(index, slice):
            return LazySequence(self.keys[index], self.read)
        return self.read(self.keys[index])


@dataclass(frozen=True, slots=True)
class LazyMapping(Mapping[str, Item], Generic[Key, Item]):
    """`read(key)` for each name; nothing is kept."""

    by_name: Mapping[str, Key]
    read: Callable[[Key], Item]

    def __len__(self) -> int:
        """How many there are, without reading any."""
        return len(self.by_name)

    def __iter__(self) -> Iterator[str]:
        """The names, without reading any."""
        return iter(self.by_name)

    def __contains__(self, name: object) -> bool:
        """Whether there is one of that name, without reading it."""
        return name in self.by_name

    def __getitem__(self, name: str) -> Item:
        """Read one."""
        return self.read(self.by_name[name])
