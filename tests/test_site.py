"""The site that `make docs` builds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from cmcr_cli.cli.main import app
from cmcr_cli.option_fields import option_fields
from cmcr_cli.options import RemoveOptions

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="MkDocs is not installed (make docs installs it)")
    folder = tmp_path_factory.mktemp("site")
    ended = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT, text=True, capture_output=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    return folder


def test_site_asks_for_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 9
    for page in pages:
        for tag in re.findall(r"<(?:link|script|img|iframe|source|video)\b[^>]*>", page.read_text()):
            assert not re.search(r"""=["']?(https?:)?//""", tag), (page.name, tag)
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", style.read_text()), style.name


def test_search_works_in_a_folder(site: Path) -> None:
    """Of pages that are not served: the index is a script, and a script of our own stands in for workers."""
    index = json.loads((site / "search/search_index.js").read_text().removeprefix("var __index = "))
    assert {"cli.html", "gallery.html"} <= {each["location"] for each in index["docs"]}
    for page in site.rglob("*.html"):
        (shim,) = re.findall(r'<script src="([^"]*iframe-worker[^"]*)"', page.read_text())
        assert page.name == "404.html" or (page.parent / shim).is_file(), page


def test_commands_are_whole_lines_without_control_characters(site: Path) -> None:
    cli = (site / "cli.html").read_text()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", cli)
    command: Any = typer.main.get_command(app)
    for name, sub in command.commands.items():
        for each in getattr(sub, "commands", {name: sub}).values():
            assert f": {' '.join(each.help.split(chr(10) * 2)[0].split())}<" in cli, name


def test_site_has_every_option_and_the_python_interface(site: Path) -> None:
    cli, python = (site / "cli.html").read_text(), (site / "python.html").read_text()
    command: Any = typer.main.get_command(app)
    for name, sub in command.commands.items():
        for each in getattr(sub, "commands", {"": sub}).values():
            for parameter in each.params:
                assert parameter.opts[-1] in cli, (name, parameter.opts)
    assert cli.count("<strong>Examples</strong>") == 10
    for name in ("remove", "open_scene", "load_model", "write_mask", "estimate", "RemoveOptions"):
        assert f'id="cmcr_cli.{name}"' in python, name
    for field in option_fields(RemoveOptions):
        assert f"<td><code>{field.name}</code></td>" in python, field.name
    assert "Annotated" not in python
    assert "backscatter" in python and "VV and VH in dB" in python
    assert (site / "weights" / "index.html").is_file() and (site / "examples" / "steps.py").is_file()
