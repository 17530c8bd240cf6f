from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio

from cmcr_cli.errors import RadiometryError
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.layers.stack_layers import Layers, find_layers

if TYPE_CHECKING:
    from tests.support.rasters import Write


def layers(write: Write, texts: tuple[str, ...], bands: tuple[str, ...] | None = None) -> Layers:
    """Layers of a file whose bands have these descriptions."""
    pixels = np.random.default_rng(1).integers(300, 4000, (len(texts), 16, 16)).astype(np.uint16)
    with rasterio.open(write("s2.tif", pixels, descriptions=texts)) as dataset:
        return find_layers(dataset, "s2.tif", bands=bands)


def test_bands_by_their_names_whatever_else_is_there(write: Write) -> None:
    found = layers(write, (*BANDS[::-1], "SCL", "dataMask"))
    assert (found.names, found.indexes) == (BANDS[::-1], tuple(range(1, 14)))
    assert (found.scl, found.guessed) == (14, False)
    (warning,) = found.warnings
    assert "'SCL' in its layers: not a band of Sentinel-2" in str(warning) and "--mask scl" in str(warning)


def test_the_option_wins_and_leaves_layers_out(write: Write) -> None:
    found = layers(write, ("",) * 14, ("-", *BANDS))
    assert (found.names, found.indexes, found.warnings) == (BANDS, tuple(range(2, 15)), ())


@pytest.mark.parametrize(
    ("texts", "bands", "message"),
    [
        (("",) * 7, None, "has 7 bands without names; expected 13"),
        ((*BANDS[:12], "thermal"), None, "'thermal' is not known as a band of Sentinel-2"),
        ((*BANDS[:12], "B02"), None, "B02"),
        (BANDS, BANDS[:5], "has 13 bands, but --bands names 5"),
        (("SCL", "CLD"), None, "is reflectance; expected bands of Sentinel-2"),
    ],
)
def test_what_is_not_known_is_refused(
    write: Write, texts: tuple[str, ...], bands: tuple[str, ...] | None, message: str
) -> None:
    with pytest.raises(RadiometryError, match=message):
        layers(write, texts, bands)
