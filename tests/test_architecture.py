"""Which folder may import which, and how large files, functions and folders may grow."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
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

Documented = ast.FunctionDef | ast.AsyncFunctionDef

MODULES_PER_FOLDER, LINES_PER_FILE, LINES_PER_FUNCTION = 12, 400, 60
WITH_DOCSTRINGS = 450
"""Lines of a file with its docstrings, which `LINES_PER_FILE` does not count: they shall be complete."""


@cache
def modules() -> dict[str, Path]:
    """Files by the names of their modules within the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def parsed(module: str) -> ast.Module:
    """The syntax tree of a module."""
    return tree_of(modules()[module])


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
    [*((place, "torch") for place in ("scene", "ground", "output", "simulate")), ("model", "rasterio")],
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
        for node in ast.walk(tree_of(path))
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


def test_no_class_has_the_name_of_another() -> None:
    names = Counter(
        node.name
        for module in modules()
        for node in parsed(module).body
        if isinstance(node, ast.ClassDef) and _public(node)
    )
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
        lines = len(path.read_text(encoding="utf-8").splitlines())
        told = sum(_docstring_lines(node) for node in ast.walk(parsed(module)))
        if lines > WITH_DOCSTRINGS or lines - told > LINES_PER_FILE:
            long.append(module)
        for node in ast.walk(parsed(module)):
            if isinstance(node, Documented):
                first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
                lines = (node.end_lineno or 0) - first.lineno + 1
                long += [f"{module}.{node.name}"] if lines > LINES_PER_FUNCTION else []
    assert long == []


def _docstring_lines(node: ast.AST) -> int:
    if isinstance(node, ast.Module | ast.ClassDef | Documented) and ast.get_docstring(node):
        return (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
    return 0


@pytest.mark.parametrize("folder", ["benchmarks", "examples", "release", "tests"])
def test_other_files_stay_short_too(folder: str) -> None:
    lines = {
        path.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in (PACKAGE.parent / folder).rglob("*.py")
    }
    assert lines and {name: count for name, count in lines.items() if count > LINES_PER_FILE} == {}


@pytest.mark.parametrize("place", [place for place in IMPORTS if place != "cli.commands"])
def test_public_names_are_described_in_full(place: str) -> None:
    """The docstrings of commands are their help texts; their arguments have help texts of their own."""
    missing = {}
    for module in modules():
        for node in parsed(module).body if folder(module) == place else []:
            if isinstance(node, Documented) and _public(node):
                missing[f"{module}.{node.name}"] = _undescribed(node)
            elif isinstance(node, ast.ClassDef) and _public(node):
                above = list(_above(node, module))
                inherited = {name for each in above for name in _fields(each)}
                inherited |= {method.name for each in above for method in _methods(each)}
                missing[f"{module}.{node.name}"] = _undescribed_fields(node, inherited)
                for method in _methods(node):
                    if _public(method) and method.name not in inherited:
                        missing[f"{module}.{node.name}.{method.name}"] = _undescribed(method, 1)
    assert {name: what for name, what in missing.items() if what} == {}


def _public(node: ast.ClassDef | Documented) -> bool:
    return not node.name.startswith("_")


def _methods(node: ast.ClassDef) -> list[Documented]:
    return [each for each in node.body if isinstance(each, Documented)]


def _above(owner: ast.ClassDef, module: str) -> Iterator[ast.ClassDef]:
    """Classes of this module, and of those that it imports, from which a class inherits."""
    bases = {ast.unparse(base) for base in owner.bases}
    for other in (module, *imported(module)) if bases else ():
        for node in parsed(other).body:
            if isinstance(node, ast.ClassDef) and node.name in bases:
                yield node
                yield from _above(node, other)


def _fields(node: ast.ClassDef) -> list[str]:
    """Fields of a class that have no text of their own, be it the help of an option or a docstring."""
    return [
        each.target.id
        for each, after in zip(node.body, (*node.body[1:], None), strict=True)
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        if not (
            each.target.id.startswith("_") or "Option(" in ast.unparse(each) or isinstance(after, ast.Expr)
        )
    ]


def _section(node: ast.ClassDef | Documented, *names: str) -> str:
    """The text of the first of these sections that a docstring has."""
    for name in names:
        _, found, rest = (ast.get_docstring(node) or "").partition(f"\n{name}:\n")
        if found:
            return rest.partition("\n\n")[0]
    return ""


def _not_in(names: list[str], section: str) -> list[str]:
    entries = [line.partition(":")[0] for line in section.splitlines() if line[:4] == " " * 4 != line[4:8]]
    described = {name.strip(" *") for entry in entries for name in entry.split(",")}
    return [name for name in names if name not in described]


def _undescribed(node: Documented, skipped: int = 0) -> list[str]:
    """Arguments and sections that the docstring of a function lacks; `skipped`: arguments such as self."""
    how = {ast.unparse(each) for each in node.decorator_list}
    if how & {"property", "cached_property"} or any(each.endswith(".setter") for each in how):
        return []
    missing = _not_in(_arguments(node)[0 if "staticmethod" in how else skipped :], _section(node, "Args"))
    returned = ast.unparse(node.returns) if node.returns else "None"
    if returned not in ("None", "Never") and not _section(node, "Returns", "Yields"):
        missing.append("Returns")
    return missing + (["Raises"] if _raises(node.body) and not _section(node, "Raises") else [])


def _arguments(node: Documented) -> list[str]:
    given = node.args
    return [
        each.arg
        for each in (*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg)
        if each
    ]


def _raises(body: Sequence[ast.AST]) -> bool:
    """Whether statements raise something new, not counting functions within."""
    return any(
        (isinstance(node, ast.Raise) and node.exc is not None)
        or (not isinstance(node, Documented | ast.ClassDef) and _raises(list(ast.iter_child_nodes(node))))
        for node in body
    )


def _undescribed_fields(node: ast.ClassDef, inherited: set[str]) -> list[str]:
    """Fields, and arguments of the constructor, that the docstring of a class lacks."""
    fields = [name for name in _fields(node) if name not in inherited]
    missing = _not_in(fields, _section(node, "Attributes"))
    for method in _methods(node):
        if method.name == "__init__":
            described = _section(node, "Args") or _section(method, "Args")
            missing += _not_in(_arguments(method)[1:], described)
    return missing


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
    assert missing == set()


def test_the_page_on_architecture_shows_remove_as_it_is() -> None:
    """Its calls are those of the code, in their order; the code also reports times and progress."""
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    shown = re.findall(r"(\w+)\(", page.partition("progress and times, it is:\n\n")[2].partition("\n\n")[0])
    (body,) = (node for node in parsed("removal.pipeline").body if getattr(node, "name", "") == "remove")
    code = [name for name in re.findall(r"(\w+)\(", ast.unparse(body)) if name in shown]
    assert len(shown) >= 10 and shown == code
