"""Fault injection on small scenes: killed runs, damaged files, many scenes in one process.

    python benchmarks/faults.py kills [--times 100]
    python benchmarks/faults.py fuzz  [--times 1000]
    python benchmarks/faults.py soak  [--times 50]

kills: `cmcr remove`, with its libraries loaded, is stopped at a random moment by SIGKILL, SIGTERM or SIGINT
in turn. Afterwards, every file under a final name must be byte for byte that of an undisturbed run. Every
fifth time the next run is completed, half of them with --resume, and must leave the outputs and nothing else.
"stage" is the last stage that was reported before the signal.
fuzz: inputs are truncated, have bits flipped, or blocks zeroed or swapped. A run may succeed with an output
that fits what GDAL reads from the damaged file; or it may print one line that names the file, exit with code
1, 3 or 4, and write nothing. Anything else is a fault: another exit code, a signal, more than a minute, a
file left behind.
soak: scenes of one size in one process; resident memory and open file descriptors after each.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
import torch
from common import arguments, write_table

from cmcr_cli.cli.main import main as cmcr
from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.cloud_network import CloudConfig, CloudNetwork
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig
from cmcr_cli.model.network import NetworkConfig
from cmcr_cli.removal import RemoveOptions, load_model, remove
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.simulate import simulate_scene

Rows = Iterator[dict[str, Any]]
SIGNALS = {signal.SIGKILL: -9, signal.SIGTERM: 130, signal.SIGINT: 130}
SECONDS = 60
"""Seconds after which a run counts as hanging."""


def tiny_weights(path: Path) -> Path:
    """Very small networks with meaningless results; only the files matter here."""
    torch.manual_seed(0)
    denoiser = Denoiser(NetworkConfig(widths=(8, 8, 8), condition_blocks=(1, 1, 1)), DiffusionConfig())
    statistics = torch.full((13,), 0.15), torch.full((13,), 0.05)
    clouds = CloudNetwork(CloudConfig((8, 8), 8))
    weights_file.save(path, weights_file.Weights(denoiser, clouds, *statistics, {"name": "tiny"}))
    return path


# Kills

OUTPUTS = ("clear.tif", "which.tif", "look.png", "item.json")


def kills(options: argparse.Namespace) -> Rows:
    scene = simulate_scene(_fresh(options.work / "scene"), size=256, seed=3, cloud_cover=0.4)
    weights = tiny_weights(options.work / "tiny.safetensors")
    folder, log = _fresh(options.work / "killed"), options.work / "log"
    args = ["remove", str(scene.s2), str(scene.s1), "--mask", str(scene.mask), "--weights", str(weights)]
    args += ["--steps", "2", "--overwrite", "-o", str(folder / OUTPUTS[0])]
    for option, name in zip(("--provenance", "--quicklook", "--stac"), OUTPUTS[1:], strict=True):
        args += [option, str(folder / name)]
    for _ in range(2):  # the first one fills the file cache
        started = time.monotonic()
        if _ended(_start(args, log)):
            raise SystemExit(log.read_text())
        whole = time.monotonic() - started
    expected = {name: (folder / name).read_bytes() for name in OUTPUTS[:3]}
    seen: dict[str, Counter[str]] = {}
    moments = random.Random(0)
    for number in range(options.times):
        how = list(SIGNALS)[number % len(SIGNALS)]
        resume = ["--resume"] if number % 10 < 5 else []
        before = _hidden(folder)
        child = _start(args + resume, log)
        ended = _ended(child, moments.uniform(0.02, 1.05) * whole, how)
        told = [line.split()[1] for line in log.read_text().splitlines() if line.endswith(" %")]
        counts = seen.setdefault(told[-1] if told else "start", Counter())
        counts[how.name] += 1
        counts["finished before"] += ended == 0
        counts["another exit code"] += ended not in (0, SIGNALS[how])
        counts["incomplete or wrong file"] += not _as_expected(folder, expected)
        if how != signal.SIGKILL and not resume:
            counts["left by TERM or INT"] += bool(_hidden(folder) - before)
        if number % 5 == 4:
            code, names = _ended(_start(args + resume, log)), {path.name for path in folder.iterdir()}
            counts["next run to the end"] += 1
            clean = code == 0 and names == set(OUTPUTS) and _as_expected(folder, expected)
            counts["next run not clean"] += not clean
            for path in folder.iterdir():
                path.unlink()
    columns = [*(how.name for how in SIGNALS), "finished before", "another exit code"]
    columns += [
        "incomplete or wrong file",
        "left by TERM or INT",
        "next run to the end",
        "next run not clean",
    ]
    for stage in ("start", "survey", "restore", "write"):
        if stage in seen:
            yield {"stage": stage, **{column: seen[stage][column] for column in columns}}


def _start(args: list[str], log: Path) -> int:
    """Start `cmcr ARGS` in a separate process that has loaded all libraries; its messages go to `log`."""
    child = os.fork()
    if child:
        return child
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    signal.alarm(SECONDS)
    code = 99
    try:
        cmcr(args)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        code = 98
    finally:
        os._exit(code)


def _ended(child: int, after: float | None = None, how: signal.Signals = signal.SIGKILL) -> int:
    """Wait for a process, signal it `after` some seconds; returns its exit code, or minus the signal."""
    if after is not None:
        time.sleep(after)
        os.kill(child, how)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _hidden(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name.startswith(".")}


def _as_expected(folder: Path, expected: dict[str, bytes]) -> bool:
    """Whether all files under final names are complete. STAC items have a date and are only parsed."""
    item = folder / "item.json"
    if item.exists():
        json.loads(item.read_text())
    return all(
        not (folder / name).exists() or (folder / name).read_bytes() == content
        for name, content in expected.items()
    )


# Fuzz


@dataclass(frozen=True)
class Target:
    """An input to damage, and the arguments of a run that reads it at `place`."""

    name: str
    content: bytes
    place: Path
    args: list[str]
    reads: Path  # opened as the Sentinel-2 scene


def fuzz(options: argparse.Namespace) -> Rows:
    chance = random.Random(0)
    for number, target in enumerate(_targets(options.work)):
        counts: Counter[str] = Counter()
        if (whole := _in_a_child(target, options.work / "fuzzed")) != "ended well":
            raise SystemExit(f"{target.name}, not damaged: {whole}")
        for index in range(options.times // 8 + (number < options.times % 8)):
            how, damaged = _damaged(target.content, chance)
            target.place.write_bytes(damaged)
            outcome = _in_a_child(target, options.work / "fuzzed")
            counts[outcome.partition(":")[0]] += 1
            if outcome.startswith("fault"):
                print(f"{target.name} {index} {how}: {outcome}", file=sys.stderr, flush=True)
                shutil.copy(target.place, options.work / f"fault-{target.name}-{index}".replace(" ", "-"))
        target.place.write_bytes(target.content)
        yield {
            "file": target.name,
            "cases": counts.total(),
            **{k: counts[k] for k in ("ended well", "refused", "fault")},
        }


def _targets(work: Path) -> Iterator[Target]:
    scene = simulate_scene(_fresh(work / "scene"), size=64, seed=3, cloud_cover=0.4)
    weights = tiny_weights(work / "tiny.safetensors")
    small = _fresh(work / "small")
    s2, s1, mask = (small / name for name in ("s2.tif", "s1.tif", "mask.tif"))
    rest = ["--mask", str(mask), "--weights", str(weights)]
    pair = [str(s2), str(s1), *rest]
    shutil.copy(scene.s2, s2)
    shutil.copy(scene.s1, s1)
    shutil.copy(scene.mask, mask)
    yield Target("S2 TIFF, ZSTD", s2.read_bytes(), s2, pair, s2)
    for name, more in (("deflate strips", {"compress": "deflate"}), ("plain tiles", {"tiled": True})):
        _rewrite(scene.s2, s2, blockxsize=64, blockysize=64, **{"tiled": False, **more})
        yield Target(f"S2 TIFF, {name}", s2.read_bytes(), s2, pair, s2)
    yield Target("S1 TIFF", s1.read_bytes(), s1, pair, s2)
    yield Target("mask TIFF", mask.read_bytes(), mask, pair, s2)
    yield Target("weights", weights.read_bytes(), weights, pair, s2)
    product = _product(small, scene.s2)
    image = next(product.rglob("*_B04.jp2"))
    yield Target("band JP2", image.read_bytes(), image, [str(product), str(s1), *rest], product)
    metadata = product / "MTD_MSIL1C.xml"
    yield Target("product XML", metadata.read_bytes(), metadata, [str(product), str(s1), *rest], product)


def _rewrite(source: Path, target: Path, **profile: Any) -> None:
    with rasterio.open(source) as file:
        kept = {
            name: file.profile[name]
            for name in ("crs", "transform", "width", "height", "count", "dtype", "nodata")
        }
        with rasterio.open(target, "w", driver="GTiff", **kept, **profile) as copy:
            copy.write(file.read())
            copy.descriptions = file.descriptions


def _product(folder: Path, stack: Path) -> Path:
    """A Level-1C product of one JPEG 2000 file per band."""
    product = folder / "S2A_MSIL1C_20240601T102031_N0510_R065_T31UFU_20240601T120000.SAFE"
    images = product / "GRANULE" / "G" / "IMG_DATA"
    images.mkdir(parents=True)
    with rasterio.open(stack) as file:
        for name, band in zip(BANDS, file.read(), strict=True):
            profile = {
                "width": file.width,
                "height": file.height,
                "crs": file.crs,
                "transform": file.transform,
            }
            with rasterio.open(
                images / f"T_{name}.jp2", "w", driver="JP2OpenJPEG", count=1, dtype=band.dtype, quality=100,
                reversible=True, **profile,
            ) as image:  # fmt: skip
                image.write(band, 1)
    named = "".join(f"<IMAGE_FILE>GRANULE/G/IMG_DATA/T_{name}</IMAGE_FILE>" for name in BANDS)
    offsets = "".join(f'<RADIO_ADD_OFFSET band_id="{n}">0</RADIO_ADD_OFFSET>' for n in range(13))
    (product / "MTD_MSIL1C.xml").write_text(
        f'<Product><Granule granuleIdentifier="G">{named}</Granule><Special_Values><SPECIAL_VALUE_TEXT>NODATA'
        "</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>"
        f"<QUANTIFICATION_VALUE>10000</QUANTIFICATION_VALUE>{offsets}</Product>"
    )
    return product


def _damaged(content: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Damage `content` in one way. Half of it is in the first or last kB: headers are short."""
    data = bytearray(content)
    how = chance.choice(("cut", "flip", "flip", "flip", "zero", "exchange"))
    if how == "cut":
        return how, bytes(data[: chance.randrange(len(data))])
    for _ in range(chance.choice((1, 1, 4, 32)) if how == "flip" else 1):
        edge = chance.choice((min(1024, len(data)), len(data)))
        place = chance.randrange(edge) if chance.random() < 0.8 else len(data) - 1 - chance.randrange(edge)
        if how == "flip":
            data[place] ^= 1 << chance.randrange(8)
        else:
            size = chance.choice((4, 64, 1024))
            other = chance.randrange(len(data))
            fresh = bytes(size) if how == "zero" else bytes(data[other : other + size])
            data[place : place + len(fresh)] = fresh
    return how, bytes(data[: len(content)])


