"""Memory that this process may still take: `ulimit -v`, and the control groups of containers and queues."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

GROUPS = Path("/sys/fs/cgroup")


def available() -> int | None:
    """Find out how much memory this process may still take.

    Returns:
        Bytes until the tightest limit; None if there is none, or it is unknown.
    """
    found = [*_address_space(), *_control_groups()]
    return min(found) if found else None


def resident() -> int:
    """Find out how much memory this process holds.

    Returns:
        Bytes.
    """
    return int(psutil.Process().memory_info().rss)


def _address_space() -> Iterator[int]:
    if sys.platform == "win32":
        return
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        yield limit - psutil.Process().memory_info().vms


def _control_groups() -> Iterator[int]:
    """Memory left in the control groups of this process and those above them, of either version.

    psutil 7 knows nothing of them.
    """
    groups = Path("/proc/self/cgroup")
    for line in groups.read_text().splitlines() if groups.exists() else ():
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            yield from _left(GROUPS, name, "memory.max", "anon")
        elif "memory" in controllers.split(","):
            yield from _left(GROUPS / "memory", name, "memory.limit_in_bytes", "total_rss")


def _left(root: Path, name: str, limit: str, used: str) -> Iterator[int]:
    # What is cached of files does not count: the kernel gives it back.
    group = root / name.lstrip("/")
    while group.is_relative_to(root):
        try:
            text = (group / limit).read_text().strip()
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            # Version 1 writes a number near 2^63 for no limit.
            if text != "max" and int(text) < 2**60:
                yield int(text) - int(stat[used])
        except (OSError, KeyError, ValueError):
            pass  # not there inside a container, or of another shape
        group = group.parent
