from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmcr_cli.errors import OptionError
from cmcr_cli.ground import cirrus
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.simulate import add_clouds, simulate_scene, simulate_window
from cmcr_cli.simulate.clouds import CLEAR, CLOUD, DARK, FAINTEST, OPAQUE, SHADOW, THIN, simulate_sky
from cmcr_cli.simulate.noise import Window
from cmcr_cli.simulate.palette import draw_recipe


@pytest.mark.parametrize("cover", [0.1, 0.5, 0.9])
def test_cover_is_as_asked(cover: float) -> None:
    """Of 1024 x 1024 pixels, by 16 windows that are spread over them."""

    def covered(seed: int) -> float:
        windows = (Window(row, col, 120, 120) for row in range(0, 1024, 256) for col in range(0, 1024, 256))
        return float(np.mean([simulate_sky(seed, cover, each).opacity >= FAINTEST for each in windows]))

    assert [covered(seed) for seed in (1, 4)] == pytest.approx([cover, cover], abs=0.1)


def test_cover_at_its_ends() -> None:
    clear = simulate_window(1, 0, 0, 100, 100, 0).truth
    cloudy, opacity, shadow, mask = add_clouds(clear, 1, 0.0)
    np.testing.assert_array_equal(cloudy, clear)
    assert not opacity.any() and not shadow.any() and (mask == CLEAR).all()
    assert (add_clouds(clear, 1, 1.0)[1] >= FAINTEST).mean() > 0.98
    with pytest.raises(OptionError, match="--cloud-cover"):
        add_clouds(clear, 1, 1.2)


def test_mask_says_what_was_done_to_the_pixel() -> None:
    window = simulate_window(4, 0, 0, 240, 240, 0.4)
    assert set(np.unique(window.mask)) == {CLEAR, CLOUD, THIN, SHADOW}
    np.testing.assert_array_equal(window.mask == CLOUD, window.opacity >= OPAQUE)
    np.testing.assert_array_equal(
        window.mask == THIN, (window.opacity < OPAQUE) & (window.opacity >= FAINTEST)
    )
    np.testing.assert_array_equal(
        window.mask == SHADOW, (window.opacity < FAINTEST) & (window.shadow >= DARK)
    )
    blue, infrared, cirrus = (BANDS.index(name) for name in ("B02", "B08", "B10"))
    clear, cloud, shadow = (window.mask == value for value in (CLEAR, CLOUD, SHADOW))
    assert window.cloudy[blue][cloud].mean() > 2 * window.truth[blue][cloud].mean()
    assert window.cloudy[infrared][shadow].mean() < 0.75 * window.truth[infrared][shadow].mean()
    darkening = [(window.cloudy[band] / window.truth[band])[shadow].mean() for band in (blue, infrared)]
    assert darkening[0] > darkening[1]
    assert np.abs(window.cloudy - window.truth)[:10][:, clear].mean() < 0.01
    assert window.cloudy[cirrus][cloud].max() > window.truth[cirrus].max()


def test_shadows_lie_away_from_the_sun() -> None:
    seed = next(seed for seed in range(100) if _only(seed) == "cumulus")
    window = simulate_sky(seed, 0.25, Window(0, 0, 512, 512))
    azimuth = draw_recipe(seed).sun_azimuth
    cloud, shadow = window.opacity - window.opacity.mean(), window.shadow - window.shadow.mean()
    match = np.fft.irfft2(np.fft.rfft2(shadow) * np.conj(np.fft.rfft2(cloud)), s=cloud.shape)
    down, right = np.unravel_index(match.argmax(), match.shape)
    down, right = (int(value) - 512 * (value > 256) for value in (down, right))
    distance = np.hypot(down, right)
    assert 20 < distance < 260
    assert (down, right) == pytest.approx(
        (distance * np.cos(azimuth), -distance * np.sin(azimuth)), abs=0.06 * distance + 2
    )


@pytest.mark.parametrize("seed", [0, 6])
def test_shadows_lie_away_from_the_sun_that_the_scene_states(seed: int, tmp_path: Path) -> None:
    """Cumuli and their shadows match best along the direction, and not against it or beside it."""
    assert _only(seed) == "cumulus"
    with open_optical(simulate_scene(tmp_path, size=24, seed=seed).s2) as optical:
        assert optical.sun is not None
        rows, columns = optical.sun.direction(optical.grid)
    window = simulate_sky(seed, 0.25, Window(0, 0, 512, 512))
    cloud, shadow = window.opacity - window.opacity.mean(), window.shadow - window.shadow.mean()
    # match[d] is high where the cloud lies d away from its shadow
    match = np.fft.irfft2(np.fft.rfft2(cloud) * np.conj(np.fft.rfft2(shadow)), s=cloud.shape)

    def best(turn: float) -> float:
        """Highest match between 20 and 150 pixels from the shadow, `turn` degrees off the direction."""
        cos, sin = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
        far = np.arange(20, 150)
        down = np.rint(far * (rows * cos - columns * sin)).astype(int)
        right = np.rint(far * (rows * sin + columns * cos)).astype(int)
        return float(match[down, right].max())

    towards = best(0)
    assert towards > 2 * best(180)
    assert all(towards > best(turn) for turn in (-20, 20, -90, 90))
    assert max(range(-20, 21, 2), key=best) == pytest.approx(0, abs=4)


@pytest.mark.parametrize("seed", [8, 49, 62])
def test_b10_shows_cirrus_as_it_does_in_real_images(seed: int) -> None:
    assert _only(seed) == "cirrus"
    clear = simulate_window(seed, 0, 0, 256, 256, 0).truth
    clear[cirrus.B10] = cirrus.GROUND
    cloudy, opacity, shadow, _ = add_clouds(clear, seed, 0.25)
    thin = (opacity > 0.03) & (opacity < 0.4) & (shadow == 0)
    added = np.median((cloudy - clear * (1 - opacity))[:, thin], axis=1)
    visible, near, short = added[1], added[BANDS.index("B8A")], added[BANDS.index("B11")]
    assert 1.2 < visible / np.median((cloudy - clear)[cirrus.B10, thin]) < 1.8
    assert near / visible == pytest.approx(cirrus.SPECTRUM[BANDS.index("B8A")], rel=0.1)
    assert short / visible == pytest.approx(cirrus.SPECTRUM[BANDS.index("B11")], rel=0.15)
    error = [np.abs(image - clear)[:9, thin].mean() for image in (cloudy, cirrus.without_cirrus(cloudy))]
    assert error[1] < 0.7 * error[0]


def _only(seed: int) -> str:
    """The kind of a sky of one layer."""
    from cmcr_cli.simulate import clouds

    layers = clouds._draw_layers(seed, 0.25)
    names = {id(kind): name for name, kind in clouds._KINDS.items()}
    return names[id(layers[0].kind)] if len(layers) == 1 else ""