def _in_a_child(target: Target, folder: Path) -> str:
    """Outcome of a run in a separate process, which may crash."""
    _fresh(folder)
    out, log = folder / "out", folder / "log"
    out.mkdir()
    code = _ended(_start(["remove", *target.args, "-o", str(out / "clear.tif"), "--quiet"], log))
    said = log.read_text(errors="replace").strip().splitlines()
    left = [path.name for path in out.iterdir()]
    if code == 0:
        wrong = _nonsense(target.reads, out / "clear.tif") if left == ["clear.tif"] else f"left {left}"
        return f"fault: {wrong}" if wrong else "ended well"
    told = [line for line in said if line.startswith("cmcr: error: ")]
    if code in (1, 3, 4) and len(told) == 1 and not left and "Traceback" not in "".join(said):
        return "refused"
    return f"fault: exit {code}, {said[-3:]}, left {left}"


def _nonsense(source: Path, output: Path) -> str:
    """Compare an output with its (damaged) input; returns the fault, or an empty string."""
    with rasterio.open(output) as after:
        if not source.is_dir():
            with rasterio.open(source) as before:
                if (before.shape, before.crs, before.transform) != (after.shape, after.crs, after.transform):
                    return "another grid"
        pixels = after.read()
    return "" if pixels.any() else "nothing in it"


