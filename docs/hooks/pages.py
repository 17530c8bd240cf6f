"""Add to the site what is outside docs/: model card, examples, tests, help of the commands."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from cmcr_cli.cli.main import app
from cmcr_cli.option_fields import option_fields
from cmcr_cli.options import RemoveOptions

PLACE = "<!-- the help of every command -->"
FIELDS = "<!-- the fields of RemoveOptions -->"

MODULE = re.compile(r"\b(?:\w+\.)+(?=[A-Z])")
"""Before the name of a class."""

TESTS = re.compile(r"\]\(\.\./(tests/[\w/]+\.py)\b")
"""Where a page links to a test."""

EXAMPLES = re.compile(r"^\x08\nExamples:\n")
"""Start of what follows the help of a command; the first character keeps typer from wrapping the lines."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the model card, the examples and tests that pages name, at their paths in the source."""
    root = Path(config.config_file_path).parent
    named = {name for page in root.glob("docs/*.md") for name in TESTS.findall(page.read_text())}
    for pattern in ("weights/*.md", "weights/*.png", "examples/*", *named):
        for path in sorted(root.glob(pattern)):
            place = path.relative_to(root).as_posix()
            files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Put in the help of the commands and the options, and keep links out of docs/ inside the site."""
    if PLACE in markdown:
        markdown = markdown.replace(PLACE, "\n\n".join(_commands()))
    if FIELDS in markdown:
        markdown = markdown.replace(FIELDS, _fields())
    # What is in docs/ is at the root of the site, and so is all else.
    if "/" in page.file.src_uri:
        return markdown.replace("](../docs/", "](../")
    return markdown.replace("](../", "](")


def _commands() -> Iterator[str]:
    """A list of the commands, and the help of each: as printed, but with whole lines and links."""
    group: Any = typer.main.get_command(app)
    found = {}
    for name, command in group.commands.items():
        for inner, each in getattr(command, "commands", {"": command}).items():
            found[f"{name} {inner}".strip()] = each
    for name, command in found.items():
        summary = " ".join(command.help.split("\n\n")[0].split())
        yield f"- [`cmcr {name}`](#cmcr-{name.replace(' ', '-')}): {summary}"
    for name, command in found.items():
        yield from _command(f"cmcr {name}", command)


def _command(name: str, command: Any) -> Iterator[str]:
    context = typer.Context(command, info_name=name)
    yield f"## `{name}`"
    yield command.help
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield f"```console\n$ {' '.join(usage.split())}\n```"
    for title, kind in (("Arguments", "argument"), ("Options", "option")):
        shown = [each.get_help_record(context) for each in command.params if each.param_type_name == kind]
        if shown := [record for record in shown if record]:
            yield f"**{title}**"
            yield from (f"`{names}`\n\n:   {' '.join(text.split())}" for names, text in shown)
    lines = EXAMPLES.sub("", command.epilog).splitlines()
    yield "**Examples**\n\n```console\n" + "".join(f"$ {line.strip()}\n" for line in lines) + "```"


def _fields() -> str:
    """A table of the fields of `RemoveOptions`, which say themselves what they are for."""
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for field in option_fields(RemoveOptions):
        kind = MODULE.sub("", inspect.formatannotation(field.type))
        default = "required" if field.required else f"`{field.default!r}`"
        meaning = field.meaning.replace("|", "\\|")
        rows.append(f"| `{field.name}` | `{kind}` | {default} | {meaning} |")
    return "\n".join(rows)
