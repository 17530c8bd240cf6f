"""Which folder may import which, and how large files, functions and folders may grow."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "cmcr_cli"

LIGHT = "addresses errors version warning_kinds"
SCENE = f"{LIGHT} scene scene.backscatter scene.layers scene.masks scene.pixels scene.references"
OPTIONS = "options option_fields option_paths option_rules option_texts option_types"
REMOVAL = f"{SCENE} {OPTIONS} ground output output.catalogue model runtime"
PASSES = f"{REMOVAL} removal.survey removal.opening"
TRAINING = f"{SCENE} ground model output runtime simulate training"
IMPORTS = {
    "addresses": "",
    "errors": "addresses",
    "version": "",
    "warning_kinds": "addresses",
    "option_fields": "addresses errors option_paths",
    "option_paths": "addresses errors",
    "option_rules": f"{SCENE} option_fields option_paths option_texts option_types",
    "option_texts": SCENE,
    "option_types": "errors",
    "options": f"{SCENE} {OPTIONS}",
    "scene": f"{LIGHT} scene.backscatter scene.layers scene.pixels scene.products scene.references",
    "scene.backscatter": f"{LIGHT} scene scene.pixels",
    "scene.layers": f"{LIGHT} scene scene.pixels",
    "scene.masks": f"{LIGHT} scene",
    "scene.pixels": f"{LIGHT} scene",
    "scene.products": f"{LIGHT} scene scene.layers scene.pixels",
    "scene.references": f"{LIGHT} scene scene.layers scene.masks scene.pixels scene.products",
    "ground": SCENE,
    "output": f"{SCENE} output.catalogue output.parts",
    "output.catalogue": f"{SCENE} output",
    "output.parts": LIGHT,
    "model": LIGHT,
    "runtime": f"{LIGHT} model output",
    "removal": f"{PASSES} removal.restore removal.results",
    "removal.survey": REMOVAL,
    "removal.opening": f"{REMOVAL} removal.survey",
    "removal.restore": PASSES,
    "removal.results": f"{PASSES} output.parts removal.restore",
    "arrays": f"{SCENE} {OPTIONS} output removal removal.opening",
    "simulate": f"{SCENE} output",
    "training": f"{TRAINING} training.data training.samples",
    "training.data": f"{SCENE} ground simulate training",
    "training.samples": f"{TRAINING} training.data",
    "training.tasks": f"{TRAINING} training.data training.samples",
    "evaluation": f"{TRAINING} training.data training.samples removal.survey removal.restore",
    "cli": f"{SCENE} {OPTIONS} cli.commands",
    "cli.commands": f"{TRAINING} {OPTIONS} training.data training.tasks removal evaluation cli",
    "__init__": f"{LIGHT} arrays removal",
    "__main__": "cli",
}
"""What each folder, and each module beside the folders, may import besides modules of its own folder."""

UNTESTED = {
    "__main__": "starts the command; tests/faults starts it in processes of their own",
    "cli.commands.distill": "one call of what test_train.py tests, as it does for this command too",
    "errors": "types; what raises them tests their messages",
    "output.plausibility": "tested by what it finds, in output/test_validation.py",
    "removal.opening.inspection": "tested by what it shows, in cli/commands/test_info.py",
    **{
        f"scene.layers.{name}": "tested on files of that kind, in test_inputs_as_they_come.py"
        for name in ("stack_layers",)
    },
    **{
        f"scene.pixels.{name}": "tested on files of that kind, in test_validity.py"
        for name in ("masks_of_files", "virtual")
    },
    "scene.raster": "tested through what reads with it: test_lines.py, test_remote.py, test_placed.py",
    "version": "one constant",
}
"""Modules without a file of tests of their own, and why."""

MODULES_PER_FOLDER, LINES_PER_FILE, LINES_PER_FUNCTION = 12, 400, 60


@cache
def modules() -> dict[str, Path]:
    """Files by the names of their modules within the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)] = path
    return found


@cache
def parsed(module: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


@cache
def imported(module: str) -> frozenset[str]:
    """Modules of the package that a module imports anywhere, also inside functions and for types only."""
    found = set()
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}".removeprefix("cmcr_cli.")
                found.add(whole if whole in modules() else node.module.removeprefix("cmcr_cli."))
        elif isinstance(node, ast.Import):
            found.update(alias.name.removeprefix("cmcr_cli.") for alias in node.names)
    return frozenset(found & modules().keys())


def folder(module: str) -> str:
    """The folder of a module; those beside the folders stand for themselves."""
    path = modules()[module]
    return module if path.name == "__init__.py" else module.rpartition(".")[0] or module