# Soak


def soak(options: argparse.Namespace) -> Rows:
    weights = tiny_weights(options.work / "tiny.safetensors")
    model = load_model(weights, "cpu")
    output = _fresh(options.work / "soaked") / "clear.tif"
    for number in range(1, options.times + 1):
        scene = simulate_scene(_fresh(options.work / "scene"), size=256, seed=number, cloud_cover=0.4)
        chosen = RemoveOptions(
            s2=str(scene.s2), s1=str(scene.s1), mask=str(scene.mask), output=output, steps=2, overwrite=True,
            provenance=output.with_name("which.tif"), quicklook=output.with_name("look.png"),
            report=output.with_name("look.html"),
        )  # fmt: skip
        remove(chosen, model=model)
        if number in {1, 2, 5} or number % 10 == 0:
            yield {
                "scenes": number,
                "resident MB": int(Path("/proc/self/statm").read_text().split()[1])
                * os.sysconf("SC_PAGE_SIZE")
                / 2**20,
                "descriptors": len(list(Path("/proc/self/fd").iterdir())),
                "threads": len(list(Path("/proc/self/task").iterdir())),
            }


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


TABLES: dict[str, tuple[Callable[[argparse.Namespace], Rows], str, int]] = {
    "kills": (kills, "Runs stopped at random moments", 100),
    "fuzz": (fuzz, "Damaged inputs", 1000),
    "soak": (soak, "Many scenes in one process", 50),
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--times", type=int)
    options = parser.parse_args()
    table, title, times = TABLES[options.table]
    options.times = options.times or times
    options.work.mkdir(parents=True, exist_ok=True)
    rows = list(table(options))
    write_table(options.results, f"faults-{options.table}", f"{title}, {options.times}", rows)


if __name__ == "__main__":
    main()
