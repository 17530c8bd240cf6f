"""What the code never does, read from the code itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import cmcr_cli

FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "subprocess", "requests", "urllib3"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "extractall", "mktemp"}


def trees() -> Iterator[tuple[Path, ast.AST]]:
    for path in Path(cmcr_cli.__file__).parent.rglob("*.py"):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def test_no_module_that_runs_what_it_reads() -> None:
    found = []
    for path, tree in trees():
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [(path.name, name) for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
    assert not found


def test_no_call_that_runs_text_or_a_shell() -> None:
    found = []
    for path, tree in trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            # re.compile and torch.compile are other things.
            plain = node.func.id if isinstance(node.func, ast.Name) else ""
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if plain in FORBIDDEN_CALLS or method in FORBIDDEN_CALLS - {"compile", "eval"}:
                found.append((path.name, plain or method, node.lineno))
            named = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if named.get("shell") == "True" or named.get("allow_pickle") == "True":
                found.append((path.name, "shell or pickle", node.lineno))
            reads = ast.unparse(node.func)
            if reads == "torch.load" and named.get("weights_only") != "True":
                found.append((path.name, reads, node.lineno))
            if reads == "np.load" and named.get("allow_pickle") != "False":
                found.append((path.name, reads, node.lineno))
    assert not found


def test_xml_is_parsed_by_defusedxml_alone() -> None:
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("xml.etree"):
                assert {alias.name for alias in node.names} <= {"Element", "ParseError"}, path
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith(("xml.", "lxml")) for alias in node.names), path
