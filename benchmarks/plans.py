"""Random plans of runs: names, links, VRTs, archives, lists, folders. Only outputs may be touched.

    python benchmarks/plans.py [--times 10000]

Each plan is a folder of inputs and unrelated files, and one to three scenes, also products in folders and
references in folders and lists. Inputs and outputs, with styles and the folders of --native, are drawn from
all names in the folder, their sidecars, the names of temporary files, and other spellings. The
rules for files run as in `cmcr remove` and `cmcr batch`, from the claims to the last rename; some bytes are
written instead of pixels. A model knows the sources of every file and states which files may change. A fault
is any other change of contents, inodes, times, links or names; an incomplete output; or a hidden file that is
left behind. "refused for nothing" counts plans that the model considers harmless.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import arguments, write_table

from cmcr_cli.errors import CmcrError
from cmcr_cli.output.claims import check_writable
from cmcr_cli.output.files import FileSet, write_whole
from cmcr_cli.output.lock import locked
from cmcr_cli.removal import RemoveOptions
from cmcr_cli.removal.many_scenes import check_batch, jobs_of
from cmcr_cli.removal.opening.native_files import native_folder
from cmcr_cli.removal.opening.session import check_files

NAMES = ("a.tif", "b.tif", "c.tif", "s2.vrt", "m.vrt", "i.json", "z.zip", "w.bin", "old.tif")
TOLD = tuple(name for name in NAMES if name != "b.tif")
"""Names whose inodes must not change; b.tif may have a second name."""

ENDINGS = (".msk", ".ovr", ".aux.xml")
OUTPUTS = ("provenance", "quicklook", "report", "stac", "source_date")
FOLDERS = (
    "nat",
    "prod",
    "prod/R10m",
    "deep",
    "dates",
    ".",
    "a.tif",
    "new.tif",
    ".new.tif.cmcr-part",
    "gone/nat",
)
"""Some that --native may be given."""

BANDS = ("new_B02_10m.tif", "B02.tif", "d1.tif", "new.tif", "a.tif", "new2.tif")
"""Names that bands may have there."""


@dataclass
class Plan:
    """A folder, and the knowledge of the model about it."""

    folder: Path
    chance: random.Random
    behind: dict[str, set[str]] = field(default_factory=dict)  # name -> names of all files it consists of
    planted: bool = False

    def fill(self) -> None:
        """Make the files: dummy rasters, VRTs and STAC items that name others, an archive, links."""
        pick = self.chance.choice
        for name in ("a.tif", "b.tif", "c.tif", "w.bin", "old.tif"):
            self.write(name, f"II*\0 {name}")
        raster = pick(("a.tif", "b.tif", "c.tif"))
        self.write("s2.vrt", f'<VRTDataset><S relativeToVRT="1">{raster}</S></VRTDataset>', raster)
        inner = pick(("s2.vrt", "a.tif"))
        self.write("m.vrt", f"<VRTDataset><S>{self.folder / inner}</S></VRTDataset>", inner)
        named = pick(("m.vrt", "b.tif"))
        self.write("i.json", f'{{"type": "Feature", "assets": {{"B02": {{"href": "./{named}"}}}}}}', named)
        with zipfile.ZipFile(self.folder / "z.zip", "w") as archive:
            archive.writestr("in/x.tif", "II*")
        self.behind["z.zip"] = {"z.zip"}
        for name in self.chance.sample(NAMES, 2):
            if self.chance.random() < 0.5:
                ending = pick(ENDINGS)
                text = "<PAMDataset/>" if ending == ".aux.xml" and pick((True, False)) else "mine"
                self.write(name + ending, text)
        if self.chance.random() < 0.3:
            (self.folder / "soft.tif").symlink_to(pick(("a.tif", "/dev/null", "none")))
        if self.chance.random() < 0.3:
            (self.folder / "hard.tif").hardlink_to(self.folder / "b.tif")
        (self.folder / "sub").symlink_to(".")
        for name in ("deep", "prod", "prod/R10m", "dates"):
            (self.folder / name).mkdir()
        for name in ("prod/MTD_MSIL1C.xml", "prod/R10m/B02.tif", "dates/d1.tif", "dates/d2.tif"):
            self.write(name, f"II*\0 {name}")
        self.write("refs.txt", f"path\n{raster}\ndates/d1.tif\n", raster, "dates/d1.tif")
        self.behind["prod"] = {"prod/MTD_MSIL1C.xml", "prod/R10m/B02.tif"}
        self.behind["dates"] = {"dates/d1.tif", "dates/d2.tif"}
        if self.chance.random() < 0.15:
            self.planted = True
            name = f".{pick(('new.tif', 'old.tif'))}{pick(('.cmcr-part', '.cmcr-lock'))}"
            if pick((True, False)):
                (self.folder / name).symlink_to(pick(("a.tif", "sub", "none")))
            else:
                (self.folder / name).write_text("mine")

    def write(self, name: str, text: str, *sources: str) -> None:
        """Make a file that consists of `sources`."""
        (self.folder / name).write_text(text)
        self.behind[name] = {name}.union(*(self.behind[source] for source in sources))

    def input(self) -> tuple[str, set[Path]]:
        """An address, and the files that it refers to according to the model."""
        name = self.chance.choice([*NAMES, "prod", *(n for n in ("soft.tif", "hard.tif") if self.there(n))])
        sources = {self.folder / each for each in self.behind.get(name, {name})}
        if name == "z.zip":
            return f"/vsizip/{self.spelled(name)}/in/x.tif", sources
        return self.spelled(name), sources

    def reference(self) -> tuple[str, set[Path]]:
        """A date, or a folder or list of some, and the files that it refers to according to the model."""
        name = self.chance.choice(("dates", "refs.txt", "c.tif", "prod"))
        return self.spelled(name), {self.folder / each for each in self.behind[name]}

    def output(self) -> Path:
        """Path of an output: usually a new one, sometimes any other."""
        draw, pick = self.chance.random(), self.chance.choice
        new = pick(("new.tif", "new2.tif", "new3.tif", "old.tif"))
        if draw < 0.6:
            return self.folder / new
        if draw < 0.75:
            return Path(self.spelled(pick((*NAMES, "soft.tif", "hard.tif", "gone/x.tif", "."))))
        if draw < 0.9:
            return Path(self.spelled(pick((*NAMES, new)) + pick(ENDINGS)))
        return Path(self.spelled(f".{new}{pick(('.cmcr-part', '.cmcr-lock', '.cmcr-part/whole'))}"))

    def spelled(self, name: str) -> str:
        """Path of a name in one of its spellings."""
        way = self.chance.choice(("", "", "./", "sub/", "deep/../"))
        return f"{self.folder}/{way}{name}"

    def there(self, name: str) -> bool:
        """Whether the name exists."""
        return os.path.lexists(self.folder / name)


def seen(folder: Path) -> dict[str, Any]:
    """State of every name in the folder, from which any change can be detected."""
    found: dict[str, Any] = {}
    for root, folders, files in os.walk(folder):
        for path in (Path(root) / name for name in (*folders, *files)):
            state = path.lstat()
            content = path.readlink() if path.is_symlink() else b"" if path.is_dir() else path.read_bytes()
            # The inode of a file with two names changes when its other name does.
            changed = state.st_ctime_ns if path.name in TOLD and not path.is_dir() else 0
            named = state.st_ino, state.st_mtime_ns if not path.is_dir() else 0, changed, content
            found[str(path.relative_to(folder))] = named
    return found


def place_in(folder: Path, path: Path) -> str:
    """Name of a file in the folder, whatever its spelling."""
    return os.path.relpath(path.parent.resolve() / path.name, folder)


def harmless(outputs: list[Path], inputs: set[Path], plan: Plan, overwrite: bool) -> bool:
    """Whether a plan is harmless according to the model, which compares real paths and inodes in pairs."""
    needed = [
        [path, *(path.with_name(path.name + end) for end in ENDINGS)]
        + [path.with_name(f".{path.name}{end}") for end in (".cmcr-part", ".cmcr-lock")]
        for path in outputs
    ]
    read = [*inputs, *(path.with_name(path.name + end) for path in inputs for end in ENDINGS)]
    for index, names in enumerate(needed):
        others = [name for other in (*needed[:index], *needed[index + 1 :]) for name in other]
        if any(same(name, other) for name in names for other in (*read, *others)):
            return False
        path = names[0]
        if path.is_symlink() or path.is_dir() or not path.parent.is_dir() or ".cmcr-part" in str(path.parent):
            return False
        if path.exists() and not overwrite:
            return False
        if any(os.path.lexists(name) for name in names[1:]):
            return False  # except a cache of GDAL, which may be removed
    return not plan.planted


def same(one: Path, other: Path) -> bool:
    """Whether two paths are the same file, or will be."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    return one.exists() and other.exists() and not one.is_dir() and one.samefile(other)


