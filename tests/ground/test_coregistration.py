from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.ground.coregistration import (
    EDGE_BANDS,
    SEARCH,
    Alignment,
    _correlation,
    _peak,
    _smoothed,
    measure_alignment,
    optical_layer,
    radar_layer,
)
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.radar import open_radar
from cmcr_cli.scene.raster import open_raster
from cmcr_cli.simulate import simulate_window

if TYPE_CHECKING:
    from tests.support.rasters import Write

Measure = Callable[..., Alignment | None]


@pytest.fixture
def measure(write: Write) -> Measure:
    """Measure a pair in memory, DN (13, H, W) and dB (2, H, W); `covered` (H, W) is left out."""

    def measure_pair(dn: NDArray[Any], db: NDArray[Any], covered: NDArray[np.bool_] | None = None) -> Any:
        paths = write("s2.tif", dn), write("s1.tif", db.astype(np.float32))
        hidden = np.zeros(dn.shape[1:], bool) if covered is None else covered
        with open_optical(paths[0]) as optical, open_radar(paths[1], optical.grid) as radar:
            image = optical_layer(
                optical,
                EDGE_BANDS,
                lambda top, rows: optical.valid(rows) & ~hidden[top : top + rows.shape[1]],
            )
            return measure_alignment(optical.grid, image, radar_layer(radar))

    return measure_pair


@pytest.fixture(scope="module")
def pair() -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    scene = simulate_window(5, 0, 0, 560, 540, 0)
    return np.rint(scene.truth * 10_000).astype(np.uint16), scene.radar


@given(down=st.integers(-SEARCH + 2, SEARCH - 2), right=st.integers(-SEARCH + 2, SEARCH - 2))
@settings(max_examples=25, deadline=None)
def test_any_shift_that_is_searched_for_is_found(down: int, right: int) -> None:
    """The image itself as radar, rolled over: to a quarter of a pixel."""
    ground = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(160, 150)), 2)
    image = np.tile(0.2 + 2 * ground, (2, 1, 1)).astype(np.float32)
    db = np.roll(np.tile(-12 + 40 * ground, (2, 1, 1)), (down, right), (1, 2)).astype(np.float32)
    everywhere = np.ones(ground.shape, bool)
    surface, pixels = _correlation(image, everywhere, db, everywhere, (1.5, 2.0))
    assert _peak(surface) == pytest.approx((down, right), abs=0.25) and pixels > 0


@pytest.mark.parametrize(("height", "width"), [(256, 256), (101, 130)])
def test_what_is_smoothed_on_means_is_as_good(height: int, width: int) -> None:
    values = (np.random.default_rng(1).random((height, width)) > 0.5).astype(np.float32)
    values[height // 2 :, : width // 3] = 0
    found = _smoothed(values, 12)
    assert found.shape == (height, width)
    np.testing.assert_allclose(found, ndimage.gaussian_filter(values, 12), atol=0.02)


def test_pair_that_is_aligned(measure: Measure, pair: Any) -> None:
    found = measure(*pair)
    assert found is not None and found.metres < 5 and found.windows >= 4


@pytest.mark.parametrize(("rows", "cols"), [(0, 6), (-5, 3), (7, -8)])
def test_shift_is_measured(measure: Measure, pair: Any, rows: int, cols: int) -> None:
    dn, db = pair
    found = measure(dn, np.roll(db, (rows, cols), (1, 2)))
    assert found is not None
    assert found.east == pytest.approx(10 * cols, abs=5) and found.north == pytest.approx(-10 * rows, abs=5)
    ahead = "east" if cols > 0 else "west"
    assert f"{ahead} and" in found.describe()


def test_clouds_do_not_count(measure: Measure, pair: Any) -> None:
    """Clouds cover half of the image and of a radar that shows them, elsewhere."""
    dn, db = (array.copy() for array in pair)
    covered = np.zeros(dn.shape[1:], bool)
    covered[:, 100:200] = covered[150:280] = True
    texture = np.random.default_rng(0).normal(0, 1, covered.shape)
    dn[:, covered] = 6000 + 500 * texture[covered]
    db[:, np.roll(covered, 9, 1)] = -5 + np.roll(texture, 9, 1)[np.roll(covered, 9, 1)]
    found = measure(dn, db, covered)
    assert found is not None and found.metres < 8


def test_what_cannot_be_measured(measure: Measure, pair: Any) -> None:
    dn, db = pair
    noise = np.random.default_rng(0).normal(-12, 2, db.shape)
    assert measure(dn, noise) is None
    assert measure(dn, db, np.ones(dn.shape[1:], bool)) is None
    assert measure(np.full_like(dn, 1500), db) is None
    assert measure(dn[:, :40, :40], db[:, :40, :40]) is None


def test_swath_border_is_no_edge(measure: Measure, pair: Any) -> None:
    dn, db = (array.copy() for array in pair)
    db[:, :, 300:] = 0
    dn[:, :, 380:] = 0
    found = measure(dn, db)
    assert found is not None and found.metres < 8


def test_real_pairs(measure: Measure, shared_data: Path) -> None:
    dn, db = [], []
    for name in ("oriolac_00316", "oriolac_04287", "oriolac_04438", "oriolac_06553"):
        with open_raster(shared_data / f"triplets/{name}/s2_clear.tif", "an image") as file:
            dn.append(file.read().astype(np.uint16))
        with open_raster(shared_data / f"triplets/{name}/s1.tif", "its radar") as file:
            db.append(file.read())
    for shift in ((0, 0), (4, -6)):
        rolled = [np.roll(image, shift, (1, 2)) for image in db]
        found = measure(np.concatenate(dn, axis=1), np.concatenate(rolled, axis=1))
        assert found is not None
        assert np.hypot(found.east - 10 * shift[1], found.north + 10 * shift[0]) < 10
