"""One HTML file that shows a removal to people: images, shares, statistics, settings, the command."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass, field
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.ground.coregistration import Alignment
from cmcr_cli.output.cog import NODATA, OBSERVED, RECONSTRUCTED
from cmcr_cli.output.files import FileSet, write_whole
from cmcr_cli.output.quicklook import Quicklook, encoded
from cmcr_cli.scene.optical import Optical
from cmcr_cli.version import __version__

if TYPE_CHECKING:
    from cmcr_cli.removal.pipeline import Report

EVERY = 4
"""Rows and columns of which one is taken for the means of the bands."""


@dataclass(slots=True)
class Statistics:
    """What is counted while rows are written."""

    names: tuple[str, ...]
    pixels: NDArray[np.int64] = field(init=False)  # by value of the provenance
    sums: NDArray[np.float64] = field(init=False)  # (3, bands): observed, covered before, reconstructed
    counts: NDArray[np.int64] = field(init=False)  # (3,) pixels that the sums hold

    def __post_init__(self) -> None:
        """Start from nothing."""
        self.pixels = np.zeros(3, np.int64)
        self.sums = np.zeros((3, len(self.names)))
        self.counts = np.zeros(3, np.int64)

    def add(
        self, optical: Optical, before: NDArray[Any], after: NDArray[Any], provenance: NDArray[np.uint8]
    ) -> None:
        """Add rows: DN before and after (bands, rows, width), and their provenance."""
        self.pixels += np.bincount(provenance.ravel(), minlength=3)
        few = provenance[::EVERY, ::EVERY]
        sources = ((after, OBSERVED), (before, RECONSTRUCTED), (after, RECONSTRUCTED))
        for row, (dn, value) in enumerate(sources):
            chosen = dn[:, ::EVERY, ::EVERY][:, few == value]
            self.sums[row] += optical.radiometry.reflectance(chosen).sum(axis=1, dtype=np.float64)
            self.counts[row] += chosen.shape[1]

    def share(self, value: int) -> float:
        """Part of all pixels that have this provenance, 0 to 1."""
        return float(self.pixels[value] / max(self.pixels.sum(), 1))

    def means(self) -> NDArray[np.float64]:
        """Mean reflectance (3, bands); NaN where there was no pixel."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.sums / np.where(self.counts, self.counts, np.nan)[:, None])


def write_report(
    path: Path,
    report: Report,
    command: str,
    look: Quicklook,
    statistics: Statistics,
    files: FileSet | None = None,
) -> None:
    """Write the report, as one of `files` or alone: it needs no other file and no network.

    Raises OutputError when it cannot be written.
    """
    pictures = [
        f"data:image/jpeg;base64,{base64.b64encode(encoded(panel, 'JPEG')).decode()}"
        for panel in look.panels()
    ]
    shares = {
        "observed": statistics.share(OBSERVED),
        "reconstructed": statistics.share(RECONSTRUCTED),
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
        notes="".join(f"<li>{escape(note)}</li>" for note in dict.fromkeys(report.notes)) or "<li>none</li>",
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
        "covered in the scene": f"{report.covered_share:.1%}",
        "patches": f"{report.patches_restored} restored of {report.patches}",
        "time": ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.seconds.items()),
    }
    made_with = ("weights", "device", "steps", "samples", "seed", "patches", "time")
    shown = ("level", "size", "covered in the scene", "offset", "radar", *made_with)
    return "".join(f"<tr><th>{name}</th><td>{escape(str(plain[name]))}</td></tr>" for name in shown)
