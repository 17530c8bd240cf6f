"""Runs in which one call of the system fails or is the last: disks that are full or broken, and kills.

    python benchmarks/every_call.py writer [--times N] [--minutes M]
    python benchmarks/every_call.py full   [--times N] [--minutes M]
    python benchmarks/every_call.py kills  [--times N] [--minutes M]
    python benchmarks/every_call.py mask|simulate [--times N] [--minutes M]

A run with all outputs makes some 400 calls that change files: it creates, writes, synchronizes, renames and
removes them, most of them from C. Each is known by its kind, its file and its number. Tried are every rename
and every sync, with and without an old set and --resume, and of each other kind and file the first call, the
one in the middle and the last, in these settings by turns. With more --times, calls are then drawn at random.
writer: a raster with checkpoints and a small file, written as one set, without anything else of a run.
full: whole runs with all outputs. What the networks compute is computed once and replayed, since only the
files matter here.
kills: such runs with --resume are killed before one call; half of them again in the run that follows.
mask, simulate: `cmcr mask` with --confidence, and `cmcr simulate`.
In all but kills, one call fails with ENOSPC, EDQUOT or EIO: just once, or all later ones that need room fail
too, or the disk takes nothing any more. Then the set must be the old one, or (where it came too late) the new
one, and nothing else may be left. One line tells of it, and the exit code is 1. Where rows are kept for
--resume, or where nothing could be removed, and after each kill, the next run must end in the bytes of an
undisturbed one, and leave nothing else. A set is never mixed. Inputs and unrelated files are compared, too.
Each run is noted in --work as soon as it has ended, and the same command goes on after the last one; empty
--work after a change of the code.
In the tables, "calls" are all that undisturbed runs make, and "tried" are those of them that were chosen.
"""

from __future__ import annotations

import argparse
import errno
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from call_bench import ERRORS, FROM_GDAL, KINDS, WAYS, Bench, Target, masks, removals, simulations, writers
from common import arguments, write_table
from syscalls import KILL, available

from cmcr_cli.output import cog
from cmcr_cli.removal.restore.schedule import Schedule

COUNTED = ("calls", "tried", "runs")

ENDS = {1: "refused", 0: "done", -signal.SIGALRM: "hung"}
"""How a run ends, by its exit code."""


