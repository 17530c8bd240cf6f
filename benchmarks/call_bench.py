"""The runs whose calls of the system `every_call.py` lets fail, and what they must leave behind."""

from __future__ import annotations

import errno
import faulthandler
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from faults import tiny_weights
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from syscalls import Call, Decide, watched

from cmcr_cli.cli.main import main as cmcr
from cmcr_cli.errors import CmcrError
from cmcr_cli.output import cog, cog_spec
from cmcr_cli.output.files import FileSet, put_back, write_whole
from cmcr_cli.removal import pipeline
from cmcr_cli.removal.opening import session
from cmcr_cli.removal.restore.schedule import Schedule
from cmcr_cli.scene.bands import BANDS, RADAR_BANDS
from cmcr_cli.scene.grid import Grid
from cmcr_cli.simulate import simulate_window

HEIGHT, WIDTH = 300, 16
"""Of the scene: two strips, so that there are checkpoints."""

FEW = [BANDS.index(name) for name in ("B02", "B03", "B04", "B08")]

OUTPUTS = {
    "output": "clear.tif",
    "provenance": "which.tif",
    "quicklook": "look.png",
    "report": "look.html",
    "stac": "item.json",
    "source-date": "date.tif",
    "uncertainty": "std.tif",
}
FOREIGN = ("notes.txt", "clear.tif.txt", ".clear.tif.swp", "look.png.old")
"""Unrelated files beside the outputs."""

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
WAYS = ("once", "full", "dead")
"""One call fails; all later ones that need room fail too; all later ones fail."""

KINDS = ("create", "write", "sync", "rename", "remove")

VARYING = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.+Z]+|\d+\.\d+ s| --(overwrite|resume)\b|<li>[^<]*</li>")
"""What differs between the reports and items of two runs: times, notes, and how the run was begun."""

SECONDS = 1800
"""After which a run counts as hanging; alone it takes some 3."""

FROM_GDAL = re.compile(r"(_tiff\w+: |ERROR \d+: ).*\n")
"""What libraries print themselves, before cmcr tells of the error."""

Target = tuple[str, str, int]
"""A call: its kind, its file, and how many of these came before."""


@dataclass
class Bench:
    """A folder in which sets are written, and what an undisturbed run leaves there.

    Attributes:
        work: Folder of everything.
        names: Of the outputs, the image first.
        command: Writes them into a folder, given options of `cmcr remove`; returns the exit code.
    """

    work: Path
    names: Sequence[str]
    command: Callable[[Path, list[str]], int]
    calls: dict[tuple[bool, bool], list[Target]] = field(default_factory=dict)
    new: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note what the inputs are."""
        self.inputs, self.out = self.work / "in", self.work / "out"
        self.given = _contents(self.inputs)

    def reset(self, *, old: bool) -> None:
        """Empty the folder of the outputs but for unrelated files, and for an old set where that is asked."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        for name in (*FOREIGN, *(self.names if old else ())):
            (self.out / name).write_text(f"old {name}")

    def run(self, decide: Decide, *, kept: bool, overwrite: bool) -> tuple[int, str]:
        """Write the outputs in a child; returns its exit code and what it said."""
        words = ["--resume"] * kept + ["--overwrite"] * overwrite

        def work() -> int:
            signal.alarm(SECONDS)
            faulthandler.enable(2)
            return self.command(self.out, words)

        return watched(work, decide, self.work / "log")

    def listed(self, *, kept: bool, old: bool) -> list[Target]:
        """All calls of an undisturbed run."""
        if (kept, old) not in self.calls:
            found: list[Target] = []
            seen: Counter[tuple[str, str]] = Counter()

            def note(call: Call) -> int:
                if (path := self._within(call.path)) is not None:
                    found.append((call.kind, path, seen[call.kind, path]))
                    seen[call.kind, path] += 1
                return 0

            self.reset(old=old)
            code, said = self.run(note, kept=kept, overwrite=old)
            if code or said:
                raise SystemExit(f"an undisturbed run ends with {code}: {said}")
            self.calls[kept, old] = found
            made = {name: plain(name, (self.out / name).read_bytes()) for name in self.names}
            if made != (self.new or made):
                raise SystemExit("two undisturbed runs differ")
            self.new = made
        return self.calls[kept, old]

    def stopper(self, target: Target, answer: int, way: str = "once") -> tuple[Decide, list[Call]]:
        """What answers with an error or KILL at one call; the list then holds that call."""
        kind, path, number = target
        left, hit = number, list[Call]()

        def decide(call: Call) -> int:
            nonlocal left
            place = self._within(call.path)
            if place is None:
                return 0
            if hit and way != "once":
                return answer if way == "dead" or call.kind in ("create", "write") else 0
            if not hit and (call.kind, place) == (kind, path):
                left -= 1
                if left < 0:
                    hit.append(call)
                    return answer
            return 0

        return decide, hit

    def after(self, *, kept: bool, old: bool, again: bool) -> str:
        """What is wrong after a run that did not reach its end; with `again` the next run goes to the end."""
        state = self.state()
        if state == "mixed" or (foreign := self.foreign()):
            return f"mixed set: {sorted(self._left())}" if state == "mixed" else foreign
        if not again:
            hidden = [name for name in self._left() if name.startswith(".")]
            return f"left {hidden}" if hidden else ""
        if old and state == "none":
            # Without --overwrite the next run restores the old set, and is refused.
            code, said = self.run(lambda call: 0, kept=False, overwrite=False)
            if code != 1 or not re.search("exists? already", said) or self.state() != "old":
                return f"not restored: {code}, {said}, {sorted(self._left())}"
        code, said = self.run(lambda call: 0, kept=kept, overwrite=old or state != "none")
        return f"next run: {code}, {said}" if code else self.unlike()

    def unlike(self) -> str:
        """How the folder differs from that of an undisturbed run."""
        left = self._left()
        if set(left) != set(self.names):
            return f"left {sorted(left)}"
        differ = [name for name in self.names if not alike(name, left[name], self.new[name])]
        return f"other bytes: {differ}" if differ else self.foreign()

    def state(self) -> str:
        """Whether the set is old, new, none (no image), or mixed."""
        kinds = {}
        for name, content in self._left().items():
            if name in self.names:
                old = content == f"old {name}".encode()
                kinds[name] = "old" if old else "new" if alike(name, content, self.new[name]) else "torn"
        if "torn" in kinds.values():
            return "mixed"
        if self.names[0] not in kinds:
            return "none"
        whole = list(kinds.values()) == len(self.names) * [kinds[self.names[0]]]
        return kinds[self.names[0]] if whole else "mixed"

    def foreign(self) -> str:
        """Which inputs and unrelated files were touched."""
        touched = [name for name in FOREIGN if (self.out / name).read_text() != f"old {name}"]
        now = _contents(self.inputs)
        touched += [name for name in {*now, *self.given} if now.get(name) != self.given.get(name)]
        return f"touched {touched}" if touched else ""

    def _left(self) -> dict[str, bytes]:
        return {name: content for name, content in _contents(self.out).items() if name not in FOREIGN}

    def _within(self, path: str) -> str | None:
        """A path within the folder of the outputs, without the numbers of processes."""
        if not path.startswith(str(self.out)):
            return None
        named = re.sub(r"#\d+( \(deleted\))?$", "unnamed", os.path.relpath(path, self.out))
        return re.sub(r"_\d+_\d+(?=\.ovr)", "", named)


