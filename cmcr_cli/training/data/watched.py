"""Progress of reading training data, which may take minutes before a training can start."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

log = logging.getLogger("cmcr")

Item = TypeVar("Item")


def watched(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Yield items, and show on stderr how many have been read: a bar on a terminal, else one line.

    Args:
        items: What is read.
        what: Name of the items.
        total: Number of the items.

    Yields:
        The items.
    """
    leads = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun has started
    if not (leads and total and log.isEnabledFor(logging.WARNING)):
        yield from items
    elif not sys.stderr.isatty():
        log.warning("reading %d %s", total, what)
        yield from items
    else:
        yield from tqdm(items, desc=f"reading {what}", total=total, leave=False)
