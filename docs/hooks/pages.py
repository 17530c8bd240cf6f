"""Add to the site what is outside docs/: model card, examples, help of the commands."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from cmcr_cli.option_fields import option_fields
from cmcr_cli.options import RemoveOptions

PLACE = "<!-- the help of every command -->"
FIELDS = "<!-- the fields of RemoveOptions -->"

MODULE = re.compile(r"\b(?:\w+\.)+(?=[A-Z])")
"""Before the name of a class."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the model card and the examples to the site, at their paths in the source."""
    root = Path(config.config_file_path).parent
    for pattern in ("weights/*.md", "weights/*.png", "examples/*"):
        for path in sorted(root.glob(pattern)):
            place = path.relative_to(root).as_posix()
            files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put in the help of the commands and the options, and keep links out of docs/ inside the site."""
    if PLACE in markdown:
        markdown = markdown.replace(PLACE, _help())
    if FIELDS in markdown:
        markdown = markdown.replace(FIELDS, _fields())
    return markdown.replace("](../", "](")


def _help() -> str:
    command = [sys.executable, "-m", "typer", "cmcr_cli.cli.main", "utils", "docs", "--name", "cmcr"]
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    made = made[made.index("\n## ") :]
    return re.sub(r"\n\x08?Examples:\n((?:  .+\n)+)", _examples, made)


def _fields() -> str:
    """A table of the fields of `RemoveOptions`, which say themselves what they are for."""
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for field in option_fields(RemoveOptions):
        kind = MODULE.sub("", inspect.formatannotation(field.type))
        default = "required" if field.required else f"`{field.default!r}`"
        meaning = field.meaning.replace("|", "\\|")
        rows.append(f"| `{field.name}` | `{kind}` | {default} | {meaning} |")
    return "\n".join(rows)


def _examples(found: re.Match[str]) -> str:
    lines = "".join(f"$ {line.strip()}\n" for line in found[1].splitlines())
    return f"\n**Examples**:\n\n```console\n{lines}```\n"