# What is run


def removals(work: Path, steps: int) -> Bench:
    """Whole runs of `cmcr remove` with all outputs; what they compute is recorded and replayed."""
    shutil.rmtree(work, ignore_errors=True)
    inputs, out = work / "in", work / "out"
    inputs.mkdir(parents=True)
    out.mkdir()
    _simulate(inputs)
    tiny_weights(inputs / "tiny.safetensors")
    names = list(OUTPUTS.values())[: None if steps > 1 else -1]  # one step has no uncertainty

    def command(folder: Path, words: list[str]) -> int:
        args: list[Any] = ["remove", inputs / "s2.tif", inputs / "s1.tif", "--mask", inputs / "mask.tif"]
        args += ["--datetime", "2024-06-01"]
        args += ["--weights", inputs / "tiny.safetensors", "--steps", steps, "--quiet", *words]
        args += ["--reference", inputs / "june.tif@2024-06-01", "--co", "BLOCKSIZE=128"]
        args += ["--samples", 2] if steps > 1 else []
        for option, name in zip(OUTPUTS, names, strict=False):
            args += [f"--{option}", folder / name]
        cmcr(list(map(str, args)))
        return 99

    _record(lambda: command(out, []))
    return Bench(work, names, command)


def writers(work: Path) -> Bench:
    """A raster with checkpoints and a small file, as one set."""
    shutil.rmtree(work, ignore_errors=True)
    (work / "in").mkdir(parents=True)
    rows = np.random.default_rng(0).integers(1, 9999, (3, HEIGHT, WIDTH), np.uint16)
    grid = Grid(CRS.from_epsg(32631), Affine(10, 0, 500_000, 0, -10, 5_000_000), WIDTH, HEIGHT)

    def command(folder: Path, words: list[str]) -> int:
        image, beside = folder / "clear.tif", folder / "item.json"
        put_back([image, beside])
        if image.exists() and "--overwrite" not in words:
            print(f"cmcr: error: {image} exists already", flush=True)
            return 1
        try:
            with FileSet([image, beside], kept="--resume" in words) as files:
                spec = cog_spec.OutputSpec(image, grid, 3, "uint16", nodata=0)
                with cog.StripWriter(spec, files) as writer:
                    for top in range(0, HEIGHT, 100):
                        writer.write(rows[:, top : top + 100])
                        writer.checkpoint()
                write_whole(beside, b"{}", files)
        except CmcrError as error:
            print(f"cmcr: error: {error}", flush=True)
            return 1
        return 0

    return Bench(work, ["clear.tif", "item.json"], command)