def tried(plan: Plan) -> tuple[str, str]:
    """Draw the scenes of a plan and run it; returns how it ended, and the fault if any."""
    chance, inputs, jobs = plan.chance, set[Path](), []
    overwrite, listed = chance.random() < 0.6, chance.random() < 0.4
    for _ in range(chance.randint(1, 3) if listed else 1):
        chosen: dict[str, Any] = {"overwrite": overwrite, "output": plan.output()}
        for name in ("s2", *chance.sample(("mask", "s1", "weights"), chance.randint(0, 2))):
            chosen[name], behind = plan.input() if name != "weights" else (plan.folder / "w.bin", set[Path]())
            inputs |= behind or {plan.folder / "w.bin"}
        if chance.random() < 0.3:
            reference, behind = plan.reference()
            chosen["references"] = (reference,)
            inputs |= behind
        if not listed:
            chosen |= {name: plan.output() for name in OUTPUTS if chance.random() < 0.3}
            chosen["qml"] = chance.random() < 0.2
            if chance.random() < 0.3:
                chosen["native"] = Path(plan.spelled(chance.choice(FOLDERS)))
        jobs.append(chosen)
    extras = [name for name in OUTPUTS if listed and chance.random() < 0.3]
    before, outputs, ended = seen(plan.folder), list[Path](), "written"
    done: list[Path] = []
    bands = {index: tuple(chance.sample(BANDS, chance.randint(1, 3))) for index in range(3)}
    try:
        options = planned(plan, jobs, listed, extras)
        outputs = [path for each in options for path in each.outputs.values()]
        if listed:
            check_batch(options)
        for index, each in enumerate(options):
            done += write(each, bands[index])
    except CmcrError:
        ended = "refused"
    after = seen(plan.folder)
    may = {place_in(plan.folder, path) for path in done}
    may |= {f"{name}.aux.xml" for name in may & before.keys()}
    may |= {str(parent) for name in may - before.keys() for parent in Path(name).parents} - before.keys()
    wrong = sorted(name for name in {*before, *after} - may if before.get(name) != after.get(name))
    wrong += [path.name for path in done if not path.read_bytes().startswith(b"new ")]
    wrong += [str(path) for path in done for read in inputs if same(path, read)]
    plain = not any("native" in job for job in jobs)  # what becomes of its folder is not modelled
    if ended == "refused" and not done and outputs and plain and harmless(outputs, inputs, plan, overwrite):
        ended = "refused for nothing"
    return ended, ", ".join(wrong)


