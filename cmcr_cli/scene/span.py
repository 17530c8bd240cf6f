"""A run of rows or columns, by its ends."""

from __future__ import annotations

from typing import NamedTuple


class Span(NamedTuple):
    """Rows or columns from `start` up to, but without, `stop`."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of rows or columns."""
        return self.stop - self.start

    def within(self, first: int) -> slice:
        """Where the span is in an array that begins at `first`."""
        return slice(self.start - first, self.stop - first)
