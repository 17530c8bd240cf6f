from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from cmcr_cli.scene.pixels.masks_of_files import mask_bands, open_validity, usable_nodata

if TYPE_CHECKING:
    from tests.support.rasters import Write

PIXELS = np.full((4, 20, 30), 700, np.uint16)


def test_masks_are_known_by_their_names(write: Write) -> None:
    path = write("s2.tif", PIXELS, descriptions=("B02", "dataMask", "cloud mask", "Valid pixels"))
    with rasterio.open(path) as dataset:
        assert mask_bands(dataset) == (2, 4)


def test_alpha_is_a_mask_where_it_looks_like_one(write: Write) -> None:
    for last, expected in ((np.uint16(65535), (4,)), (np.arange(30, dtype=np.uint16), ())):
        pixels = PIXELS.copy()
        pixels[3] = last
        path = write("s2.tif", pixels)
        with rasterio.open(path, "r+") as dataset:
            dataset.colorinterp = (*[ColorInterp.gray] * 3, ColorInterp.alpha)
        with rasterio.open(path) as dataset:
            assert mask_bands(dataset) == expected


def test_all_that_says_where_pixels_are_valid_is_gathered(write: Write) -> None:
    pixels = PIXELS.copy()
    pixels[3, :, :10] = 0
    path = write("s2.tif", pixels, descriptions=("B02", "B03", "B04", "dataMask"), nodata=65535)
    window = Window(5, 0, 10, 20)
    with rasterio.open(path) as dataset, open_validity(dataset, ("B02",), (1,), 0) as validity:
        dn = validity.cleaned(dataset.read([1], window=window), window, [0])
        assert (dn[0] == 0).all(axis=0).tolist() == [True] * 5 + [False] * 5
        assert (validity.fill, validity.empty, validity.never) == (0, (65535.0,), ((65535.0,),))
        assert validity.never_filled(0) is False


def test_nodata_that_pixels_cannot_hold_is_none() -> None:
    assert usable_nodata(-9999, "uint16") == usable_nodata(None, "int16") == 0
    assert usable_nodata(-9999, "int16") == -9999
    assert usable_nodata(float("nan"), "float32") == 0
