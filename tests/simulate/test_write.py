from __future__ import annotations

import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from cmcr_cli.errors import OptionError, OutputError
from cmcr_cli.ground import cirrus
from cmcr_cli.output.files import folder_of
from cmcr_cli.output.stac_item import time_of
from cmcr_cli.scene.bands import BANDS, RADAR_BANDS
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.simulate import SimulatedScene, add_clouds, simulate_scene, simulate_window
from cmcr_cli.simulate.clouds import CLEAR, CLOUD, DARK, OPAQUE, SHADOW, THIN, VISIBLE
from cmcr_cli.simulate.noise import Window, fbm, key_of, octave, octave_at, voronoi
from cmcr_cli.simulate.palette import draw_recipe
from cmcr_cli.simulate.seasons import draw_dates
from cmcr_cli.simulate.surface import simulate_optical

FIELDS = ("truth", "cloudy", "radar", "opacity", "shadow", "mask")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> SimulatedScene:
    return simulate_scene(tmp_path_factory.mktemp("scene"), size=700, seed=3)


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**31), top=st.integers(-50, 9000), left=st.integers(-50, 9000),
    row=st.integers(0, 80), col=st.integers(0, 80), height=st.integers(1, 40), width=st.integers(1, 40),
    cover=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
)  # fmt: skip
def test_a_crop_is_the_same_pixels_computed_alone(
    seed: int, top: int, left: int, row: int, col: int, height: int, width: int, cover: float
) -> None:
    whole = simulate_window(seed, top, left, 120, 120, cover)
    alone = simulate_window(seed, top + row, left + col, height, width, cover)
    for name in FIELDS:
        crop = getattr(whole, name)[..., row : row + height, col : col + width]
        np.testing.assert_array_equal(getattr(alone, name), crop, err_msg=name)


def test_the_seed_decides() -> None:
    first, again, other = (simulate_window(seed, 0, 0, 60, 60) for seed in (5, 5, 6))
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert np.abs(first.truth - other.truth).mean() > 0.005


@pytest.mark.parametrize("seed", range(6))
def test_values_are_those_of_a_real_scene(seed: int) -> None:
    window = simulate_window(seed, 512, 512, 256, 256, 0.5)
    for name in FIELDS:
        values = getattr(window, name)
        assert values.dtype == (np.uint8 if name == "mask" else np.float32)
        assert np.isfinite(values).all()
    assert window.truth.shape == window.cloudy.shape == (13, 256, 256)
    assert window.radar.shape == (2, 256, 256)
    assert window.truth.min() >= 0
    assert window.truth.max() < 1.5
    assert window.cloudy.min() >= 0
    assert 0 <= window.opacity.min() <= window.opacity.max() <= 1
    assert 0 <= window.shadow.min() <= window.shadow.max() <= 1


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


@pytest.mark.parametrize("cover", [0.1, 0.5, 0.9])
def test_cover_is_as_asked(cover: float) -> None:
    clear = np.full((13, 1024, 1024), 0.1, dtype=np.float32)
    covered = [float((add_clouds(clear, seed, cover)[1] >= VISIBLE).mean()) for seed in (1, 4)]
    assert covered == pytest.approx([cover, cover], abs=0.1)


def test_cover_at_its_ends() -> None:
    clear = simulate_window(1, 0, 0, 100, 100, 0).truth
    cloudy, opacity, shadow, mask = add_clouds(clear, 1, 0.0)
    np.testing.assert_array_equal(cloudy, clear)
    assert not opacity.any() and not shadow.any() and (mask == CLEAR).all()
    assert (add_clouds(clear, 1, 1.0)[1] >= VISIBLE).mean() > 0.98
    with pytest.raises(OptionError, match="--cloud-cover"):
        add_clouds(clear, 1, 1.2)


def test_mask_says_what_was_done_to_the_pixel() -> None:
    window = simulate_window(3, 0, 0, 512, 512, 0.4)
    assert set(np.unique(window.mask)) == {CLEAR, CLOUD, THIN, SHADOW}
    np.testing.assert_array_equal(window.mask == CLOUD, window.opacity >= OPAQUE)
    np.testing.assert_array_equal(
        window.mask == THIN, (window.opacity < OPAQUE) & (window.opacity >= VISIBLE)
    )
    np.testing.assert_array_equal(window.mask == SHADOW, (window.opacity < VISIBLE) & (window.shadow >= DARK))
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
    window = simulate_window(seed, 0, 0, 512, 512, 0.25)
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


@pytest.mark.parametrize("seed", [0, 6, 7, 25, 109])
def test_a_scene_says_where_its_sun_stands(seed: int, tmp_path: Path) -> None:
    """Counted from true north, which lies up to 1.6 degrees off the top of these images."""
    recipe = draw_recipe(seed)
    with open_optical(simulate_scene(tmp_path, size=24, seed=seed).s2) as optical:
        assert optical.sun is not None
        assert optical.sun.elevation == pytest.approx(90 - np.rad2deg(recipe.sun_zenith), abs=1e-3)
        assert optical.sun.direction(optical.grid) == pytest.approx(
            (-np.cos(recipe.sun_azimuth), np.sin(recipe.sun_azimuth)), abs=1e-5
        )
        left, top, _, _ = optical.grid.corners
        to_map = pyproj.Proj(optical.grid.crs.to_wkt())
        convergence = to_map.get_factors(*to_map(left, top, inverse=True)).meridian_convergence
        assert optical.sun.azimuth == pytest.approx(np.rad2deg(recipe.sun_azimuth) + convergence, abs=0.01)


