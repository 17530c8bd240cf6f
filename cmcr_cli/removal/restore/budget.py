"""Memory: what a run needs besides what it holds, and what limits leave to it.

Limits are those of `ulimit -v`, and of the control groups into which containers and queues put a process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from cmcr_cli.errors import CmcrError
from cmcr_cli.output.cog import BLOCK
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.patches import PATCH, lattice_starts

if TYPE_CHECKING:
    from cmcr_cli.removal.session import Session

CACHE_BYTES = 160 * 2**20
"""GDAL's block cache: two rows of blocks of a whole scene, since rows of patches straddle blocks."""

IN_FLIGHT = 448 * 2**20
"""Bytes of rows that are at work or wait for their next step; what waits beyond that lies on disk."""

TOLD_BYTES = 3 * 2**20
"""Of a patch that waits for its next step: its context, and the encoder's features."""

LANE_BYTES = 300 * 2**20
"""What the networks of one lane take up at most while they compute."""

LANE_RESIDENT = 110 * 2**20
"""About what one lane on a CPU adds to the peak: a run on two cores takes 104 MB more than one on one."""

GROUPS = Path("/sys/fs/cgroup")


def row_bytes(session: Session, lefts: Sequence[int]) -> int:
    """Bytes of the rows at work, with patches from `lefts`: DN and radar of two, and their canvases."""
    line, canvas, last = _pixel_bytes(session)
    # Of each step that is done some lines stay, which a row shares with the next.
    shared = session.options.steps * canvas * session.options.overlap
    return _width(lefts) * (PATCH * (2 * line + canvas + max(canvas, last)) + shared)


def waiting_bytes(session: Session, lefts: Sequence[int], patches: int) -> int:
    """Bytes of what waits between two steps, where `patches` of a row are restored."""
    line, canvas, _ = _pixel_bytes(session)
    steps = session.options.steps
    return (steps - 1) * (_width(lefts) * PATCH * (line + canvas) + patches * TOLD_BYTES)


def _pixel_bytes(session: Session) -> tuple[int, int, int]:
    """Bytes of a pixel of a row, of the canvas of a step that is not the last, and of the last."""
    options, optical = session.options, session.optical
    line = len(optical.names) * optical.dtype.itemsize + (0 if session.radar is None else 9)
    canvas = len(BANDS) * options.samples * 2 if options.steps > 1 else 0
    return line, canvas, len(BANDS) * (2 if options.samples > 1 else 1) * 4


def _width(lefts: Sequence[int]) -> int:
    return lefts[-1] + PATCH - lefts[0]


def bytes_to_come(session: Session, lefts: Sequence[int]) -> int:
    """Bytes of the rows in flight, and of what the outputs hold besides."""
    options, optical = session.options, session.optical
    written = (optical.grid if session.area is None else session.area.grid).width
    pixel = len(optical.names) * optical.dtype.itemsize
    # The writer's buffer, the new image, and what is on its way.
    to_come = row_bytes(session, lefts) + pixel * (BLOCK * written + 2 * PATCH * optical.grid.width)
    if options.uncertainty is not None:
        to_come += 3 * BLOCK * len(optical.names) * 4 * written
    return to_come


def check_memory(session: Session) -> None:
    """Raise CmcrError when a run needs more than limits leave to this process."""
    left = room()
    if left is None:
        return
    grid = session.optical.grid
    needed = bytes_to_come(session, lattice_starts(grid.origin[1], grid.width, session.options.overlap))
    needed += LANE_BYTES * len(session.lanes.lanes) + CACHE_BYTES
    if left < needed:
        raise CmcrError(
            f"{needed >> 20} MB more of memory are needed for a scene of {grid.width} columns, and the limit "
            f"of this process (ulimit -v, or its control group) leaves {max(left, 0) >> 20} MB. "
            "Raise the limit, or take fewer --steps, --samples, or threads (OMP_NUM_THREADS=1)."
        )


def shelf_bytes(session: Session, lefts: Sequence[int]) -> int:
    """Bytes of memory that what waits for its next step may take up; 0 or less where there are none."""
    spare, left = IN_FLIGHT - row_bytes(session, lefts), room()
    if left is not None:
        spare = min(spare, left - bytes_to_come(session, lefts) - LANE_BYTES * len(session.lanes.lanes))
    return spare


def shelf_rooms(session: Session, lefts: Sequence[int]) -> dict[torch.device, int]:
    """Bytes that may wait on each device; most of a GPU's memory is left to its lanes."""
    rooms = {torch.device("cpu"): shelf_bytes(session, lefts)}
    for device in session.devices:
        if device.type == "cuda":
            rooms[device] = torch.cuda.get_device_properties(device).total_memory // 4
    return rooms


def room() -> int | None:
    """Bytes until the tightest limit; None where there is none, or the system does not tell."""
    found = [*_address_space(), *_control_groups()]
    return min(found) if found else None


def resident() -> int | None:
    """Bytes that this process holds now; None where the system does not tell."""
    held = _statm()
    return None if held is None else held[1]


def _statm() -> list[int] | None:
    """Bytes of address space, and of memory, in use."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return None
    return [int(pages) * os.sysconf("SC_PAGE_SIZE") for pages in statm.read_text().split()]


def _address_space() -> Iterator[int]:
    held = _statm()
    if held is None or sys.platform == "win32":
        return
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        yield limit - held[0]


def _control_groups() -> Iterator[int]:
    """What is left in the groups of this process and those above them, of either version."""
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