def masks(work: Path) -> Bench:
    """`cmcr mask` of a small scene with --confidence."""
    shutil.rmtree(work, ignore_errors=True)
    (work / "in").mkdir(parents=True)
    _simulate(work / "in")
    weights = tiny_weights(work / "in" / "tiny.safetensors")
    torch.set_num_threads(1)  # a process with more could not be forked

    def command(folder: Path, words: list[str]) -> int:
        args = ["mask", work / "in" / "s2.tif", "-o", folder / "mask.tif", "--weights", weights, "--quiet"]
        cmcr([*map(str, args), "--confidence", str(folder / "sure.tif"), *words])
        return 99

    return Bench(work, ["mask.tif", "sure.tif"], command)


def simulations(work: Path) -> Bench:
    """`cmcr simulate` of a small scene."""
    shutil.rmtree(work, ignore_errors=True)
    (work / "in").mkdir(parents=True)

    def command(folder: Path, words: list[str]) -> int:
        cmcr(["simulate", str(folder), "--size", "16", "--seed", "1", "--quiet", *words])
        return 99

    return Bench(work, ["s2.tif", "s1.tif", "truth.tif", "mask.tif"], command)


def _record(run: Callable[[], int]) -> None:
    """Compute once what all runs replay: weights, survey, and the restored strips."""
    strips: list[Any] = []
    compute = Schedule.run

    def recorded(self: Schedule, first: int = 0) -> Iterator[Any]:
        for index, strip, canvas in compute(self, first):
            strips.append((index, strip, None if canvas is None else canvas.clone()))
            yield index, strip, canvas

    def replayed(self: Schedule, first: int = 0) -> Iterator[Any]:
        for index, strip, canvas in strips[first:]:
            yield index, strip, None if canvas is None else canvas.clone()

    kept = [(session, "load_model"), (pipeline, "survey_scene"), (pipeline, "check_radar")]
    before = [(where, what, getattr(where, what)) for where, what in kept]
    for where, what in kept:
        setattr(where, what, _once(getattr(where, what)))
    # A process with threads of GDAL or OpenMP could not be forked any more.
    os.environ["GDAL_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    setattr(Schedule, "run", recorded)  # noqa: B010
    try:
        run()
    except SystemExit as end:
        if end.code:
            raise
    del os.environ["GDAL_NUM_THREADS"]
    setattr(Schedule, "run", replayed)  # noqa: B010
    del before


def _once(compute: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is computed at its first call, and gives the same ever after."""
    found: list[Any] = []

    def replayed(*args: Any) -> Any:
        if not found:
            found.append(compute(*args))
        return found[0]

    return replayed


def _simulate(folder: Path) -> None:
    """Write s2.tif, s1.tif, mask.tif and june.tif, another date, of a narrow scene."""
    seen = simulate_window(3, 0, 200, HEIGHT, WIDTH, 0.4)
    dn, other = (np.rint(np.clip(each, 0.0001, 1.6) * 10_000) for each in (seen.cloudy, seen.truth * 1.1))
    place = {"crs": "EPSG:32631", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}
    layers = (
        ("s2", dn.astype(np.uint16)[FEW], np.array(BANDS)[FEW]),
        ("s1", seen.radar, RADAR_BANDS),
        ("mask", seen.mask[None], ("mask",)),
        ("june", other.astype(np.uint16)[FEW], np.array(BANDS)[FEW]),
    )
    for name, pixels, bands in layers:
        with rasterio.open(
            folder / f"{name}.tif", "w", driver="GTiff", count=len(pixels), dtype=pixels.dtype,
            height=HEIGHT, width=WIDTH, **place,
        ) as file:  # fmt: skip
            file.write(pixels)
            file.descriptions = tuple(map(str, bands))


def plain(name: str, content: bytes) -> bytes:
    """Contents of an output without what differs from run to run."""
    if name.endswith((".html", ".json")):
        return VARYING.sub("", content.decode(errors="replace")).encode()
    return content


def alike(name: str, content: bytes, expected: bytes) -> bool:
    """Whether an output is the expected one; after a failed write GDAL may store the same image elsewhere."""
    if plain(name, content) == expected:
        return True
    return name.endswith(".tif") and _decoded(content) == _decoded(expected)


def _decoded(content: bytes) -> list[Any] | None:
    """All that a raster holds, at every level; None if it cannot be read."""
    try:
        with MemoryFile(content) as file, file.open() as image:
            found: list[Any] = [repr(image.profile), image.tags(), image.descriptions, image.colorinterp]
            for level in [None, *range(len(image.overviews(1)))]:
                options = {} if level is None else {"overview_level": level}
                with file.open(**options) as part:
                    found += [part.read().tobytes(), part.read_masks().tobytes()]
    except RasterioError:
        return None
    return found


def _contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder and what it holds; of folders the names in them."""
    return {
        path.name: "\n".join(sorted(each.name for each in path.iterdir())).encode()
        if path.is_dir()
        else path.read_bytes()
        for path in folder.iterdir()
    }


# What is tried
