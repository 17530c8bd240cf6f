"""Mutation testing: small changes to the code, one at a time; some test should fail for each.

    python benchmarks/mutants.py [--times 80] [--seed 0]

Mutants are drawn at random from the modules of scene/, ground/, output/, runtime/ and removal/: a comparison
or an arithmetic operator is exchanged, a condition negated, a number changed, or a returned value replaced by
None. Each mutant is applied to a copy of the checkout, and the tests of its module run there until one fails.
Mutants that no test detects are listed with their lines: either a test is missing, or the change does not
matter.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from common import arguments, write_table

import cmcr_cli.cli.main
import cmcr_cli.removal  # noqa: F401 (loads libraries once for all mutants)

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 600
"""Seconds after which a mutant hangs and counts as detected."""

FOLDERS = ("scene", "ground", "output", "runtime", "removal")

WHOLE = ("first_pass", "many_scenes", "mask_sources", "pipeline", "schedule", "sidecars")
"""Modules whose own tests take minutes."""

NET = (
    ("test_pipeline.py", "test_output_is_a_valid_cog_on_the_input_grid_with_clear_pixels_untouched"),
    ("test_pipeline.py", "test_nodata_stays_and_is_never_made"),
    ("survey/test_first_pass.py", "test_shares_count_valid_pixels_only"),
)

EXCHANGED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip


def mutant(source: str, chance: random.Random) -> tuple[int, str, str]:
    """A mutant of a module: line, description of the change, and new source."""
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    chance.shuffle(nodes)
    for node in nodes:
        if what := _change(node):
            return getattr(node, "lineno", 0), what, ast.unparse(tree)
    return 0, "nothing to change", source


def _change(node: ast.AST) -> str:
    """Change a node in place; returns a description, empty if there is nothing to change."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in EXCHANGED:
        compared = type(node.ops[0])
        node.ops[0] = EXCHANGED[compared]()  # type: ignore[call-overload]
        return f"{compared.__name__} to {type(node.ops[0]).__name__}"
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in EXCHANGED:
        before = type(node.op)
        node.op = EXCHANGED[before]()  # type: ignore[assignment]
        return f"{before.__name__} to {type(node.op).__name__}"
    if isinstance(node, ast.If | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)
        return "condition negated"
    if (
        isinstance(node, ast.Constant)
        and isinstance(number := node.value, int | float)
        and type(number) is not bool
    ):
        node.value = number + 1
        return f"{number:g} to {number + 1:g}"
    if isinstance(node, ast.Return) and node.value is not None:
        node.value = ast.Constant(None)
        return "returns None"
    return ""


def tests_of(module: Path, package: Path, tests: Path) -> list[str]:
    """Test file of the module, or the tests of whole runs if it has none."""
    own = tests / module.parent.relative_to(package) / f"test_{module.stem}.py"
    if own.exists() and module.stem not in WHOLE:
        return [str(own)]
    return [f"{tests / 'removal' / file}::{test}" for file, test in NET]


def _fails(place: Path, tests: list[str]) -> bool:
    """Whether any test fails or hangs, in a process that has already loaded all other libraries."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
    signal.alarm(SECONDS)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    for name in [name for name in sys.modules if name.partition(".")[0] == "cmcr_cli"]:
        del sys.modules[name]
    sys.path.insert(0, str(place))
    sys.dont_write_bytecode = True
    os.chdir(place)
    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))


def run(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    shutil.rmtree(options.work / "mutated", ignore_errors=True)
    place = options.work.resolve() / "mutated"
    for name in ("cmcr_cli", "tests", "weights", "examples"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", place)
    chance = random.Random(options.seed)
    package = place / "cmcr_cli"
    modules = sorted(path for name in FOLDERS for path in (package / name).rglob("[a-z]*.py"))
    drawn = []
    for _ in range(options.times):
        path = modules[chance.randrange(len(modules))]
        drawn.append((path, *mutant(path.read_text(), chance)))
    counts = {name: [0, 0] for name in FOLDERS}
    for path, line, what, text in drawn:
        where = f"{path.relative_to(package).as_posix()}:{line}"
        print(where, file=sys.stderr, flush=True)
        before = path.read_text()
        path.write_text(text)
        noticed = _fails(place, tests_of(path, package, place / "tests"))
        path.write_text(before)
        counts[path.relative_to(package).parts[0]][noticed] += 1
        if not noticed:
            shown = before.splitlines()[line - 1].strip()
            print(f"survived: {where} {what}: {shown}", file=sys.stderr, flush=True)
    for name, (survived, found) in counts.items():
        yield {"folder": name, "mutants": survived + found, "noticed": found, "survived": survived}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--times", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = list(run(options))
    write_table(options.results, "mutants", f"Mutants of {', '.join(FOLDERS)}: {options.times}", rows)


if __name__ == "__main__":
    main()
