"""One HTML file that shows a removal to people: images, shares, statistics, settings, the command."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from cmcr_cli.ground.coregistration import Alignment
from cmcr_cli.option_paths import file_name
from cmcr_cli.output.catalogue.cover import Cover, per_cent
from cmcr_cli.output.files import FileSet, write_whole
from cmcr_cli.output.quicklook import Quicklook, encoded
from cmcr_cli.removal.results.report import Report
from cmcr_cli.removal.results.statistics import Statistics
from cmcr_cli.version import __version__

COLUMNS = ("", "reference", "date", "days", "clear", "counts most for", "expected error")
"""Of the table of references."""


def write_report(
    path: Path,
    report: Report,
    command: str,
    look: Quicklook,
    statistics: Statistics,
    files: FileSet | None = None,
) -> None:
    """Write the report, which needs no other file and no network.

    Args:
        path: The HTML file.
        report: What was done.
        command: The command line.
        look: Pictures.
        statistics: Shares and means.
        files: Set of outputs that it belongs to; None: alone.

    Raises:
        OutputError: It cannot be written.
    """
    pictures = [
        f"data:image/jpeg;base64,{base64.b64encode(encoded(panel, 'JPEG')).decode()}"
        for panel in look.panels()
    ]
    shares = list(_shares(report.cover))
    page = Template((resources.files("cmcr_cli.removal.results") / "report.html").read_text(encoding="utf-8"))
    text = page.substitute(
        title=escape(Path(report.output).name),
        version=__version__,
        before=pictures[0],
        after=pictures[1],
        changed=pictures[2],
        shares="".join(
            f'<div class="{name}" style="flex-grow:{share:.4f}" title="{per_cent(share)} {label}"></div>'
            for name, label, share in shares
        ),
        legend="".join(
            f'<span><i class="{name}"></i>{per_cent(share)} {label}</span>' for name, label, share in shares
        ),
        warnings="".join(f"<li>{escape(str(each))}</li>" for each in report.warnings) or "<li>none</li>",
        references=_references(report),
        bands=_bands(statistics),
        cover=_table(report.cover.rows()),
        settings=_settings(report),
        inputs=_inputs(report),
        command=escape(command),
    )
    write_whole(path, text.encode(), files)


def _shares(cover: Cover) -> Iterator[tuple[str, str, float]]:
    """Parts of the bar, which are all valid pixels: class in the page, name and share."""
    helped = cover.with_reference or 0.0
    yield "observed", "observed", cover.observed
    yield (
        "reconstructed",
        "reconstructed" + " without a reference" * (helped > 0),
        cover.reconstructed - helped,
    )
    if helped:
        yield "referenced", "reconstructed with a reference", helped


def _references(report: Report) -> str:
    """The part of the page about references: those used, and those left out; empty if none were given."""
    used = [
        (
            str(number),
            file_name(each.path),
            each.date or "not known",
            "not known" if each.days is None else f"{each.days:+d}",
            per_cent(each.clear_share),
            per_cent(each.weight or 0.0),
            f"{each.expected_error:.2f}",
        )
        for number, each in enumerate(report.references, 1)
    ]
    left_out = [f"{file_name(each.path)}: {each.reason}" for each in report.references_left_out]
    text = ""
    if used:
        rows = "".join(f"<tr>{_cells('td', row)}</tr>" for row in used)
        text = (
            f'<table class="references"><thead><tr>{_cells("th", COLUMNS)}</tr></thead>'
            f"<tbody>{rows}</tbody></table>"
            '<p class="sub">Clear: part of the scene that the reference shows clear. Counts most for: part '
            "of the reconstructed pixels. Expected error: of a prediction from this reference alone, in "
            "standard deviations of the clear ground.</p>"
        )
    if left_out:
        text += f"<p>Left out:</p><ul>{''.join(f'<li>{escape(each)}</li>' for each in left_out)}</ul>"
    return f"<h2>References</h2>{text}" if text else ""


def _cells(tag: str, texts: Iterable[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)


def _bands(statistics: Statistics) -> str:
    rows = []
    for name, *means in zip(statistics.names, *statistics.means(), strict=True):
        cells = "".join("<td>–</td>" if np.isnan(mean) else f"<td>{mean:.3f}</td>" for mean in means)  # noqa: RUF001
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    return "".join(rows)


def _inputs(report: Report) -> str:
    rows = []
    for kind, path, values in report.inputs.blocks():
        rows.append(f"<tr><th>{kind}</th><td>{escape(file_name(path))}</td></tr>")
        rows.append(_table(values))
    return "".join(rows)


def _settings(report: Report) -> str:
    shift = "used; too little clear ground to measure its shift"
    if report.radar_shift is not None:
        shift = Alignment(*report.radar_shift).describe()
    plain = asdict(report) | {
        "size": f"{report.width} x {report.height} px",
        "offset": f"{report.offset:g} DN ({report.offset_source})",
        "radar": shift if report.radar else "none",
        "patches": f"{report.patches_restored} restored of {report.patches}",
        "time": ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.seconds.items()),
    }
    made_with = ("weights", "device", "steps", "samples", "seed", "patches", "time")
    shown = ("level", "size", "offset", "radar", *made_with)
    return _table((name, str(plain[name])) for name in shown)


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows)