@pytest.mark.parametrize("seed", [0, 6])
def test_shadows_lie_away_from_the_sun_that_the_scene_states(seed: int, tmp_path: Path) -> None:
    """Cumuli and their shadows match best along the direction, and not against it or beside it."""
    assert _only(seed) == "cumulus"
    size = 512
    with open_optical(simulate_scene(tmp_path, size=size, seed=seed, cloud_cover=0.25).s2) as optical:
        assert optical.sun is not None
        rows, columns = optical.sun.direction(optical.grid)
    window = simulate_window(seed, 0, 0, size, size, 0.25)
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
    clear = simulate_window(seed, 0, 0, 256, 256, 0).truth.copy()
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


def test_speckle_is_that_of_grd() -> None:
    seed = next(seed for seed in range(200) if draw_recipe(seed).lakes > 0.03 and draw_recipe(seed).snow == 0)
    window = simulate_window(seed, 0, 0, 1024, 1024, 0)
    water = window.truth[BANDS.index("B11")] < 0.006
    blocks = water.reshape(64, 16, 64, 16).swapaxes(1, 2).all(axis=(2, 3))
    assert blocks.sum() > 10
    for channel, level in enumerate((-20, -27.5)):
        power = 10 ** (window.radar[channel] / 10)
        tiles = power.reshape(64, 16, 64, 16).swapaxes(1, 2)[blocks].reshape(blocks.sum(), -1)
        looks = np.median(tiles.mean(axis=1) ** 2 / tiles.var(axis=1))
        assert 3.5 < looks < 6
        assert 10 * np.log10(tiles.mean()) == pytest.approx(level, abs=2.5)


def test_files_hold_the_scene(scene: SimulatedScene) -> None:
    window = simulate_window(3, 300, 400, 250, 260)
    with rasterio.open(scene.s2) as s2, rasterio.open(scene.truth) as truth:
        assert s2.descriptions == truth.descriptions == BANDS
        assert s2.dtypes[0] == truth.dtypes[0] == "uint16"
        assert (s2.width, s2.height, s2.res) == (700, 700, (10.0, 10.0))
        assert s2.crs.is_projected and 32601 <= s2.crs.to_epsg() <= 32760
        assert s2.compression.name == "zstd" and s2.block_shapes[0] == (512, 512)
        grid = s2.crs, s2.transform, s2.shape
        for dataset, pixels in ((s2, window.cloudy), (truth, window.truth)):
            found = dataset.read(window=((300, 550), (400, 660)))
            np.testing.assert_array_equal(found, np.maximum(np.rint(pixels * np.float32(10_000)), 1))
            assert dataset.read_masks(1).all()
    with rasterio.open(scene.s1) as s1, rasterio.open(scene.mask) as mask:
        assert s1.descriptions == RADAR_BANDS and s1.dtypes == ("float32", "float32")
        np.testing.assert_array_equal(s1.read(window=((300, 550), (400, 660))), window.radar)
        np.testing.assert_array_equal(mask.read(1, window=((300, 550), (400, 660))), window.mask)
        assert mask.dtypes == ("uint8",)
        for dataset in (s1, mask):
            assert (dataset.crs, dataset.transform, dataset.shape) == grid


def test_earlier_dates_lie_beside_the_same_scene(tmp_path: Path) -> None:
    plain = simulate_scene(tmp_path / "plain", size=120, seed=22)
    shares: list[float] = []
    series = simulate_scene(tmp_path / "series", size=120, seed=22, dates=2, progress=shares.append)
    assert plain.dates == () and shares == sorted(shares) and shares[-1] == 1
    for name in ("s2", "s1", "truth", "mask"):
        with rasterio.open(getattr(plain, name)) as before, rasterio.open(getattr(series, name)) as after:
            np.testing.assert_array_equal(before.read(), after.read())
            added = {"PRODUCT_START_TIME"} if name in ("s2", "truth") else set()
            assert after.tags().keys() - before.tags().keys() == added
    found = [time for path in (series.s2, *(date.s2 for date in series.dates)) if (time := _time(path))]
    assert [(found[0] - time).days for time in found[1:]] == [date.days for date in series.dates]
    for date, drawn, time in zip(series.dates, draw_dates(22, 2), found[1:], strict=True):
        assert time_of({}, str(date.s2)) == time
        assert (date.s2.parent.name, date.mask.parent.name) == ("dates", "masks")
        clear = simulate_optical(22, Window(0, 0, 120, 120), drawn) * np.float32(10_000)
        with (
            rasterio.open(date.s2) as s2,
            rasterio.open(date.mask) as mask,
            rasterio.open(series.s2) as scene,
        ):
            assert (s2.crs, s2.transform, s2.descriptions) == (scene.crs, scene.transform, scene.descriptions)
            assert (mask.transform, mask.dtypes) == (scene.transform, ("uint8",))
            codes, pixels = mask.read(1), s2.read()
        assert set(np.unique(codes)) <= {CLEAR, CLOUD, THIN, SHADOW}
        seen, cloud = codes == CLEAR, codes == CLOUD
        assert seen.any() and cloud.any()
        change = np.abs(pixels[3] - clear[3])
        assert change[seen].mean() < 0.2 * clear[3].mean() < clear[3].mean() < change[cloud].mean()


