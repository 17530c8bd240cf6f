from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rasterio import Affine

from cmcr_cli.output.inputs import Inputs
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.radar import open_radar
from tests.support.eopf import Eopf
from tests.support.rasters import CORNER, Write, write

__all__ = ["write"]


def test_product_with_radar_that_covers_half_of_it(tmp_path: Path, write: Write) -> None:
    db = np.random.default_rng(1).uniform(-20, -5, (2, 30, 60)).astype(np.float32)
    path = write("s1.tif", db, transform=Affine(20, 0, CORNER.c, 0, -20, CORNER.f))
    product = Eopf(tmp_path)
    with open_optical(product.root) as optical, open_radar(path, optical.grid, units="db") as radar:
        inputs = Inputs.of(optical, radar, units="db", valid_share=0.98765)
    scene, heard = inputs.scene, inputs.radar
    assert (scene.form, scene.baseline, scene.date) == ("EOPF Zarr", "05.11", "2024-06-01")
    assert (scene.bands, scene.bands_from, scene.sun) == (product.names, "product", (158.5, 59.75))
    assert (scene.scale, scene.offset, scene.offset_source) == (0.0001, -1000, "product")
    assert (scene.width, scene.pixel_size, scene.dtype, scene.nodata) == (120, (10, 10), "uint16", 0)
    assert (scene.valid_share, scene.classification, scene.resampled) == (0.9877, True, False)
    assert heard is not None and (heard.units, heard.units_from, heard.covers) == ("db", "option", 0.5)
    assert heard.resampled and heard.grid.startswith("60 x 30 px of 20 m")
    assert dict(scene.rows())["scene classification"] == "yes"
    assert inputs.tag() == (
        f"product EOPF Zarr, L2A, baseline 05.11, 2024-06-01; bands {' '.join(product.names)} (by product); "
        "scale 0.0001, offset -1000 DN (product); Sentinel-1 dB (by option), 60 x 30 px of 20 m, "
        "EPSG:32631, resampled to the grid of the scene, 50.0% of the scene; references 0"
    )


@pytest.mark.parametrize(
    ("bands", "descriptions", "told"),
    [(None, None, "order"), (None, True, "names"), (True, None, "option")],
)
def test_what_tells_the_names_of_bands(
    write: Write, bands: bool | None, descriptions: bool | None, told: str
) -> None:
    names = ("B02", "B03", "B04", "B08") if descriptions or bands else ()
    pixels = np.full((len(names) or 13, 8, 8), 2000, np.uint16)
    path = write("s2.tif", pixels, descriptions=names if descriptions else ())
    given = names if bands else None
    with open_optical(path, bands=given) as optical:
        inputs = Inputs.of(optical, None, bands=given)
    assert inputs.scene.bands_from == told and inputs.radar is None
    assert [kind for kind, _, _ in inputs.blocks()] == ["Sentinel-2", "Sentinel-1"]
    rows = dict(inputs.scene.rows())
    assert (
        rows["grid"] == "8 x 8 px of 10 m, EPSG:32631" and rows["pixels"] == "uint16, nodata 0 (none stated)"
    )
    assert "nodata" not in inputs.tag() and "Sentinel-1 none" in inputs.tag()


def test_secrets_of_addresses_stay_out(write: Write) -> None:
    path = write("s2.tif", np.full((13, 8, 8), 2000, np.uint16))
    with open_optical(path) as optical:
        signed = "/vsicurl/https://host/s2.tif?sig=secret"
        object.__setattr__(optical.source, "path", signed)
        assert "secret" not in str(Inputs.of(optical, None))