def test_every_folder_is_known() -> None:
    assert {folder(module) for module in modules()} == IMPORTS.keys()


@pytest.mark.parametrize("place", IMPORTS)
def test_imports_run_one_way(place: str) -> None:
    allowed = {place, *IMPORTS[place].split()}
    wrong = {
        f"{module} imports {other}"
        for module in modules()
        if folder(module) == place
        for other in imported(module)
        if folder(other) not in allowed
    }
    assert not wrong


def test_no_modules_import_each_other() -> None:
    reached: dict[str, set[str]] = {}
    for module in modules():
        todo, seen = list(imported(module)), set[str]()
        while todo:
            other = todo.pop()
            if other not in seen:
                seen.add(other)
                todo += imported(other)
        reached[module] = seen
    circles = {
        frozenset(m for m in seen if name in reached[m]) for name, seen in reached.items() if name in seen
    }
    assert [sorted(circle) for circle in circles] == []


@pytest.mark.parametrize(
    ("place", "library"),
    [("scene", "torch"), ("ground", "torch"), ("output", "torch"), ("model", "rasterio")],
)
def test_some_folders_do_without_a_library(place: str, library: str) -> None:
    for module in modules():
        if module.split(".")[0] == place:
            for node in ast.walk(parsed(module)):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert library not in {name.split(".")[0] for name in names}, module


@pytest.mark.parametrize("folder", ["benchmarks", "cmcr_cli", "examples", "release", "tests"])
def test_private_modules_of_libraries_are_left_alone(folder: str) -> None:
    """Except `_thread` of the standard library, which is documented, and types."""
    wrong = {
        f"{path.name}: {name}"
        for path in (PACKAGE.parent / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in _names_of(node)
        if any(part.startswith("_") and not part.startswith("__") for part in name.split("."))
    }
    assert not wrong


def _names_of(node: ast.AST) -> list[str]:
    """Modules that a statement imports, and what it takes from libraries."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module not in (None, "_thread", "_typeshed"):
        ours = str(node.module).split(".")[0] in ("cmcr_cli", "tests")
        return [str(node.module)] if ours else [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def test_options_are_read_without_torch() -> None:
    todo, seen = ["options"], set[str]()
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo += imported(module)
    assert {module.split(".")[0] for module in seen} <= {*OPTIONS.split(), "addresses", "errors", "scene"}


def test_no_name_is_used_twice() -> None:
    names = Counter(path.stem for path in modules().values() if path.stem != "__init__")
    assert [name for name, times in names.items() if times > 1] == []


def test_folders_stay_small_and_say_what_they_hold() -> None:
    held = Counter(folder(module) for module, path in modules().items() if path.stem != "__init__")
    assert {place: number for place, number in held.items() if number > MODULES_PER_FOLDER} == {}
    for module, path in modules().items():
        assert path.stem != "__init__" or ast.get_docstring(parsed(module)), path


def test_files_and_functions_stay_short() -> None:
    """Of a function its statements count: some signatures are long, and so are docstrings."""
    long = []
    for module, path in modules().items():
        if len(path.read_text(encoding="utf-8").splitlines()) > LINES_PER_FILE:
            long.append(module)
        for node in ast.walk(parsed(module)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
                lines = (node.end_lineno or 0) - first.lineno + 1
                long += [f"{module}.{node.name}"] if lines > LINES_PER_FUNCTION else []
    assert long == []


@pytest.mark.parametrize("folder", ["benchmarks", "examples", "release", "tests"])
def test_other_files_stay_short_too(folder: str) -> None:
    lines = {
        path.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in (PACKAGE.parent / folder).rglob("*.py")
    }
    assert lines and {name: count for name, count in lines.items() if count > LINES_PER_FILE} == {}


def test_tests_mirror_the_package() -> None:
    """A file of tests lies where its module lies; tests of whole runs have names of their own."""
    tests = PACKAGE.parent / "tests"
    places = {path.stem: path.parent.relative_to(PACKAGE) for path in modules().values()}
    for path in tests.rglob("test_*.py"):
        name = path.stem.removeprefix("test_")
        if name in places and "faults" not in path.parts:
            assert path.parent.relative_to(tests) == places[name], path


def test_every_module_has_its_tests() -> None:
    tests = PACKAGE.parent / "tests"
    missing = {
        module
        for module, path in modules().items()
        if path.stem != "__init__"
        and not (tests / path.relative_to(PACKAGE).parent / f"test_{path.name}").is_file()
    }
    assert missing == UNTESTED.keys()
