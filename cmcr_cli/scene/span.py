"""A run of rows or columns, by its ends."""

from __future__ import annotations

from typing import NamedTuple


class Span(NamedTuple):
    """Rows or columns from `start` up to, but without, `stop`.

    Attributes:
        start: The first.
        stop: The one after the last.
    """

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of rows or columns."""
        return self.stop - self.start

    def within(self, first: int) -> slice:
        """Slice the span from an array.

        Args:
            first: Row or column at which the array begins.

        Returns:
            The slice.
        """
        return slice(self.start - first, self.stop - first)
