"""See, refuse or cut short the system calls of a process, whichever library makes them (Linux on x86-64).

A filter of the kernel (seccomp) stops every call of a child process that changes files, and asks this process
what to do: let it happen, have it fail with an error number, or kill the child before it happens. GDAL's
threads write from C; nothing that replaces Python functions would see that.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

KILL = -1
"""An answer: kill the process before the call happens."""

# Numbers of x86-64; the place of the file descriptor, or of the paths, among the arguments.
WRITES = {"write": 1, "pwrite64": 18, "writev": 20, "pwritev": 296, "ftruncate": 77, "fallocate": 285}
SYNCS = {"fsync": 74, "fdatasync": 75}
RENAMES = {"rename": (82, 0, 1), "renameat": (264, 1, 3), "renameat2": (316, 1, 3)}
REMOVALS = {"unlink": (87, 0), "unlinkat": (263, 1), "rmdir": (84, 0)}
MADE = {"mkdir": (83, 0), "mkdirat": (258, 1), "link": (86, 1), "symlink": (88, 1), "truncate": (76, 0)}
OPENAT, COPY_RANGE, SENDFILE = 257, 326, 40

KINDS: dict[int, str] = {
    **dict.fromkeys([*WRITES.values(), COPY_RANGE, SENDFILE], "write"),
    **dict.fromkeys(SYNCS.values(), "sync"),
    **{number: "rename" for number, *_ in RENAMES.values()},
    **{number: "remove" for number, _ in REMOVALS.values()},
    **{number: "create" for number, _ in MADE.values()},
    OPENAT: "create",
}
DESCRIPTORS = {**dict.fromkeys([*WRITES.values(), *SYNCS.values(), SENDFILE], 0), COPY_RANGE: 2}
PATHS = {number: places for number, *places in (*RENAMES.values(), *REMOVALS.values(), *MADE.values())}

SECCOMP, SET_FILTER, LISTENER, NO_NEW_PRIVILEGES = 317, 1, 8, 38
ARCHITECTURE = 0xC000003E
ALLOW, ASK = 0x7FFF0000, 0x7FC00000
RECEIVE, ANSWER = 0xC0502100, 0xC0182101
CONTINUE = 1


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that changes a file.

    Attributes:
        kind: "create", "write", "sync", "rename" or "remove".
        path: The file; of a rename the new name. One without a name has that of its folder, and a number.
    """

    kind: str
    path: str


Decide = Callable[[Call], int]
"""Says what becomes of a call: 0 lets it happen, an error number has it fail, KILL kills the process."""


def available() -> bool:
    """Whether the system can do this."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    with suppress(OSError):
        return watched(lambda: 7, lambda call: 0)[0] == 7
    return False


def watched(work: Callable[[], int], decide: Decide, log: Path | None = None) -> tuple[int, str]:
    """Do some work in a child process, and decide about each of its calls that change a file.

    Args:
        work: Returns the exit code of the child.
        decide: Asked before each call, in the order in which they are made.
        log: File that receives what the child prints; None: nothing is kept.

    Returns:
        The exit code, or minus the number of the signal that ended the child; and what it has printed.

    Raises:
        OSError: The kernel refuses the filter.
    """
    here, there = socket.socketpair()
    said = os.open(log or os.devnull, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    child = os.fork()
    if not child:
        _be_the_child(work, there, said)
    there.close()
    os.close(said)
    message, descriptors, _, _ = socket.recv_fds(here, 16, 1)
    here.close()
    if not descriptors:
        os.waitpid(child, 0)
        raise OSError(int(message or b"1"), "seccomp is not available")
    _answer_all(descriptors[0], child, decide)
    os.close(descriptors[0])
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, log.read_text(errors="replace") if log else ""


def _be_the_child(work: Callable[[], int], parent: socket.socket, said: int) -> None:
    """Install the filter, send the parent its end, and do the work; never returns."""
    code = 99
    try:
        os.dup2(said, 1)
        os.dup2(said, 2)
        try:
            listener = _install()
        except OSError as error:
            parent.send(str(error.errno).encode())
            os._exit(99)
        socket.send_fds(parent, [b"0"], [listener])
        os.close(listener)
        parent.close()
        code = work()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException as error:
        os.write(2, f"{type(error).__name__} reached the end: {error}\n".encode())
        code = 98
    finally:
        os._exit(code)


def _install() -> int:
    """Have the kernel ask about calls that change files; returns the descriptor on which it does."""
    numbers = list(KINDS)
    steps = [(0x20, 0, 0, 4), (0x15, 0, len(numbers) + 1, ARCHITECTURE), (0x20, 0, 0, 0)]
    steps += [(0x15, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    steps += [(0x06, 0, 0, ALLOW), (0x06, 0, 0, ASK)]
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    listener = int(libc.syscall(SECCOMP, SET_FILTER, LISTENER, program))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return listener


def _answer_all(listener: int, child: int, decide: Decide) -> None:
    """Answer what the kernel asks until the child has ended."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        ((_, what),) = poll.poll()
        if not what & select.POLLIN:
            return  # hung up: nobody is left who could ask
        asked = array.array("B", bytes(80))
        try:
            fcntl.ioctl(listener, RECEIVE, asked, True)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):  # whoever asked was killed
                continue
            raise
        label, thread, _, number, _, _, *arguments = struct.unpack("QIIiIQ6Q", asked.tobytes())
        call = _understood(thread, number, arguments)
        answer = decide(call) if call is not None else 0
        if answer == KILL:
            os.kill(child, signal.SIGKILL)
            continue
        reply = struct.pack("QqiI", label, 0, -answer, 0 if answer else CONTINUE)
        with suppress(OSError):  # it was killed meanwhile
            fcntl.ioctl(listener, ANSWER, array.array("B", reply), True)


def _understood(thread: int, number: int, arguments: list[int]) -> Call | None:
    """The call, if it changes a file."""
    process = Path("/proc") / str(thread)
    with suppress(OSError):
        if number in DESCRIPTORS:
            path = (process / "fd" / str(arguments[DESCRIPTORS[number]] & 0xFFFFFFFF)).readlink()
            return Call(KINDS[number], str(path)) if path.is_absolute() else None  # else a pipe or a socket
        if number == OPENAT:
            wanted = os.O_CREAT | (os.O_TMPFILE & ~os.O_DIRECTORY)
            return Call("create", _path(process, arguments[1])) if arguments[2] & wanted else None
        return Call(KINDS[number], _path(process, arguments[PATHS[number][-1]]))
    return None


def _path(process: Path, address: int) -> str:
    """A path in the memory of a process, which stands still; relative ones begin where it works."""
    with (process / "mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        # A string may end just before memory that cannot be read.
        content = memory.read(min(4096, 4096 - address % 4096))
        if b"\0" not in content:
            content += memory.read(4096)
    path = os.fsdecode(content.partition(b"\0")[0])
    return os.path.normpath((process / "cwd").readlink() / path)