def planned(plan: Plan, jobs: list[dict[str, Any]], listed: bool, extras: list[str]) -> list[RemoveOptions]:
    """Options of the scenes, read from a list if there is one."""
    if not listed:
        return [RemoveOptions(**job) for job in jobs]
    rows = [
        {name: "".join(value) if name == "references" else str(value) for name, value in job.items()}
        for job in jobs
    ]
    for row in rows:
        row.pop("overwrite"), row.pop("weights", None)
    for row in rows:
        row["output"] = os.path.relpath(row["output"], plan.folder)
    weights = next((job["weights"] for job in jobs if "weights" in job), None)
    return jobs_of(rows, plan.folder, {"overwrite": jobs[0]["overwrite"], "weights": weights}, extras)


def write(options: RemoveOptions, bands: Sequence[str]) -> list[Path]:
    """Handle files as `remove` does; returns what was written."""
    paths = list(options.outputs.values())
    claims = check_files(options)
    with native_folder(options.native):
        for path in (options.native / name for name in bands) if options.native is not None else ():
            claims.write(path)
            check_writable(path, options.overwrite)
            paths.append(path)
        claims.check()
        with locked(paths), FileSet(paths, overwrite=options.overwrite) as files:
            for path in paths:
                write_whole(path, f"new {path.name}".encode(), files)
    return paths


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--times", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first plan")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    folder = options.work / "plan"
    for number in range(options.first, options.first + options.times):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        plan = Plan(folder.resolve(), random.Random(number))
        plan.fill()
        ended, wrong = tried(plan)
        counts[ended] += 1
        counts["faults"] += bool(wrong)
        if wrong:
            print(f"plan {number}, {ended}: {wrong}", file=sys.stderr, flush=True)
    row = {"plans": options.times}
    row |= {name: counts[name] for name in ("written", "refused", "refused for nothing", "faults")}
    write_table(options.results, "faults-plans", f"Plans of runs, {options.times}", [row])
    if counts["faults"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
