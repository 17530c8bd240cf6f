from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from cmcr_cli.options import RemoveOptions
from cmcr_cli.output.catalogue.categories import PROVENANCE
from cmcr_cli.output.provenance import NO_SOURCE, NODATA, OBSERVED, RECONSTRUCTED, WITH_REFERENCE
from cmcr_cli.removal.restore.second_pass import FinishedStrip
from cmcr_cli.removal.results.rasters import RASTERS, OutputRaster, Setting
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.span import Span
from tests.support.strips import optical

NAMES = ("B02", "B03", "B04")
GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 600_000, 0, -10, 5_900_040), 3, 1)
BY_OPTION = {raster.option: raster for raster in RASTERS}


@pytest.fixture
def setting() -> Setting:
    scene = replace(
        optical(NAMES, np.int16, -9999),
        scales=(1e-4,) * 3,
        offsets=(-0.1,) * 3,
        tags={"A": "scene", "B": "b"},
    )
    options = RemoveOptions(s2="s2.tif", output=Path("o.tif"), creation_options={"LEVEL": "3"})
    return Setting(options, scene, GRID, {"A": "run"})


@pytest.fixture
def strip() -> FinishedStrip:
    """Three pixels: without a measurement, observed, reconstructed."""
    before = np.arange(9, dtype=np.int16).reshape(3, 1, 3)
    provenance = np.array([[NODATA, OBSERVED, RECONSTRUCTED]], np.uint8)
    return FinishedStrip(Span(0, 1), before, before + 1, provenance, np.full((3, 1, 3), 0.25, np.float32))


def test_each_output_raster_has_one_description() -> None:
    rasters = RemoveOptions(
        s2="s2.tif", output=Path("o.tif"), provenance=Path("p.tif"), uncertainty=Path("u.tif"),
        steps=2, samples=2, references=("earlier.tif",), source_date=Path("d.tif"),
    ).rasters  # fmt: skip
    assert (
        RASTERS[0].option == "--output" and list(BY_OPTION) == list(rasters) and len(RASTERS) == len(rasters)
    )


def test_the_image_is_stored_as_the_scene_is(setting: Setting, strip: FinishedStrip) -> None:
    image = BY_OPTION["--output"]
    spec = image.spec(setting, Path("o.tif"))
    assert (spec.count, spec.dtype, spec.nodata, spec.descriptions) == (3, "int16", -9999, NAMES)
    assert (spec.scales, spec.offsets, spec.grid) == ((1e-4,) * 3, (-0.1,) * 3, GRID)
    assert spec.tags == {"A": "run", "B": "b"} and spec.creation_options == {"LEVEL": "3"}
    assert image.pixels(strip) is strip.after
    assert image.pixels(replace(strip, after=None)) is None


def test_the_image_says_scale_and_offset_as_options_state_them(setting: Setting) -> None:
    scene = replace(setting.optical, scales=(1.0,) * 3, offsets=(0.0,) * 3, offset_source="option")
    image, stated = BY_OPTION["--output"], replace(setting, optical=scene)
    spec = image.spec(stated, Path("o.tif"))
    assert spec.scales == pytest.approx((1e-4,) * 3) and spec.offsets == pytest.approx((-0.1,) * 3)
    assert [band.common_name for band in spec.spectrum] == ["blue", "green", "red"]
    assumed = replace(setting, optical=replace(scene, offset_source="assumed 0"))
    assert image.spec(assumed, Path("o.tif")).scales == (1, 1, 1), "nobody stated it"


def test_the_provenance_is_one_band_of_codes(setting: Setting, strip: FinishedStrip) -> None:
    raster = BY_OPTION["--provenance"]
    spec = raster.spec(setting, Path("p.tif"))
    assert (spec.count, spec.dtype, spec.nodata, spec.categories) == (1, "uint8", NODATA, PROVENANCE)
    assert spec.tags["CMCR_VALUES"].startswith("0 nodata") and spec.tags["A"] == "run"
    pixels = raster.pixels(strip)
    assert pixels is not None and pixels.tolist() == [[[NODATA, OBSERVED, RECONSTRUCTED]]]


def test_uncertainty_is_nothing_where_nothing_was_made(setting: Setting, strip: FinishedStrip) -> None:
    raster = BY_OPTION["--uncertainty"]
    spec = raster.spec(setting, Path("u.tif"))
    assert spec.dtype == "float32" and spec.descriptions == ("std_B02", "std_B03", "std_B04")
    assert spec.nodata is not None and np.isnan(spec.nodata) and not spec.categories
    pixels = raster.pixels(strip)
    assert pixels is not None and pixels.shape == (3, 1, 3) and pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels[:, 0], [[np.nan, 0, 0.25]] * 3)
    assert raster.pixels(replace(strip, std=None)) is None


def test_the_source_is_the_number_of_a_reference(setting: Setting, strip: FinishedStrip) -> None:
    raster = BY_OPTION["--source-date"]
    spec = raster.spec(replace(setting, references=("2025-06-01 a", "2025-05-02 b")), Path("d.tif"))
    assert (spec.count, spec.dtype, spec.nodata) == (1, "uint8", NO_SOURCE)
    assert [(each.value, each.name) for each in spec.categories] == [
        (0, "no reference"), (1, "2025-06-01 a"), (2, "2025-05-02 b"), (255, "nodata"),
    ]  # fmt: skip
    assert (spec.tags["CMCR_REFERENCE_1"], spec.tags["CMCR_REFERENCE_2"]) == ("2025-06-01 a", "2025-05-02 b")
    source = np.array([[1, 2, 0]], np.uint8)
    provenance = np.array([[NODATA, OBSERVED, RECONSTRUCTED]], np.uint8)
    shown = [
        raster.pixels(replace(strip, source=each, provenance=codes))
        for each, codes in (
            (source, provenance),
            (np.full_like(source, 2), np.full_like(provenance, WITH_REFERENCE)),
            (None, provenance),
        )
    ]
    assert [pixels.tolist() for pixels in shown if pixels is not None] == [
        [[[NO_SOURCE, 0, 0]]],
        [[[2, 2, 2]]],
        [[[NO_SOURCE, 0, 0]]],
    ]


@pytest.mark.parametrize("raster", RASTERS, ids=lambda raster: raster.option)
def test_what_is_shown_fits_the_file(raster: OutputRaster, setting: Setting, strip: FinishedStrip) -> None:
    spec, pixels = raster.spec(setting, Path("x.tif")), raster.pixels(strip)
    assert pixels is not None and (pixels.shape[0], str(pixels.dtype)) == (spec.count, spec.dtype)