def _time(path: Path) -> datetime | None:
    with rasterio.open(path) as dataset:
        return time_of(dataset.tags(), "")


def test_dates_of_another_scene_are_not_mixed_in(tmp_path: Path) -> None:
    first = simulate_scene(tmp_path, size=10, seed=1, dates=1)
    kept = {path: path.read_bytes() for path in first.files}
    with pytest.raises(OutputError, match="exist already"):
        simulate_scene(tmp_path, size=10, seed=1, dates=1)
    for dates in (0, 1):
        with pytest.raises(OutputError, match=f"holds {first.dates[0].s2.name}"):
            simulate_scene(tmp_path, size=10, seed=2, dates=dates, overwrite=True)
    assert {path: path.read_bytes() for path in first.files} == kept
    assert simulate_scene(tmp_path, size=10, seed=1, dates=2, overwrite=True).dates[0] == first.dates[0]


def test_a_folder_that_holds_a_scene_is_kept(scene: SimulatedScene) -> None:
    folder = scene.s2.parent
    before = scene.s2.read_bytes()
    with pytest.raises(OutputError, match="--overwrite"):
        simulate_scene(folder, size=20, seed=1)
    assert scene.s2.read_bytes() == before
    assert {path.name for path in folder.iterdir()} == {"s2.tif", "s1.tif", "truth.tif", "mask.tif"}


def test_overwrite_progress_and_tiny_scenes(tmp_path: Path) -> None:
    shares: list[float] = []
    for size in (5, 1):
        paths = simulate_scene(tmp_path, size=size, seed=size, overwrite=True, progress=shares.append)
        with rasterio.open(paths.s2) as dataset:
            assert dataset.shape == (size, size)
    assert shares == [1.0, 1.0]
    assert all(a <= b for a, b in pairwise(shares))


@pytest.mark.parametrize(("size", "cover"), [(0, 0.4), (-3, 0.4), (10, -0.1), (10, 1.1), (10, float("nan"))])
def test_options_out_of_range_leave_nothing_behind(tmp_path: Path, size: int, cover: float) -> None:
    with pytest.raises(OptionError, match="expected"):
        simulate_scene(tmp_path / "new", size=size, seed=1, cloud_cover=cover)
    assert not (tmp_path / "new").exists()


def test_an_output_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        simulate_scene(tmp_path / "file", size=10, seed=1)


def test_noise_has_zero_mean_and_unit_variance() -> None:
    window = Window(0, 0, 1000, 1000)
    for values in (octave(key_of(1, "a"), window, 12.0), fbm(key_of(1, "b"), window, 40.0, 5)):
        assert values.mean() == pytest.approx(0, abs=0.03)
        assert values.std() == pytest.approx(1, abs=0.1)
    rows, cols = np.mgrid[0:600, 0:600] / 12.0
    assert octave_at(key_of(1, "c"), rows, cols).std() == pytest.approx(1, abs=0.1)


def test_voronoi_borders_lie_between_cells() -> None:
    y, x = (axis.astype(np.float32) for axis in np.mgrid[0:200, 0:200])
    cells = voronoi(key_of(2, "cells"), y, x, 25.0)
    border = cells.keys[:, 1:] != cells.keys[:, :-1]
    near = np.minimum(cells.edge[:, 1:], cells.edge[:, :-1])
    assert near[border].max() <= 1
    assert cells.edge.min() >= 0
    same = border & (near < 0.3)
    assert (cells.edge_keys[:, 1:] == cells.edge_keys[:, :-1])[same].mean() > 0.9


def test_time_of_a_training_window(capsys: pytest.CaptureFixture[str]) -> None:
    simulate_window(0, 0, 0, 256, 256)
    start = time.perf_counter()
    for seed in range(1, 9):
        simulate_window(seed, 0, 0, 256, 256)
    with capsys.disabled():
        print(f" [a 256x256 window takes {(time.perf_counter() - start) / 8 * 1e3:.0f} ms]", end="")


def test_an_old_scene_that_a_killed_run_moved_aside_returns(tmp_path: Path) -> None:
    scene = simulate_scene(tmp_path, size=8, seed=1)
    before = {path.name: path.read_bytes() for path in scene.files}
    for path in scene.files[:2]:
        folder_of(path).mkdir()
        path.rename(folder_of(path) / "old")
    with pytest.raises(OutputError, match="exist already"):
        simulate_scene(tmp_path, size=8, seed=2)
    assert {path.name: path.read_bytes() for path in scene.files} == before
