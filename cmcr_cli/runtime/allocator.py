"""Settings of the C library, which keeps memory that tensors have freed."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt, from its malloc.h."""


def tune_allocator() -> None:
    """Let glibc reuse the blocks of layers, give back those of rows, and serve all threads from one heap.

    Else each page of a large layer is cleared again at every call, and every thread holds on to memory that
    the others could use. Elsewhere than on glibc nothing is done.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(M_ARENA_MAX, 1)
        libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
        libc.mallopt(M_TRIM_THRESHOLD, 128 * 2**20)


def trim_heap() -> None:
    """Give back what glibc still holds of a stage that is over: the next one needs pieces of other sizes."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL("libc.so.6")
        _ = libc.mallopt, libc.malloc_trim
    except (AttributeError, OSError):  # another C library
        return None
    return libc
