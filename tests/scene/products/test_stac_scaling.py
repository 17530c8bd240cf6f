"""Items as catalogues write them: their keys, and what they say, or do not say, of scale and offset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cmcr_cli.errors import InputError
from cmcr_cli.scene.bands import L2A_BANDS
from cmcr_cli.scene.layers.radiometry_check import check_radiometry
from cmcr_cli.scene.optical import Optical, open_optical
from cmcr_cli.scene.products.stac_scaling import baseline_of, scaling_of, shortened
from cmcr_cli.scene.sun import Sun
from cmcr_cli.simulate.write import simulate_window
from tests.support.items import CATALOGUES, Catalogue, write_item
from tests.support.rasters import write

if TYPE_CHECKING:
    pass

__all__ = ["write"]


@pytest.fixture(scope="module")
def reflectance() -> NDArray[np.float32]:
    """12 bands of L2A with clouds."""
    image = simulate_window(7, 0, 0, 96, 96, 0.3).cloudy
    return np.delete(image, 10, axis=0)


def shown(optical: Optical) -> NDArray[np.float32]:
    return optical.radiometry.reflectance(optical.read(0, 96))


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda each: each.label)
def test_items_of_catalogues(catalogue: Catalogue, tmp_path: Path, reflectance: NDArray[np.float32]) -> None:
    """They are read as reflectance, or with a warning that names the cure."""
    path = write_item(tmp_path, catalogue, reflectance)
    with open_optical(path) as optical:
        told = " ".join(map(str, (*optical.warnings, *check_radiometry(optical))))
        assert optical.names == L2A_BANDS and optical.sun == Sun(152.3, 41.3)
        assert optical.scl is not None and optical.tags["PROCESSING_BASELINE"] == catalogue.baseline
        assert (catalogue.match in told) if catalogue.match else told == ""
        error = np.abs(shown(optical) - reflectance.clip(0.0001)).max()
    if catalogue.cure is not None:
        assert error > 0.09, "else the cure is not needed"
        assert f"--offset {catalogue.cure:g}" in told
        with open_optical(path, offset=catalogue.cure) as optical:
            error = np.abs(shown(optical) - reflectance.clip(0.0001)).max()
    assert error < 1.1e-4


def test_the_metadata_of_the_product_may_be_gone(tmp_path: Path, reflectance: NDArray[np.float32]) -> None:
    """Then nothing is known, and the user is asked."""
    catalogue = next(each for each in CATALOGUES if each.label == "Planetary Computer, 05.10")
    path = write_item(tmp_path, catalogue, reflectance)
    (tmp_path / "MTD_MSIL2A.xml").write_text("<gone/>"[:4])
    with open_optical(path) as optical:
        assert (optical.radiometry.offset, optical.offset_source) == (0, "assumed 0")
        assert "give --offset -1000" in str(optical.warnings[0])


@pytest.mark.parametrize(
    ("properties", "baseline"),
    [
        ({"s2:processing_baseline": "05.09"}, "05.09"),
        ({"sentinel:processing_baseline": "04.00"}, "04.00"),
        ({"s2:processing_baseline": None, "processing:version": "05.11"}, "05.11"),
        ({}, ""),
    ],
)
def test_baseline_by_the_names_that_it_has(properties: dict[str, Any], baseline: str) -> None:
    assert baseline_of(properties) == baseline


def test_long_values_are_shortened() -> None:
    assert shortened("x" * 100) == "'" + 59 * "x" + "..." and shortened(0.1) == "0.1"


@pytest.mark.parametrize(
    "stated", [{"scale": 0}, {"scale": "a"}, {"offset": [1]}, {"scale": 1e-4, "offset": 1e9}]
)
def test_numbers_that_are_none(stated: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"item\.json: states scale .*such as 0\.0001"):
        scaling_of("item.json", {}, [{"raster:bands": [stated]}], None)
