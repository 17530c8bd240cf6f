from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from cmcr_cli.options import RemoveOptions
from cmcr_cli.removal.finished import unfinished


def image(path: Path, **tags: str) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=64, width=64, dtype="uint8", crs="EPSG:32631",
        transform=Affine(10, 0, 600_000, 0, -10, 5_900_040),
    ) as file:  # fmt: skip
        file.write(np.ones((1, 64, 64), np.uint8))
        file.update_tags(**tags)


@pytest.fixture
def options(tmp_path: Path) -> RemoveOptions:
    """Of a run that is complete."""
    options = RemoveOptions(
        s2="s2.tif", output=tmp_path / "clear.tif", provenance=tmp_path / "which.tif",
        report=tmp_path / "report.html", stac=tmp_path / "item.json",
    )  # fmt: skip
    image(tmp_path / "clear.tif", CMCR_SEED="1", CMCR_VALUES="reflectance", OTHER="a")
    image(tmp_path / "which.tif", CMCR_SEED="1", CMCR_VALUES="0 nodata", OTHER="b")
    (tmp_path / "report.html").write_text("<html></html>\n")
    (tmp_path / "item.json").write_text('{"type": "Feature"}\n')
    return options


def test_a_whole_set_lacks_nothing(options: RemoveOptions) -> None:
    assert unfinished(options) is None


def test_dates_of_references_are_on_one_raster_only(options: RemoveOptions, tmp_path: Path) -> None:
    image(tmp_path / "dates.tif", CMCR_SEED="1", CMCR_REFERENCE_1="2024-06-01")
    assert unfinished(replace(options, source_date=tmp_path / "dates.tif")) is None


def test_what_is_missing_is_named(options: RemoveOptions, tmp_path: Path) -> None:
    assert "--quicklook asks for" in str(unfinished(replace(options, quicklook=tmp_path / "look.png")))
    options.output.unlink()
    assert "clear.tif is not there, which --output asks for" in str(unfinished(options))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("clear.tif", "is not a complete image"),
        ("which.tif", "is not a complete image"),
        ("report.html", "is not complete"),
        ("item.json", "is not complete"),
    ],
)
def test_what_was_cut_is_not_complete(options: RemoveOptions, tmp_path: Path, name: str, what: str) -> None:
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert unfinished(options) == f"{path} {what}"


def test_rasters_of_two_runs_are_no_set(options: RemoveOptions, tmp_path: Path) -> None:
    image(tmp_path / "which.tif", CMCR_SEED="2", CMCR_VALUES="0 nodata")
    assert unfinished(options) == f"{tmp_path / 'which.tif'} was not made together with clear.tif"
