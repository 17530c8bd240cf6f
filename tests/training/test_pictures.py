from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from cmcr_cli.scene.bands import BANDS
from cmcr_cli.training.pictures import SIDE, grey, true_colour, write_panels


def test_true_colour_shows_red_as_red_with_the_stretch_of_the_reference() -> None:
    image = np.zeros((13, 40, 40), np.float32)
    image[BANDS.index("B04"), :, :20] = 0.3
    same, brighter = true_colour([image, 3 * image], image)
    assert same.shape == (3, 40, 40)
    assert (same[0, :, :20] == 1).all() and not same[0, :, 20:].any() and not same[1:].any()
    np.testing.assert_array_equal(brighter, same)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_panels_stand_side_by_side_whatever_their_size(tmp_path: Path) -> None:
    white, half = grey(np.ones((300, 300), np.float32)), grey(np.full((64, 32), 0.5, np.float32))
    path = tmp_path / "samples" / "8.png"
    write_panels(path, [[white, half], [half, white]])
    with rasterio.open(path) as file:
        picture = file.read()
    assert picture.shape == (3, 2 * SIDE, 2 * SIDE)
    assert (picture[:, :SIDE, :SIDE] == 255).all()
    corner = picture[:, :SIDE, SIDE:]
    assert (corner[:, :64, :32] == 128).all()
    assert not corner[:, 64:].any() and not corner[:, :, 32:].any()
    assert [item.name for item in path.parent.iterdir()] == ["8.png"]
