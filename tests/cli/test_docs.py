"""README, CONTRIBUTING and docs: blocks of shell and Python run as printed, links lead somewhere."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import typer
from numpy.typing import NDArray

from cmcr_cli.cli.main import app
from cmcr_cli.simulate import simulate_scene
from cmcr_cli.version import __version__

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = ["release/README.md", "weights/CHANGELOG.md", "weights/README.md", "weights/making.md"]
"""Pages without blocks."""

NOT_RUN = {
    "README.md": ["installs packages", "install packages, and run this test again"],
    "CONTRIBUTING.md": ["installs packages, and runs this test again"],
    "docs/how.md": ["needs odc-stac", "needs stackstac"],
    "docs/index.md": ["installs packages"],
    "docs/many-scenes.md": ["needs a cluster", "needs SLURM"],
    "docs/products.md": ["reads from a bucket"],
    "docs/python.md": ["needs a catalogue"],
    "docs/sentinel-1.md": [
        *["reads from the Planetary Computer"] * 2,
        *["needs an account of the Copernicus Data Space"] * 2,
        *["needs an Earthdata login"] * 2,
        "needs a Sentinel-1 product",
        "needs SNAP and a Sentinel-1 product",
    ],
    "docs/training.md": ["takes minutes", "takes hours", "needs several GPUs", "takes hours"],
}
"""Reasons why blocks are only parsed, page by page."""

FENCED = re.compile(r"(?:<!-- not run: ([^>]+) -->\n)?^```(.*)\n((?:.*\n)*?)^```$", re.M)

PLAIN = re.compile(r"cmcr [^$*?|&;<>()`#]+")
"""A call in which the shell does nothing but part words."""

PLACE = {"crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 600_900, 0, -10, 5_901_840)}
"""Of all inputs; that of the made product, where 128 pixels lie in one patch."""

WRITES = ("-o", "--provenance", "--quicklook", "--report", "--uncertainty")


@dataclass(frozen=True)
class Block:
    """A fenced block; `reason` says why it is not run."""

    language: str
    text: str
    reason: str | None

    @property
    def lines(self) -> list[str]:
        """Lines of a block of shell; those that go on are one."""
        return self.text.replace("\\\n", " ").splitlines() if self.language == "sh" else []

    @property
    def calls(self) -> Iterator[list[str]]:
        """The words of every call of cmcr, without redirections."""
        for line in self.lines:
            lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>")
            lexer.whitespace_split = True
            words = list(lexer)
            for start, word in enumerate(words, 1):
                if word in ("cmcr", "cmcr_cli"):
                    yield list(itertools.takewhile(lambda word: word[0] not in "|;&<>", words[start:]))


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page; the comment `<!-- not run: reason -->` may stand on the line before."""
    found = FENCED.findall(page.read_text())
    return [Block(language, text, reason or None) for reason, language, text in found]


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_blocks_are_fenced_and_few_are_not_run(page: Path) -> None:
    blocks = blocks_of(page)
    assert {block.language for block in blocks} <= {"sh", "python", "csv"}
    rest = FENCED.sub("", page.read_text())
    assert "```" not in rest and "not run" not in rest
    assert not re.search(r"^( {4}|\t)\s*(cmcr|make|pip|python|bash) ", rest, re.M)
    assert [block.reason for block in blocks if block.reason] == NOT_RUN.get(_name(page), [])


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_and_options_exist(page: Path) -> None:
    """Also those of blocks that are not run."""
    for block in blocks_of(page):
        for words in block.calls:
            parse(words)


