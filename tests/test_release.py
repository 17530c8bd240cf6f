"""What is stated about a release in several places is the same in all of them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.model.weights import DEFAULT_NAME, FORMAT

ROOT = Path(__file__).resolve().parents[1]
CONDA = {"torch": "pytorch"}
"""Names of packages that are others in conda."""


@pytest.fixture(scope="module")
def project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_conda_recipe_has_the_requirements_of_the_package(project: Any) -> None:
    recipe = (ROOT / "release/recipe.yaml").read_text()
    run = re.findall(r"^    - (.+)$", recipe.split("\n  run:\n")[1].split("\ntests:")[0], re.M)
    needed = [re.fullmatch(r"([\w-]+)(>=.+)", text) for text in project["dependencies"]]
    ours = {f"{CONDA.get(found[1], found[1])} {found[2]}" for found in needed if found}
    assert set(run) == {f"python {project['requires-python']}"} | ours
    # Code that is not released says .dev0; the recipe is that of the last release.
    released = re.search(r"^## \[(\d[\d.]*)\] - ", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert released and f'version: "{released[1]}"' in recipe
    (script,) = re.findall(r"- cmcr = (\S+)", recipe)
    assert script == project["scripts"]["cmcr"]


def test_everything_that_is_needed_is_tested_with_a_version(project: Any) -> None:
    pinned = set(re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(), re.M))
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.split(r"[\[>=]", text)[0] for group in groups for text in group} - {"cmcr", "omnicloudmask"}
    assert names <= pinned


def test_hints_name_what_can_be_installed(project: Any) -> None:
    """cmcr itself is on no index: hints name the libraries, which are those of its extras."""
    extras = {
        re.split(r"[\[>=]", text)[0] for group in project["optional-dependencies"].values() for text in group
    }
    hints = {
        name
        for path in (ROOT / "cmcr_cli").rglob("*.py")
        for name in re.findall(r"pip install ([^\s,]+)", path.read_text())
    }
    assert hints and hints <= extras


def test_the_newest_weights_are_in_their_changelog() -> None:
    rows = re.findall(r"^\| (\d\S*) \|[^|]*\| (\d+) \|", (ROOT / "weights/CHANGELOG.md").read_text(), re.M)
    assert [path.name for path in (ROOT / "weights").glob("*.safetensors")] == [DEFAULT_NAME]
    assert rows[0] == (re.findall(r"cmcr-(.+)\.safetensors", DEFAULT_NAME)[0], str(FORMAT))
