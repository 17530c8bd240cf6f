"""One HTML file that shows a removal to people: images, shares, statistics, settings, the command."""

from __future__ import annotations

import base64
from dataclasses import asdict
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from cmcr_cli.ground.coregistration import Alignment
from cmcr_cli.output.files import FileSet, write_whole
from cmcr_cli.output.provenance import NODATA, OBSERVED, RECONSTRUCTED, WITH_REFERENCE
from cmcr_cli.output.quicklook import Quicklook, encoded
from cmcr_cli.removal.results.report import Report
from cmcr_cli.removal.results.statistics import Statistics
from cmcr_cli.version import __version__


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
    shares = {
        "observed": statistics.share(OBSERVED),
        "reconstructed": statistics.share(RECONSTRUCTED),
        "referenced": statistics.share(WITH_REFERENCE),
        "nodata": statistics.share(NODATA),
    }
    page = Template((resources.files("cmcr_cli.removal.results") / "report.html").read_text(encoding="utf-8"))
    text = page.substitute(
        title=escape(Path(report.output).name),
        version=__version__,
        before=pictures[0],
        after=pictures[1],
        changed=pictures[2],
        shares="".join(
            f'<div class="{name}" style="flex-grow:{share:.4f}" title="{share:.1%} {name}"></div>'
            for name, share in shares.items()
        ),
        legend="".join(
            f'<span><i class="{name}"></i>{share:.1%} {name}</span>' for name, share in shares.items()
        ),
        warnings="".join(f"<li>{escape(str(each))}</li>" for each in report.warnings) or "<li>none</li>",
        bands=_bands(statistics),
        settings=_settings(report),
        command=escape(command),
    )
    write_whole(path, text.encode(), files)


def _bands(statistics: Statistics) -> str:
    rows = []
    for name, *means in zip(statistics.names, *statistics.means(), strict=True):
        cells = "".join("<td>–</td>" if np.isnan(mean) else f"<td>{mean:.3f}</td>" for mean in means)  # noqa: RUF001
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    return "".join(rows)


def _settings(report: Report) -> str:
    shift = "used; too little clear ground to measure its shift"
    if report.radar_shift is not None:
        shift = Alignment(*report.radar_shift).describe()
    plain = asdict(report) | {
        "size": f"{report.width} x {report.height} px",
        "offset": f"{report.offset:g} DN ({report.offset_source})",
        "radar": shift if report.radar else "none",
        "covered": f"{report.covered_share:.1%}",
        "patches": f"{report.patches_restored} restored of {report.patches}",
        "time": ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.seconds.items()),
    }
    made_with = ("weights", "device", "steps", "samples", "seed", "patches", "time")
    shown = ("level", "size", "covered", "offset", "radar", *made_with)
    return "".join(f"<tr><th>{name}</th><td>{escape(str(plain[name]))}</td></tr>" for name in shown)
