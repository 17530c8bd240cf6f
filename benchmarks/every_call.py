"""Runs in which one call of the system fails or is the last: disks that are full or broken, and kills.

    python benchmarks/every_call.py writer [--times 4000]
    python benchmarks/every_call.py full   [--times 300]
    python benchmarks/every_call.py kills  [--times 100]

A run with all outputs makes some 900 calls that change files: it creates, writes, synchronizes, renames and
removes them, most of them from C. Each is known by its kind, its file and its number. Every kind and file has
its turn, then calls are drawn at random.
writer: a raster with checkpoints and a small file, written as one set, without anything else of a run.
full: whole runs with all outputs. What the networks compute is computed once and replayed, since only the
files matter here.
kills: such runs with --resume are killed before one call; half of them again in the run that follows.
In the first two, one call fails with ENOSPC, EDQUOT or EIO: just once, or all later ones that need room fail
too, or the disk takes nothing any more. Then the set must be the old one, or (where it came too late) the new
one, and nothing else may be left. One line tells of it, and the exit code is 1. Where rows are kept for
--resume, or where nothing could be removed, and after each kill, the next run must end in the bytes of an
undisturbed one, and leave nothing else. A set is never mixed. Inputs and unrelated files are compared, too.
"""

from __future__ import annotations

import argparse
import errno
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from call_bench import ERRORS, FROM_GDAL, KINDS, WAYS, Bench, Target, removals, writers
from common import arguments, write_table
from syscalls import KILL, available

from cmcr_cli.output import cog
from cmcr_cli.removal.restore.schedule import Schedule


def writer(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    setattr(cog, "check_creation_options", lambda spec: None)  # noqa: B010
    yield from _failing(writers(options.work / "writer"), options)


def full(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    bench = removals(options.work / "full", steps=2)
    setattr(cog, "check_creation_options", lambda spec: None)  # noqa: B010
    yield from _failing(bench, options)


def _failing(bench: Bench, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    chance = random.Random(options.seed)
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for number in range(options.times):
        way, error = chance.choice(WAYS), chance.choice(ERRORS)
        kept, old = chance.random() < 0.5, chance.random() < 0.5
        target = _drawn(bench.listed(kept=kept, old=old), number, chance)
        bench.reset(old=old)
        decide, hit = bench.stopper(target, error, way)
        code, said = bench.run(decide, kept=kept, overwrite=old)
        again = kept or way == "dead" or target[0] == "remove"
        found = _verdict(bench, code, said, way, old, kept, again) if hit else "never came"
        count, name = counts[target[0]], errno.errorcode[error]
        count["runs"] += 1
        count[name] += 1
        count["refused" if code == 1 else "done" if code == 0 else "crashed in GDAL"] += 1
        count["faults"] += bool(found)
        if found:
            print(f"{number} {target} {name} {way} kept={kept} old={old}: {found}", flush=True)
    names = (
        "runs",
        *(errno.errorcode[error] for error in ERRORS),
        "refused",
        "done",
        "crashed in GDAL",
        "faults",
    )
    for kind, count in counts.items():
        yield {"call": kind, **{name: count[name] for name in names}}


def _verdict(bench: Bench, code: int, said: str, way: str, old: bool, kept: bool, again: bool) -> str:
    """What is wrong with a run in which a call has failed; with `again` it may leave something."""
    state = bench.state()
    if code < 0:  # in GDAL: what is left is up to the next run
        return bench.after(kept=kept, old=old, again=True)
    if code == 0:
        if state != "new":
            return f"exit code 0, but {state}"
        return bench.foreign() or ("" if again else bench.unlike())
    lines = FROM_GDAL.sub("", said).splitlines()
    if code != 1 or len(lines) != 1 or not lines[0].startswith("cmcr: error: "):
        return f"exit code {code}: {said}"
    if state != ("old" if old else "none") and way != "dead":
        return f"refused, but {state}"
    return bench.after(kept=kept, old=old, again=again)


def kills(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for steps in (1, 4):
        compute = Schedule.run
        bench, chance = removals(options.work / "kills", steps), random.Random(options.seed)
        count: Counter[str] = Counter()
        for number in range(options.times):
            old = chance.random() < 0.5
            calls = bench.listed(kept=True, old=old)
            bench.reset(old=old)
            decide, hit = bench.stopper(target := _drawn(calls, number, chance), KILL)
            code, said = bench.run(decide, kept=True, overwrite=old)
            count[target[0]] += 1
            found = "" if code == -signal.SIGKILL and hit else f"exit code {code}: {said}"
            if chance.random() < 0.5 and not found:
                decide, hit = bench.stopper(_drawn(calls, chance.randrange(999), chance), KILL)
                bench.run(decide, kept=True, overwrite=True)
                count["killed again"] += bool(hit)
            found = found or bench.after(kept=True, old=old, again=True)
            count["faults"] += bool(found)
            if found:
                print(f"{steps} steps, {number} {target} old={old}: {found}", flush=True)
        setattr(Schedule, "run", compute)  # noqa: B010
        yield {"steps": steps, **{kind: count[kind] for kind in (*KINDS, "killed again", "faults")}}


def _drawn(calls: list[Target], number: int, chance: random.Random) -> Target:
    """A call: of the kinds and files in turn, at random among those of one kind and file."""
    groups = list(dict.fromkeys((kind, path) for kind, path, _ in calls))
    group = groups[number % len(groups)]
    return chance.choice([call for call in calls if call[:2] == group])


TABLES: dict[str, tuple[Callable[[argparse.Namespace], Iterator[dict[str, Any]]], str, int]] = {
    "writer": (writer, "One call fails while a set is written", 4000),
    "full": (full, "One call fails in a whole run", 300),
    "kills": (kills, "Whole runs killed before one call", 100),
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--times", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not available():
        raise SystemExit("the system has no seccomp with user notification, or is not Linux on x86-64")
    table, title, times = TABLES[options.table]
    options.times = options.times or times
    rows = list(table(options))
    write_table(options.results, f"every-call-{options.table}", f"{title}, {options.times}", rows)
    if any(row["faults"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
