from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from cmcr_cli.scene.bands import BANDS
from cmcr_cli.simulate import simulate_window
from cmcr_cli.simulate.noise import Window
from cmcr_cli.simulate.palette import draw_recipe
from cmcr_cli.simulate.surface import simulate_ground


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_band_means_lie_near_those_of_real_clear_images(shared_data: Path) -> None:
    real = []
    for path in sorted((shared_data / "triplets").glob("*/s2_clear.tif")):
        with rasterio.open(path) as dataset:
            real.append(dataset.read().mean(axis=(1, 2)) / 10_000)
    seeds = [seed for seed in range(40) if draw_recipe(seed).snow == 0][:16]
    simulated = [simulate_window(seed, 0, 0, 128, 128, 0).truth.mean(axis=(1, 2)) for seed in seeds]
    ratio = np.mean(simulated, axis=0) / np.mean(real, axis=0)
    assert np.abs(np.log(ratio)).max() < np.log(1.7), dict(zip(BANDS, ratio.round(2), strict=True))


def test_coarse_bands_have_coarse_pixels() -> None:
    window = simulate_window(9, 6, 12, 120, 120, 0.4)
    for image in (window.truth, window.cloudy - window.truth):
        assert np.ptp(image[BANDS.index("B05")].reshape(60, 2, 60, 2), axis=(1, 3)).max() < 1e-6
        assert np.ptp(image[BANDS.index("B01")].reshape(20, 6, 20, 6), axis=(1, 3)).max() < 1e-6
        assert np.ptp(image[BANDS.index("B03")].reshape(60, 2, 60, 2), axis=(1, 3)).mean() > 1e-3


def test_speckle_is_that_of_grd() -> None:
    seed = next(seed for seed in range(200) if draw_recipe(seed).lakes > 0.03 and draw_recipe(seed).snow == 0)
    truth, radar = simulate_ground(seed, Window(832, 384, 192, 192))  # around a lake
    water = truth[BANDS.index("B11")] < 0.006
    blocks = water.reshape(12, 16, 12, 16).swapaxes(1, 2).all(axis=(2, 3))
    assert blocks.sum() > 10
    for channel, level in enumerate((-20, -27.5)):
        power = 10 ** (radar[channel] / 10)
        tiles = power.reshape(12, 16, 12, 16).swapaxes(1, 2)[blocks].reshape(blocks.sum(), -1)
        looks = np.median(tiles.mean(axis=1) ** 2 / tiles.var(axis=1))
        assert 3.5 < looks < 6
        assert 10 * np.log10(tiles.mean()) == pytest.approx(level, abs=2.5)
