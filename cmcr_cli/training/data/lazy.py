"""Sequences and mappings whose items are read on access, for data sets that are larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, overload

Key = TypeVar("Key")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class LazySequence(Sequence[Item], Generic[Key, Item]):
    """A sequence whose items are read on every access.

    Attributes:
        keys: Key of each item.
        read: Reads the item of a key.
    """

    keys: Sequence[Key]
    read: Callable[[Key], Item]

    def __len__(self) -> int:
        """Number of items; reads none."""
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> LazySequence[Key, Item]: ...
    def __getitem__(self, index: int | slice) -> Item | LazySequence[Key, Item]:
        """Read an item; a slice reads nothing."""
        if isinstance(index, slice):
            return LazySequence(self.keys[index], self.read)
        return self.read(self.keys[index])


@dataclass(frozen=True, slots=True)
class LazyMapping(Mapping[str, Item], Generic[Key, Item]):
    """A mapping whose items are read on every access.

    Attributes:
        by_name: Key of each item by name.
        read: Reads the item of a key.
    """

    by_name: Mapping[str, Key]
    read: Callable[[Key], Item]

    def __len__(self) -> int:
        """Number of items; reads none."""
        return len(self.by_name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names; reads no item."""
        return iter(self.by_name)

    def __contains__(self, name: object) -> bool:
        """Whether there is an item of this name; reads none."""
        return name in self.by_name

    def __getitem__(self, name: str) -> Item:
        """Read an item."""
        return self.read(self.by_name[name])