@pytest.mark.parametrize("page", [*PAGES, *(ROOT / name for name in OTHERS)], ids=_name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if heading and target.name != "cli.md":  # whose headings are those of the commands
            titles = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
            assert heading in {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in titles}


def test_named_tests_exist() -> None:
    """Links to a file of tests, with the name of a test as title."""
    text = (ROOT / "docs/beside.md").read_text()
    named = re.findall(r'\]\(\.\./(tests/[\w/]+\.py) "(\w+)"\)', text)
    assert len(named) == text.count("](../tests/") > 20
    for path, name in named:
        assert f"\ndef {name}(" in (ROOT / path).read_text(), (path, name)


def test_pictures_are_small_and_credited() -> None:
    sizes = [path.stat().st_size for path in (ROOT / "docs/gallery").iterdir()]
    assert len(sizes) > 3 and max(sizes) <= 150_000 and sum(sizes) <= 600_000
    assert "modified Copernicus Sentinel data" in (ROOT / "docs/gallery.md").read_text()


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_named_files_and_folders_exist(page: str) -> None:
    """Relative to the repository, the package or the folder of removals; NAME stands for any name."""
    named = re.findall(r"`((?:[a-z_]+/)*[a-zA-Z_]+\.(?:py|md)|(?:[a-z_]+/)+)`", (ROOT / page).read_text())
    places = [ROOT, ROOT / "cmcr_cli", ROOT / "cmcr_cli/removal", ROOT / "tests"]
    assert named
    for path in named:
        assert "NAME" in path or any((place / path).exists() for place in places), path


def test_the_version_is_that_of_the_code() -> None:
    """What is not released has the next version with .dev0; the citation names the last release."""
    citation = (ROOT / "CITATION.cff").read_text()
    changelog = (ROOT / "CHANGELOG.md").read_text()
    released = re.search(r"^## \[(\d[\d.]*)\] - (\S+)$", changelog, re.M)
    assert released is not None
    assert f"\nversion: {released[1]}\n" in citation and f"\ndate-released: {released[2]}\n" in citation
    news = re.search(r"^## \[Unreleased\]\n(.*?)(?=^## )", changelog, re.M | re.S)
    if news is None or not news[1].strip():
        assert __version__ == released[1]
    else:
        number, dev = __version__.split(".dev")
        assert dev == "0" and _numbers(number) > _numbers(released[1])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def parse(words: list[str]) -> None:
    """Parse a call of cmcr as the command line does, without running it; raises typer's usage errors."""
    command: Any = typer.main.get_command(app)
    name = "cmcr"
    while hasattr(command, "commands"):
        name, *words = words
        assert name in command.commands, name
        command = command.commands[name]
    command.make_context(name, words)


@pytest.mark.parametrize("words", ["remove s2.tif -o c.tif --stepz 4", "remov s2.tif", "remove -o c.tif"])
def test_the_parser_finds_mistakes(words: str) -> None:
    with pytest.raises(Exception, match=r"stepz|remov|s2"):
        parse(shlex.split(words))


@pytest.fixture(scope="module")
def made(
    make_product: Callable[..., Any],
    built_sen12mscr: Callable[[int], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder that holds, small, what the pages name."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "products").mkdir()
    scene = simulate_scene(tmp_path_factory.mktemp("scene"), size=120, seed=3, cloud_cover=0.4)
    with rasterio.open(scene.s1) as file:
        db, radar = file.read(), file.profile
    with rasterio.open(scene.s2) as file:
        dn, stack = file.read(), file.profile
    for name in ("s2.tif", "stack.tif"):
        _write(folder / name, stack, dn)
    _write(folder / "raw.tif", stack, np.where(dn == 0, 0, dn + 1000))
    _write(folder / "s1.tif", radar, db)
    classes = np.arange(120)[:, None] // 30 + np.zeros((1, 1, 120))
    _write(folder / "classes.tif", {**radar, "dtype": "uint8", "nodata": None}, classes)
    for name, band in zip(("VV.tif", "VH.tif"), 10 ** (db / 10), strict=True):
        _write(folder / name, radar, band[None])
    x, y = 601_200, 5_901_440
    ring = [[x, y], [x + 500, y], [x + 200, y - 600], [x, y]]
    crs = {"type": "name", "properties": {"name": PLACE["crs"]}}
    field = {"type": "Polygon", "coordinates": [ring], "crs": crs}
    (folder / "field.geojson").write_text(json.dumps(field))
    (folder / "scenes.csv").write_text("s2,s1\ns2.tif,s1.tif\nraw.tif,s1.tif\n")
    product = make_product(size=120).zipped
    for name in ("S2B_MSIL2A_20240601T102031", "product", "monday", "friday", "products/S2A_one"):
        shutil.copy(product, folder / f"{name}.SAFE.zip")
    shutil.copytree(built_sen12mscr(10), folder / "SEN12MS-CR")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


@pytest.fixture
def inputs(made: Path, tmp_path: Path) -> Path:
    """A copy of that folder, to be worked in."""
    return shutil.copytree(made, tmp_path / "here", symlinks=True)


def _write(path: Path, profile: Any, pixels: NDArray[Any]) -> None:
    with rasterio.open(path, "w", **{**profile, **PLACE, "count": len(pixels)}) as file:
        file.write(pixels.astype(profile["dtype"]))


RUN = [
    page for page in PAGES if any(not block.reason and block.language != "csv" for block in blocks_of(page))
]


@pytest.mark.parametrize("page", RUN, ids=_name)
def test_blocks_run(
    page: Path, inputs: Path, cmcr: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order, in one folder. Plain calls of cmcr run in this process, for its libraries load slowly."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for name, value in {"PATH": path, "OMP_NUM_THREADS": "1", "CMCR_DEVICE": "cpu"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(inputs)
    before, made = set(inputs.iterdir()), set()
    for block in blocks_of(page):
        if block.reason:
            continue
        if block.language == "python":
            exec(compile(block.text, _name(page), "exec"), {})
        for line in block.lines:
            if PLAIN.fullmatch(line):
                ended = cmcr(*shlex.split(line)[1:])
                assert ended.code == 0, (line, ended.err)
            elif shutil.which("cmcr", path=path) is None:
                pytest.skip("the command cmcr is not on the path of this environment")
            else:
                bash = ["bash", "-euo", "pipefail", "-c", line]
                shell = subprocess.run(bash, capture_output=True, text=True)
                assert shell.returncode == 0, (line, shell.stderr[-2000:])
        for words in block.calls:
            if words[0] != "validate" and "--dry-run" not in words:
                pairs = itertools.pairwise(words)
                made |= {value for option, value in pairs if option in WRITES and value[0] != "-"}
    for file in made:
        assert (inputs / file).exists() and inputs / file not in before, file
