from __future__ import annotations

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.windows import Window

from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.pixels.warped import MARGIN, warped_windows, window_around

UTM = CRS.from_epsg(32631)
OWN = Grid(UTM, Affine(20, 0, 600000, 0, -20, 5900040), 50, 40)


def part(left: int, top: int, width: int = 10, height: int = 6) -> Grid:
    """A grid of 10 m within OWN, from a pixel of OWN on."""
    return Grid(UTM, Affine(10, 0, 600000 + 20 * left, 0, -10, 5900040 - 20 * top), width, height)


def test_pixels_around_a_grid() -> None:
    assert window_around(part(20, 15), OWN) == Window(
        20 - MARGIN, 15 - MARGIN, 5 + 2 * MARGIN, 3 + 2 * MARGIN
    )
    assert window_around(part(0, 0), OWN) == Window(0, 0, 5 + MARGIN, 3 + MARGIN)
    assert window_around(part(-20, 0), OWN) is None


def test_windows_are_those_of_the_whole_warp() -> None:
    """Whatever is left out is not mixed into its neighbours, and beyond the image there is nothing."""
    pixels = np.random.default_rng(0).integers(100, 200, (2, 40, 50)).astype(np.float32)
    pixels[:, 10:20, :25] = -1
    asked = []

    def read(window: Window, bands: object) -> np.ndarray:
        asked.append(window)
        rows, columns = window.toslices()
        return pixels[list(bands), rows, columns]  # type: ignore[call-overload]

    target = part(-2, 2, 108, 70)
    warped = warped_windows(read, OWN, target, fill=-1, resampling=Resampling.bilinear, unified=False)
    whole = warped(Window(0, 0, 108, 70), (0, 1))
    assert np.array_equal(warped(Window(30, 12, 20, 9), (1,))[0], whole[1, 12:21, 30:50])
    assert asked[-1].width < 20 / 2 + 2 * MARGIN + 2, "no more is read than is needed"
    assert (whole[:, :, :4] == -1).all() and (whole[:, 20:32, 8:50] == -1).all()
    shown = whole[whole != -1]
    assert shown.min() >= 100 and shown.max() < 200