def writer(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    setattr(cog, "check_creation_options", lambda spec: None)  # noqa: B010
    yield from _failing(writers(options.work / "writer"), options)


def full(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    bench = removals(options.work / "full", steps=2)
    setattr(cog, "check_creation_options", lambda spec: None)  # noqa: B010
    yield from _failing(bench, options)


def mask(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    yield from _failing(masks(options.work / "mask"), options, resumes=False)


def simulate(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    yield from _failing(simulations(options.work / "simulate"), options, resumes=False)


def _failing(bench: Bench, options: argparse.Namespace, *, resumes: bool = True) -> Iterator[dict[str, Any]]:
    chance = random.Random(options.seed)
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    ways = [(kept, old) for kept in (False, True) for old in (False, True) if resumes or not kept]
    journal = Path(f"{bench.work}-runs.jsonl")
    tried = _read(journal, options)
    for number, (target, kept, old) in enumerate(_chosen(bench, ways, options, chance, counts, tried)):
        way, error = chance.choice(WAYS), chance.choice(ERRORS)
        if number not in tried and number % options.of != options.part:
            continue
        if number not in tried:
            bench.reset(old=old)
            decide, hit = bench.stopper(target, error, way)
            code, said = bench.run(decide, kept=kept, overwrite=old)
            again = kept or way == "dead" or target[0] == "remove"
            found = _verdict(bench, code, said, way, old, kept, again) if hit else "never came"
            name = errno.errorcode[error]
            tried[number] = {
                "seed": options.seed, "number": number, "call": target, "error": name, "way": way,
                "kept": kept, "old": old, "code": code, "found": found, "said": said[-4000:],
            }  # fmt: skip
            with journal.open("a") as file:
                file.write(json.dumps(tried[number]) + "\n")
            if found or code not in ENDS:
                print(f"{number} {target} {name} {way} kept={kept} old={old}: {code} {found}", flush=True)
        done = tried[number]
        count = counts[target[0]]
        count[done["error"]] += 1
        count[ENDS.get(done["code"], "crashed in GDAL")] += 1
        count["faults"] += bool(done["found"])
    names = (*COUNTED, *map(errno.errorcode.get, ERRORS), *ENDS.values(), "crashed in GDAL", "faults")
    for kind, count in counts.items():
        yield {"call": kind, **{str(name): count[str(name)] for name in names}}


def _read(journal: Path, options: argparse.Namespace) -> dict[int, dict[str, Any]]:
    """The runs of an earlier process, by number; those of another version of the code have no place there."""
    if not journal.exists():
        journal.parent.mkdir(parents=True, exist_ok=True)
        return {}
    runs = map(json.loads, journal.read_text().splitlines())
    return {run["number"]: run for run in runs if run["seed"] == options.seed}


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
    for steps in (4, 1):
        compute = Schedule.run
        bench, chance = removals(options.work / "kills", steps), random.Random(options.seed)
        counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
        settings = [(True, False), (True, True)]
        for number, (target, _, old) in enumerate(_chosen(bench, settings, options, chance, counts)):
            bench.reset(old=old)
            decide, hit = bench.stopper(target, KILL)
            code, said = bench.run(decide, kept=True, overwrite=old)
            found = "" if code == -signal.SIGKILL and hit else f"exit code {code}: {said}"
            if chance.random() < 0.5 and not found:
                decide, hit = bench.stopper(chance.choice(bench.listed(kept=True, old=old)), KILL)
                bench.run(decide, kept=True, overwrite=True)
                counts[target[0]]["killed again"] += bool(hit)
            found = found or bench.after(kept=True, old=old, again=True)
            counts[target[0]]["faults"] += bool(found)
            if found:
                print(f"{steps} steps, {number} {target} old={old}: {found}", flush=True)
        setattr(Schedule, "run", compute)  # noqa: B010
        for kind, count in counts.items():
            names = (*COUNTED, "killed again", "faults")
            yield {"steps": steps, "call": kind, **{name: count[name] for name in names}}


def _chosen(
    bench: Bench,
    settings: Sequence[tuple[bool, bool]],
    options: argparse.Namespace,
    chance: random.Random,
    counts: dict[str, Counter[str]],
    finished: Container[int] = (),
) -> Iterator[tuple[Target, bool, bool]]:
    """Calls to try, with whether rows are kept and whether there is an old set; counts them by kind."""
    calls = [(call, *way) for way in settings for call in bench.listed(kept=way[0], old=way[1])]
    for call, *_ in calls:
        counts[call[0]]["calls"] += 1
    chosen = [each for each in calls if each[0][0] in ("rename", "sync")]
    groups: dict[tuple[str, str], dict[tuple[bool, bool], list[Target]]] = {}
    for call, kept, old in calls:
        if call[0] not in ("rename", "sync"):
            groups.setdefault(call[:2], {}).setdefault((kept, old), []).append(call)
    others = []
    for index, ways in enumerate(groups.values()):
        for part in range(3):
            (kept, old), group = list(ways.items())[(index + part) % len(ways)]
            others.append((group[(0, len(group) // 2, len(group) - 1)[part]], kept, old))
    others = list(dict.fromkeys(others))
    for each in (chosen, others):  # so that little is missing of each kind where the time runs out
        chance.shuffle(each)
    chosen += others
    print(f"{len(chosen)} of {len(calls)} calls are chosen", flush=True)
    times, end = options.times or len(chosen), time.monotonic() + 60 * options.minutes
    tried = set()
    for number in range(times):
        if time.monotonic() > end and number not in finished:
            print(f"the time is over: {times - number} calls are left out", flush=True)
            return
        drawn = chosen[number] if number < len(chosen) else chance.choice(calls)
        tried.add(drawn)
        count = counts[drawn[0][0]]
        count["runs"] += 1
        count["tried"] += len(tried) > sum(other["tried"] for other in counts.values())
        yield drawn


TABLES: dict[str, tuple[Callable[[argparse.Namespace], Iterator[dict[str, Any]]], str]] = {
    "writer": (writer, "One call fails while a set is written"),
    "full": (full, "One call fails in a whole run"),
    "mask": (mask, "One call fails in cmcr mask"),
    "simulate": (simulate, "One call fails in cmcr simulate"),
    "kills": (kills, "Whole runs killed before one call"),
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--times", type=int, help="default: each chosen call once")
    parser.add_argument("--minutes", type=float, default=600, help="after which no more calls are tried")
    parser.add_argument("--part", type=int, default=0, help="of the runs, for several processes at a time")
    parser.add_argument("--of", type=int, default=1, help="number of parts")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not available():
        raise SystemExit("the system has no seccomp with user notification, or is not Linux on x86-64")
    table, title = TABLES[options.table]
    rows = list(table(options))
    runs = sum(row["runs"] for row in rows)
    write_table(options.results, f"every-call-{options.table}", f"{title}, {runs} runs", rows)
    if any(row["faults"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
