from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from cmcr_cli.errors import OptionError, OutputError
from cmcr_cli.output.files import folder_of
from cmcr_cli.scene.bands import BANDS, RADAR_BANDS
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.references.dates import Moment, taken
from cmcr_cli.simulate import SimulatedScene, simulate_scene, simulate_window
from cmcr_cli.simulate.clouds import CLEAR, CLOUD, SHADOW, THIN
from cmcr_cli.simulate.noise import Window
from cmcr_cli.simulate.palette import draw_recipe
from cmcr_cli.simulate.seasons import draw_dates
from cmcr_cli.simulate.surface import simulate_optical

FIELDS = ("truth", "cloudy", "radar", "opacity", "shadow", "mask")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> SimulatedScene:
    return simulate_scene(tmp_path_factory.mktemp("scene"), size=560, seed=3)


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
    window = simulate_window(seed, 512, 512, 128, 128, 0.5)
    for name in FIELDS:
        values = getattr(window, name)
        assert values.dtype == (np.uint8 if name == "mask" else np.float32)
        assert np.isfinite(values).all()
    assert window.truth.shape == window.cloudy.shape == (13, 128, 128)
    assert window.radar.shape == (2, 128, 128)
    assert window.truth.min() >= 0
    assert window.truth.max() < 1.5
    assert window.cloudy.min() >= 0
    assert 0 <= window.opacity.min() <= window.opacity.max() <= 1
    assert 0 <= window.shadow.min() <= window.shadow.max() <= 1


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


def test_files_hold_the_scene(scene: SimulatedScene) -> None:
    window = simulate_window(3, 440, 450, 110, 105)  # where tiles meet
    with rasterio.open(scene.s2) as s2, rasterio.open(scene.truth) as truth:
        assert s2.descriptions == truth.descriptions == BANDS
        assert s2.dtypes[0] == truth.dtypes[0] == "uint16"
        assert (s2.width, s2.height, s2.res) == (560, 560, (10.0, 10.0))
        assert s2.crs.is_projected and 32601 <= s2.crs.to_epsg() <= 32760
        assert s2.compression.name == "zstd" and s2.block_shapes[0] == (512, 512)
        grid = s2.crs, s2.transform, s2.shape
        for dataset, pixels in ((s2, window.cloudy), (truth, window.truth)):
            found = dataset.read(window=((440, 550), (450, 555)))
            np.testing.assert_array_equal(found, np.maximum(np.rint(pixels * np.float32(10_000)), 1))
            assert dataset.read_masks(1).all()
    with rasterio.open(scene.s1) as s1, rasterio.open(scene.mask) as mask:
        assert s1.descriptions == RADAR_BANDS and s1.dtypes == ("float32", "float32")
        np.testing.assert_array_equal(s1.read(window=((440, 550), (450, 555))), window.radar)
        np.testing.assert_array_equal(mask.read(1, window=((440, 550), (450, 555))), window.mask)
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
            assert after.tags() == before.tags()
    found = [time for path in (series.s2, *(date.s2 for date in series.dates)) if (time := _time(path))]
    assert [(found[0] - time).days for time in found[1:]] == [date.days for date in series.dates]
    for date, drawn, time in zip(series.dates, draw_dates(22, 2), found[1:], strict=True):
        assert taken({}, str(date.s2)) == time
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


def _time(path: Path) -> Moment | None:
    with rasterio.open(path) as dataset:
        return taken(dataset.tags(), "")


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


def test_an_old_scene_that_a_killed_run_moved_aside_returns(tmp_path: Path) -> None:
    scene = simulate_scene(tmp_path, size=8, seed=1)
    before = {path.name: path.read_bytes() for path in scene.files}
    for path in scene.files[:2]:
        folder_of(path).mkdir()
        path.rename(folder_of(path) / "old")
    with pytest.raises(OutputError, match="exist already"):
        simulate_scene(tmp_path, size=8, seed=2)
    assert {path.name: path.read_bytes() for path in scene.files} == before
