"""The page from made-up results; a page of a whole run is tested in test_sidecars.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cmcr_cli.output.catalogue.cover import Cover
from cmcr_cli.output.inputs import Inputs, OpticalInput
from cmcr_cli.output.provenance import NODATA, OBSERVED, RECONSTRUCTED, WITH_REFERENCE
from cmcr_cli.output.quicklook import Quicklook
from cmcr_cli.removal.results.html_report import write_report
from cmcr_cli.removal.results.report import Report, ReportedReference
from cmcr_cli.removal.results.statistics import Statistics
from cmcr_cli.scene.references.listing import LeftOut
from cmcr_cli.warning_kinds import MaskWarning
from tests.support.strips import optical

NAMES = ("B02", "B03", "B04")
INPUTS = Inputs(
    scene=OpticalInput(
        path="s2.tif", form="stack", level="L2A", baseline=None, date=None, sun=None, bands=NAMES,
        bands_from="names", scale=0.0001, offset=-1000.0, offset_source="tag", crs="EPSG:32631", width=16,
        height=8, pixel_size=(10.0, 10.0), pixel_unit="m", dtype="uint16", nodata=0.0,
        valid_share=0.75, classification=False, resampled=False,
    ),
    radar=None,
)  # fmt: skip
COVER = Cover.of(400, 300, (90, 15, 30), 15, 60, kinds=True)
REPORT = Report(
    output="<i>/clear & co.tif", weights="tiny 1234", device="cpu", steps=4, samples=2, seed=7, level="L2A",
    offset=-1000.0, offset_source="tag", radar=False, radar_shift=None, width=16, height=8, valid_share=0.75,
    covered_share=0.5, cover=COVER, patches=6, patches_restored=3, seconds={"open": 0.25}, references=(),
    references_left_out=(), warnings=(), inputs=INPUTS,
)  # fmt: skip


@pytest.fixture
def look() -> Quicklook:
    look, image = Quicklook(16, 8), np.linspace(0, 0.5, 3 * 8 * 16, dtype=np.float32).reshape(3, 8, 16)
    look.add(0, image, image, np.full((8, 16), OBSERVED, np.uint8))
    return look


@pytest.fixture
def statistics() -> Statistics:
    """A quarter of each kind; reconstructed are those with a reference, too."""
    found, scene = Statistics(NAMES), optical(NAMES, np.uint16, 0)
    provenance = np.repeat(np.array([NODATA, OBSERVED, RECONSTRUCTED, WITH_REFERENCE], np.uint8), 4)
    dn = np.full((3, 8, 16), 3500, np.uint16)
    found.add(scene, dn + np.uint16(5000), dn, np.broadcast_to(provenance, (8, 16)))
    return found


def page(path: Path, report: Report, look: Quicklook, statistics: Statistics) -> str:
    write_report(path / "report.html", report, "cmcr remove 'a <b>.tif'", look, statistics)
    return (path / "report.html").read_text(encoding="utf-8")


def test_shares_settings_and_command_are_on_the_page(
    tmp_path: Path, look: Quicklook, statistics: Statistics
) -> None:
    text = page(tmp_path, REPORT, look, statistics)
    assert "30.0% observed</span>" in text and "70.0% reconstructed</span>" in text
    assert text.count('style="flex-grow:') == 2 and text.count("data:image/jpeg;base64,") == 3
    for name, share in COVER.rows():
        assert f"<tr><th>{name}</th><td>{share}</td></tr>" in text
    assert "cmcr remove &#x27;a &lt;b&gt;.tif&#x27;" in text and "<title>clear &amp; co.tif" in text
    for words in ("-1000 DN (tag)", "16 x 8 px", "3 restored of 6", "open 0.2 s", "<td>none</td>"):
        assert words in text
    assert text.count("<td>0.250</td>") == 6 and text.count("<td>0.750</td>") == 3
    assert "<li>none</li>" in text and "$" not in text and text.rstrip().endswith("</html>")


def test_bands_of_which_nothing_was_made_have_no_mean(tmp_path: Path, look: Quicklook) -> None:
    text = page(tmp_path, REPORT, look, Statistics(NAMES))
    assert text.count("<td>–</td>") == 9  # noqa: RUF001


def test_warnings_and_references_are_text(tmp_path: Path, look: Quicklook, statistics: Statistics) -> None:
    references = (
        ReportedReference("may<1>.tif", "2025-05-02", -30, None, 0.6, 0.75, 0.41),
        ReportedReference("unknown.tif", None, None, None, 0.5, 0.25, 0.6),
    )
    report = replace(
        REPORT, references=references, references_left_out=(LeftOut("x.tif", "is <old>"),),
        warnings=(MaskWarning("a < b"),), radar=True, radar_shift=(12.3, -0.1),
        cover=COVER.restored([140, 70]),
    )  # fmt: skip
    text = page(tmp_path, report, look, statistics)
    assert "46.7% reconstructed without a reference<" in text
    assert "23.3% reconstructed with a reference<" in text
    assert "<li>a &lt; b</li>" in text and "<li>x.tif: is &lt;old&gt;</li>" in text
    cells = "</td><td>".join(("1", "may&lt;1&gt;.tif", "2025-05-02", "-30", "60.0%", "75.0%", "0.41"))
    assert f"<tr><td>{cells}</td></tr>" in text
    assert "<td>unknown.tif</td><td>not known</td><td>not known</td>" in text
    assert "References" not in page(tmp_path / "..", REPORT, look, statistics)
