"""Signals at random moments of a run, of its imports too: each must end it with one line and its exit code.

    python benchmarks/signals.py [--times 400]

`cmcr remove` on a small scene is sent SIGINT, SIGTERM, SIGHUP or SIGXCPU after a random share of the
processor time that it takes, counted from the moment in which it listens; by turns once, and again and again.
Half of the processes import everything, the others have all libraries loaded. Each must end with exit code
130 and one line, and leave neither a part of the set nor a hidden file; or, where the signal came too late,
with exit code 0 or 130 and the whole set. Signals that come again may cut short the tidying up; the next run
must tidy up.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import random
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cmcr_cli.cli import stopping

SIGNALS = stopping.STOPS
OUTPUTS = {"output": "clear.tif", "provenance": "which.tif", "quicklook": "look.png", "stac": "item.json"}
EVERY = 0.02
"""Seconds of processor time between signals that come again."""

LATE = 0.7
"""Part of an undisturbed run's processor time after which a run may have ended before the signal."""

PROCESS_TIME = 2
SECONDS = 600
"""After which a run counts as hanging."""


class Event(ctypes.Structure):
    """struct sigevent: send a signal."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_char * 48),
    )


def later(seconds: float, number: int, again: float) -> None:
    """Have the kernel send this process a signal after some processor time, once or again and again."""
    libc, timer = ctypes.CDLL(None, use_errno=True), ctypes.c_void_p()
    event = Event(None, number, 0)
    times = (ctypes.c_long * 4)(
        *(part for each in (again, seconds) for part in (int(each), int(each % 1 * 1e9)))
    )
    if libc.timer_create(PROCESS_TIME, ctypes.byref(event), ctypes.byref(timer)):
        raise OSError(ctypes.get_errno(), "timer_create")
    if libc.timer_settime(timer, 0, times, None):
        raise OSError(ctypes.get_errno(), "timer_settime")


def run(args: list[str], log: Path, moment: tuple[float, int, float] | None = None) -> tuple[int, str, float]:
    """Run cmcr in a child; returns its exit code, what it said, and its processor time."""
    child = os.fork()
    if not child:
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        signal.alarm(SECONDS)
        for number in SIGNALS:  # nohup and a shell's & may have them ignored, which cmcr respects
            signal.signal(number, signal.SIG_DFL)
        listen = stopping.listen

        def listen_and_wait() -> None:
            listen()
            stopping.listen = listen
            if moment is not None:
                later(*moment)

        stopping.listen = listen_and_wait
        sys.argv = ["cmcr", *args]
        code = 99
        try:
            from cmcr_cli.__main__ import main

            main()
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException as error:
            os.write(2, f"{type(error).__name__} reached the end: {error}\n".encode())
            code = 98
        finally:
            os._exit(code)
    _, status, used = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), log.read_text(errors="replace"), used.ru_utime + used.ru_stime


def verdict(folder: Path, code: int, said: str, again: bool) -> str:
    """What is wrong with a run that was sent a signal."""
    names = {path.name for path in folder.iterdir()}
    hidden = {name for name in names if name.startswith(".")}
    if code not in (0, 130) or said not in (("cmcr: interrupted\n",) if code else ("",)):
        return f"exit code {code}: {said}"
    if names - hidden not in (set(), set(OUTPUTS.values())) or (not code and not names):
        return f"exit code {code} and {sorted(names)}"
    return f"left {sorted(hidden)}" if hidden and not again else ""


def tried(work: Path, times: int, seed: int) -> Iterator[dict[str, Any]]:
    folder, chance, log = work / "out", random.Random(seed), work / "log"
    words = ["remove", "s2.tif", "s1.tif", "--mask", "mask.tif", "--weights", "tiny.safetensors", "--quiet"]
    args = [str(work / word) if "." in word else word for word in words]
    for option, name in OUTPUTS.items():
        args += [f"--{option}", str(folder / name)]
    args += ["--datetime", "2024-06-01", "--overwrite"]
    for loaded in (False, True):
        if loaded:
            load()
        folder.mkdir(exist_ok=True)
        whole = 0.0
        for _ in range(2):
            code, said, whole = run(args, log)
            if code or said:
                raise SystemExit(f"an undisturbed run ends with {code}: {said}")
        counts = {number: Counter[str]() for number in SIGNALS}
        for index in range(times // 2):
            number, again = SIGNALS[index % len(SIGNALS)], index // len(SIGNALS) % 2 == 1
            shutil.rmtree(folder)
            folder.mkdir()
            at = chance.uniform(0.001, 1.02) * whole
            code, said, _ = run(args, log, (at, number, EVERY * again))
            found = verdict(folder, code, said, again)
            if code == 0 and at < LATE * whole and not found:
                found = "did not stop"
            counts[number]["finished before"] += code == 0
            if any(path.name.startswith(".") for path in folder.iterdir()) and not found:
                counts[number]["left hidden files"] += 1
                code, said, _ = run(args, log)
                after = sorted(path.name for path in folder.iterdir())
                found = (
                    ""
                    if not code and after == sorted(OUTPUTS.values())
                    else f"next run: {code}, {said}, {after}"
                )
            counts[number]["runs"] += 1
            counts[number]["faults"] += bool(found)
            if found:
                print(
                    f"{'loaded' if loaded else 'imports'} {index} {number.name} at {at:.3f} of {whole:.3f} s"
                    f"{' and again' * again}: {found}",
                    flush=True,
                )
        for number, count in counts.items():
            columns = ("runs", "finished before", "left hidden files", "faults")
            start = "loaded" if loaded else "with imports"
            yield {"signal": number.name, "start": start, **{name: count[name] for name in columns}}


def load() -> None:
    """Import all that a run needs."""
    import torch

    import cmcr_cli.cli.main
    import cmcr_cli.removal  # noqa: F401

    torch.set_num_threads(1)  # a process with more could not be forked


def prepare(work: Path) -> None:
    """Write scene and weights, in a process of its own: here nothing may be imported yet."""
    child = os.fork()
    if child:
        if os.waitpid(child, 0)[1]:
            raise SystemExit("no scene could be written")
        return
    from faults import tiny_weights

    from cmcr_cli.simulate import simulate_scene

    simulate_scene(work, size=128, seed=3, cloud_cover=0.4, overwrite=True)
    tiny_weights(work / "tiny.safetensors")
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )  # common imports torch, which is too early here
    parser.add_argument("--work", type=Path, default=Path("bench"), help="scene and outputs")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"), help="tables")
    parser.add_argument("--times", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other use processor time
    prepare(options.work)
    rows = list(tried(options.work.resolve(), options.times, options.seed))
    from common import write_table

    write_table(options.results, "signals", f"Signals at random moments, {options.times} runs", rows)
    if any(row["faults"] for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
