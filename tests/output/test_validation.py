from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS

from cmcr_cli.errors import InputError, RadiometryError
from cmcr_cli.output.cog import StripWriter
from cmcr_cli.output.cog_spec import OutputSpec
from cmcr_cli.output.validation import Finding, validate_output
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.grid import Grid

HEIGHT, WIDTH = 700, 40
GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 600000, 0, -10, 5900040), WIDTH, HEIGHT)

SOURCE = OutputSpec(Path(), GRID, 13, "uint16", nodata=0, descriptions=BANDS, scales=(1e-4,) * 13)


@dataclass
class Run:
    """A source, an output with its provenance, and the paths they are written to."""

    folder: Path
    source: NDArray[Any]
    output: NDArray[Any]
    provenance: NDArray[Any]
    spec: OutputSpec
    findings: list[Finding] = field(default_factory=list)

    def failures(self) -> dict[str, str]:
        """Write all three and return the findings that failed."""
        paths = [self.folder / name for name in ("s2.tif", "clear.tif", "provenance.tif")]
        grid = self.spec.grid
        layout = OutputSpec(paths[2], grid, 1, "uint8", nodata=0, categorical=True)
        _write(replace(SOURCE, path=paths[0]), self.source)
        _write(replace(self.spec, path=paths[1]), self.output)
        _write(layout, self.provenance[np.newaxis])
        findings = validate_output(paths[1], paths[0], paths[2])
        assert len({finding.name for finding in findings}) == len(findings)
        self.findings = findings
        return {finding.name: finding.text for finding in findings if not finding.ok}

    def odd(self) -> dict[str, str]:
        """Findings of `failures` that are odd."""
        return {finding.name: finding.text for finding in self.findings if finding.odd}


WRITTEN: dict[tuple[str, bytes], bytes] = {}
"""Files by what is in them: most tests change one of three, and the others need not be written again."""


def _write(spec: OutputSpec, pixels: NDArray[Any]) -> None:
    grid = tuple(spec.grid.transform), spec.grid.crs.to_wkt()  # `repr` shows less
    key = repr((replace(spec, path=Path()), grid)), hashlib.sha256(pixels.tobytes()).digest()
    if key in WRITTEN:
        spec.path.write_bytes(WRITTEN[key])
        return
    with StripWriter(spec) as writer:
        writer.write(pixels)
    WRITTEN[key] = spec.path.read_bytes()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    source = np.random.default_rng(0).integers(1, 9000, (13, HEIGHT, WIDTH)).astype(np.uint16)
    source[10] = 0  # B10 is 0 in most of a scene
    source[:, 600:] = 0
    output = source.copy()
    output[:, 100:200] += 50
    provenance = np.ones((HEIGHT, WIDTH), dtype=np.uint8)
    provenance[100:200] = 2
    provenance[600:] = 0
    return Run(tmp_path, source, output, provenance, SOURCE)


def test_a_right_output_has_no_failures(run: Run) -> None:
    assert run.failures() == {}


def test_what_is_odd_is_no_failure(run: Run) -> None:
    run.provenance[:600] = 2
    assert run.failures() == {} and run.odd() == {
        "reconstructed": "100.0% of the valid pixels are reconstructed: check the mask with cmcr mask"
    }


def test_reconstructed_pixels_of_another_brightness_are_odd(run: Run) -> None:
    run.source[:, :600] = run.output[:, :600] = 2000
    run.output[5:8, 100:200] = 3000
    assert run.failures() == {} and list(run.odd()) == ["means"]
    assert "differ by at most 0.100" in run.odd()["means"]
    assert "far in B06 B07 B08: check offset, bands and units with cmcr info" in run.odd()["means"]
    run.output[7, 100:200] = 2000  # two bands may be water, or snow
    assert run.failures() == {} and run.odd() == {}


def test_one_changed_observed_pixel_is_found(run: Run) -> None:
    run.output[12, 550, 3] += 1
    assert run.failures() == {"observed pixels": "1 pixels are marked as observed but differ from the source"}


def test_nodata_that_was_filled_is_found(run: Run) -> None:
    run.output[:, 650, :7] = 5
    assert {name: text[0] for name, text in run.failures().items()} == {
        "nodata pixels": "7",
        "provenance nodata": "7",
    }


def test_nodata_in_the_provenance_is_that_of_the_output(run: Run) -> None:
    run.provenance[0, 0] = 0
    run.provenance[-1, :2] = 2
    assert {name: text[0] for name, text in run.failures().items()} == {"provenance nodata": "3"}


