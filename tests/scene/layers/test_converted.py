from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio

from cmcr_cli.scene.optical import open_optical

if TYPE_CHECKING:
    from tests.support.rasters import Write

NAMES = ("B02", "B03", "B04", "B08")


@pytest.mark.parametrize("nodata", [None, 0.0, float("nan"), -9999.0])
def test_fractions_are_read_as_dn_and_written_as_they_were(write: Write, nodata: float | None) -> None:
    pixels = np.random.default_rng(1).uniform(0.02, 0.6, (4, 40, 40)).astype(np.float32)
    pixels[:, :5] = 0.0 if nodata is None else nodata
    path = write("float.tif", pixels, nodata=nodata, descriptions=NAMES)
    with open_optical(path) as optical:
        dn, original = optical.read(0, 40), optical.original
        valid = optical.valid(dn)
        assert dn.dtype == np.int16 and original is not None and original.dtype == np.float32
        assert not valid[:5].any() and valid[5:].all()
        assert np.abs(optical.radiometry.reflectance(dn)[:, valid] - pixels[:, valid]).max() < 1e-4
        new = np.zeros((40, 40), np.bool_)
        new[20:] = True
        made = original.with_new(0, np.full_like(dn, 2500), new)
    assert made.dtype == np.float32 and (made[:, 20:] == np.float32(0.25)).all()
    assert made[:, :20].tobytes() == pixels[:, :20].tobytes()
    assert (original.dn(made[:, 20:]) == 2500).all()


def test_bytes_with_a_scale_keep_their_nodata(write: Write) -> None:
    pixels = np.random.default_rng(1).integers(5, 200, (4, 40, 40)).astype(np.uint8)
    with open_optical(write("byte.tif", pixels, nodata=0, descriptions=NAMES), scale=1 / 255) as optical:
        dn, original = optical.read(0, 40), optical.original
        assert original is not None
        made = original.with_new(0, np.zeros_like(dn), np.ones((40, 40), np.bool_))
        assert (made == 1).all()  # what is new is never nodata
        assert np.abs(optical.radiometry.reflectance(dn) - pixels / 255).max() < 1e-4


def test_tags_with_quotes_in_their_names_are_text(write: Write) -> None:
    path = write("odd.tif", np.full((4, 40, 40), 0.2, np.float32), descriptions=NAMES)
    with rasterio.open(path, "r+") as file:
        file.update_tags(**{'a"><b': "<c>"})
    with open_optical(path) as optical:
        assert (optical.read(0, 40) == 2000).all() and optical.tags['a"><b'] == "<c>"