def test_strange_provenance_values_are_found(run: Run) -> None:
    run.provenance[300, :4] = 4
    assert {name: text[0] for name, text in run.failures().items()} == {"provenance values": "4"}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"nodata": None}, "nodata value"),
        ({"scales": (1e-3,) * 13}, "scale and offset"),
        ({"descriptions": (*BANDS[:7], "B8A", "B08", *BANDS[9:])}, "bands"),
        ({"descriptions": tuple(f"{name} (made)" for name in BANDS)}, "bands"),
        ({"grid": replace(GRID, transform=Affine(10, 0, 600010, 0, -10, 5900040))}, "grid"),
        ({"grid": replace(GRID, crs=CRS.from_epsg(32632))}, "grid"),
    ],
)
def test_what_the_files_say_about_themselves_is_compared(run: Run, change: dict[str, Any], name: str) -> None:
    run.spec = replace(run.spec, **change)
    failures = run.failures()
    assert failures.keys() == {name}
    assert "expected" in failures[name]


def test_scale_and_offset_may_be_those_of_an_option(run: Run) -> None:
    tags = {"CMCR_OFFSET": "-1000 (option)"}
    run.spec = replace(run.spec, scales=(1e-4,) * 13, offsets=(-0.1,) * 13, tags=tags)
    assert run.failures() == {}
    run.spec = replace(run.spec, tags={"CMCR_OFFSET": "-1000 (tag)"})
    assert list(run.failures()) == ["scale and offset"]


def test_the_share_in_the_tags_is_that_of_the_provenance(run: Run) -> None:
    text = "85.7% of all pixels valid; of these 9.0% covered, {} reconstructed (7.7% edge)"
    run.spec = replace(run.spec, tags={"CMCR_COVER": text.format("16.7%")})
    assert run.failures() == {}
    run.spec = replace(run.spec, tags={"CMCR_COVER": text.format("16.6%")})
    told = "found 16.6% reconstructed; expected 16.7% reconstructed"
    assert run.failures() == {"cover in the tags": told}


def test_another_dtype_is_found(run: Run) -> None:
    run.spec = replace(run.spec, dtype="int16")
    run.output = run.output.astype(np.int16)
    assert run.failures() == {"dtype": "found int16; expected uint16"}


def test_another_size_and_another_provenance_grid_are_found(run: Run, tmp_path: Path) -> None:
    assert run.failures() == {}
    crop = replace(run.spec, path=tmp_path / "crop.tif", grid=replace(GRID, height=500))
    _write(crop, run.output[:, :500])
    findings = validate_output(crop.path, tmp_path / "s2.tif", tmp_path / "provenance.tif")
    assert {finding.name for finding in findings if not finding.ok} == {"grid", "provenance grid"}


def test_a_provenance_of_another_kind_is_found(run: Run, tmp_path: Path) -> None:
    assert run.failures() == {}
    findings = validate_output(tmp_path / "clear.tif", provenance=tmp_path / "s2.tif")
    assert {finding.name for finding in findings if not finding.ok} == {"provenance bands"}


def test_a_plain_geotiff_is_no_cog(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "plain.tif"
    size = {"width": 700, "height": 600, "count": 13, "dtype": "uint16"}
    with rasterio.open(path, "w", driver="GTiff", crs=GRID.crs, transform=GRID.transform, **size) as dataset:
        dataset.write(np.ones((13, 600, 700), dtype=np.uint16))
    (finding,) = validate_output(path)
    assert finding.name == "COG" and not finding.ok and "tiled" in finding.text
    _write(replace(run.spec, path=tmp_path / "cog.tif"), run.output)
    (finding,) = validate_output(tmp_path / "cog.tif")
    assert finding.ok


def test_files_that_cannot_be_read_are_input_errors(tmp_path: Path, run: Run) -> None:
    assert run.failures() == {}
    output, source = tmp_path / "clear.tif", tmp_path / "s2.tif"
    with pytest.raises(InputError, match=r"none\.tif"):
        validate_output(tmp_path / "none.tif")
    with pytest.raises(InputError, match=r"none\.tif"):
        validate_output(output, tmp_path / "none.tif")
    with pytest.raises(RadiometryError):
        validate_output(output, tmp_path / "provenance.tif")
    with output.open("r+b") as file:
        file.truncate(output.stat().st_size - 2000)
    with pytest.raises(InputError, match=r"clear\.tif.*truncated"):
        validate_output(output, source)
