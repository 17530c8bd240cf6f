from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from torch import Tensor

from cmcr_cli.ground import cirrus
from cmcr_cli.ground.context import WHOLE
from cmcr_cli.ground.ground import Ground
from cmcr_cli.ground.unmixing import NOTHING
from cmcr_cli.model.cloud_network import FAR_MARGIN, SQUARE, SUN_REACH, CloudNetwork
from cmcr_cli.model.weights import default_path, load
from cmcr_cli.removal.survey import detection, tiles
from cmcr_cli.removal.survey.cloud_map import CELL, CIRRUS, CLOUD, CloudMap
from cmcr_cli.removal.survey.first_pass import Survey, survey
from cmcr_cli.removal.survey.learning import strips
from cmcr_cli.removal.survey.mask_sources import MaskSource, NetworkMask, NoMask, RasterMask
from cmcr_cli.removal.survey.tiles import TileRow
from cmcr_cli.scene.bands import present
from cmcr_cli.scene.masks.mask_codes import CLEAR, SHADOW, THICK, THIN
from cmcr_cli.scene.masks.mask_raster import open_mask
from cmcr_cli.scene.optical import Optical, open_optical
from cmcr_cli.scene.radar import open_radar
from cmcr_cli.scene.span import Span
from tests.support.removals import Plain


@pytest.fixture
def clouds() -> CloudNetwork:
    """The released one: an untrained network would find everything or nothing."""
    return load(default_path()).clouds.eval()


def surveyed(files: Any, mask: CloudNetwork | str | None, *, learn: bool = False) -> Survey:
    with (
        open_optical(files.s2) as optical,
        open_radar(files.s1, optical.grid) as radar,
        contextlib.ExitStack() as stack,
    ):
        source: MaskSource = NoMask(optical)
        if isinstance(mask, str):
            raster = stack.enter_context(open_mask(mask, optical.grid, codes="cmcr"))
            source = RasterMask(optical, raster.read)
        elif mask is not None:
            source = NetworkMask(optical, mask)
        return survey(optical, radar, source, learn=learn)


def test_network_finds_the_same_cover_in_a_crop(make_scene: Callable[..., Any], clouds: CloudNetwork) -> None:
    # These scenes do not tell where the sun stands, so the network does not look along its line.
    top, left, edge = 40, 52, (FAR_MARGIN - SUN_REACH * SQUARE) * CELL
    whole = surveyed(make_scene(640, 600), clouds).cloud_map.pixels(0, 640) > 0
    crop = surveyed(make_scene(560, 500, top, left), clouds).cloud_map.pixels(0, 560) > 0
    inside = (slice(edge, 560 - edge), slice(edge, 500 - edge))
    assert np.array_equal(crop[inside], whole[top : top + 560, left : left + 500][inside])
    assert 0.02 < whole[top:-top, left:-left].mean() < 0.98


def test_tiles_meet_without_a_trace(
    make_scene: Callable[..., Any], clouds: CloudNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = make_scene(300, 280)
    large = surveyed(files, clouds).cloud_map.cells(0, 150)
    for place in (tiles, detection):
        monkeypatch.setattr(place, "SIDE", 64)
    monkeypatch.setattr(detection, "WIDE", 64)
    small = surveyed(files, clouds).cloud_map.cells(0, 150)
    # Edges of the scene are reflected alike; only rounding in the network may tell the two apart.
    assert (large != small).mean() < 1e-3


def test_shares_count_valid_pixels_only(make_scene: Callable[..., Any]) -> None:
    files = make_scene(200, 160, nodata=0)
    found = surveyed(files, None)
    assert found.cover.valid == pytest.approx(0.75) and found.cover.covered == 1
    assert found.cover.thick_cloud is None and found.cover.edge == 0, "nobody says what covers the ground"
    raster = surveyed(files, str(files.mask))
    assert 0 < raster.cover.covered < 1 and not raster.ground.context.field.any()


@pytest.mark.parametrize("keep_clear", [True, False])
@pytest.mark.parametrize("dilate", [0, 3])
def test_shares_are_those_of_the_pixels(
    dilate: float, keep_clear: bool, make_scene: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the tiles are, though what is replaced in a row depends on those below it."""
    files = make_scene(150, 120, nodata=0)
    monkeypatch.setattr(tiles, "SIDE", 32)
    with (
        open_optical(files.s2) as optical,
        open_mask(files.mask, optical.grid, dilate=dilate, codes="cmcr") as mask,
    ):
        source = RasterMask(optical, mask.read, found=mask.undilated if dilate else None)
        found = survey(optical, None, source, learn=False, keep_clear=keep_clear)
        valid = optical.valid(optical.read(0, 150))
        before = mask.undilated(0, 150) if dilate else found.cloud_map.classes(0, 150)
    classes, replaced = found.cloud_map.classes(0, 150), found.cloud_map.strength(0, 150) > 0
    if not keep_clear:
        replaced[:] = True
    cover = found.cover
    for share, pixels in (
        (cover.thick_cloud, (classes == THICK) & (before != CLEAR)),
        (cover.thin_cloud, (classes == THIN) & (before != CLEAR)),
        (cover.shadow, (classes == SHADOW) & (before != CLEAR)),
        (cover.dilated, (classes != CLEAR) & (before == CLEAR)),
        (cover.covered, classes != CLEAR),
        (cover.edge, (classes == CLEAR) & replaced),
        (cover.reconstructed, replaced),
        (cover.observed, ~replaced),
    ):
        assert share == pytest.approx(pixels[valid].mean(), abs=1e-12)
    assert cover.valid == valid.mean() and (cover.dilated > 0) == (dilate > 0)


def test_context_learns_from_clear_ground(make_scene: Callable[..., Any]) -> None:
    files = make_scene(300, 280)
    found = surveyed(files, str(files.mask), learn=True)
    with open_optical(files.s2) as optical:
        seen = optical.radiometry.reflectance(optical.read(0, 300))
    clear = found.cloud_map.pixels(0, 300) == 0
    np.testing.assert_allclose(found.ground.context.mean, seen[:, clear].mean(axis=1), rtol=0.15, atol=0.003)


class Shaded(NoMask):
    """All is in shadow; what a network says about the upper part, it doubts."""

    def __init__(self, optical: Optical, lit: int) -> None:
        super().__init__(optical)
        self._lit = lit

    def mark(self, cloud_map: CloudMap, tiles: TileRow, cirrus_ratio: np.float32) -> None:
        cloud_map.mark(tiles.core.start, np.full((tiles.core.size, cloud_map.width), SHADOW, np.uint8))

    def doubtful(self, cloud_map: CloudMap, rows: Span) -> NDArray[np.uint8]:
        lit = np.arange(rows.start, rows.stop)[:, None] < np.full(cloud_map.width, self._lit)
        return (WHOLE * lit).astype(np.uint8)


def test_context_learns_from_doubtful_shadow_where_nothing_is_clear(make_scene: Callable[..., Any]) -> None:
    files = make_scene(700, 280, nodata=0)
    found = []
    with open_optical(files.s2) as optical, open_radar(files.s1, optical.grid) as radar:
        dn = optical.read(0, 700)
        unknown = Ground.unknown(present(optical.names))
        for lit in (0, 600):
            found.append(survey(optical, radar, Shaded(optical, lit)).ground.context)
        seen = optical.reflectance(dn)[:, :600][:, optical.valid(dn)[:600]].mean(axis=1)
    assert np.abs(found[0].mean - unknown.context.mean).max() < 0.1  # that of the prior
    np.testing.assert_allclose(found[1].mean, seen, rtol=0.02, atol=1e-3)


def test_doubt_is_kept_row_of_tiles_by_row_of_tiles(
    make_scene: Callable[..., Any], clouds: CloudNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = make_scene(300, 280)

    def kept() -> NDArray[np.uint8]:
        with open_optical(files.s2) as optical:
            mask, cloud_map, rows = NetworkMask(optical, clouds), CloudMap.empty(optical.grid), []
            mask.begin(map, lambda done: None)
            for row in tiles.tile_rows(optical, mask.above, mask.below):
                mask.mark(cloud_map, row, cirrus.TYPICAL_RATIO)
                rows += [mask.doubtful(cloud_map, span) for span in strips(row.core, cloud_map.phase[0])]
            shadow = cloud_map.classes(0, 300) == SHADOW
        doubt = np.concatenate(rows)
        assert doubt.shape == (300, 280) and not doubt[~shadow].any() and doubt.any()
        return doubt

    whole = kept()
    for place in (tiles, detection):
        monkeypatch.setattr(place, "SIDE", 64)
    assert (np.abs(kept().astype(int) - whole) > 1).mean() < 1e-3


@pytest.fixture
def under_cirrus(make_scene: Callable[..., Any]) -> tuple[Any, Any]:
    """A scene, and the same scene under cirrus that adds 0.05 to the visible."""
    plain, under = make_scene(300, 280), make_scene(300, 280)
    with rasterio.open(plain.s2) as file:
        image = file.read() / 10_000
    added = 0.05 * cirrus.SPECTRUM[:, None, None]
    image = image * (1 - added / cirrus.WHITE) + added
    image[cirrus.B10] += 0.05 / cirrus.TYPICAL_RATIO
    with rasterio.open(under.s2, "r+") as file:
        file.write(np.rint(image * 10_000).astype(np.uint16))
    return plain, under


@pytest.mark.parametrize(
    ("added", "expected"),
    [(0.005, CLOUD), (0.03, CIRRUS), (0.07, CIRRUS), (0.1, CLOUD)],
    ids=["too thin to be seen", "thin cirrus", "hardly thin", "no longer thin"],
)
def test_thin_cloud_that_b10_shows_is_learnt_through(
    added: float, expected: int, make_scene: Callable[..., Any], tmp_path: Path
) -> None:
    """By the network, and by a mask that says the same."""
    files = make_scene(90, 81)
    image = np.full((13, 90, 81), 0.2, np.float32)
    image[1], image[3, :30], image[3, 60:] = 0.15, 0.3, 0.14
    image[cirrus.B10] = cirrus.GROUND + added / cirrus.TYPICAL_RATIO
    with rasterio.open(files.s2, "r+") as file:
        file.write(np.rint(image * 10_000).astype(np.uint16))
    with rasterio.open(files.mask) as file:
        profile = file.profile
    cover = surveyed(files, Plain()).cloud_map
    assert (cover.pixels(0, 28) == CLOUD).all() and not cover.pixels(64, 26).any()
    assert (cover.classes(32, 26) == THIN).all() and (cover.classes(0, 28) == THICK).all()
    assert (cover.pixels(32, 26) == expected).all()
    with rasterio.open(tmp_path / "mask.tif", "w", **profile) as file:
        file.write(cover.classes(0, 90), 1)
    assert np.array_equal(surveyed(files, str(tmp_path / "mask.tif")).cloud_map.planes, cover.planes)


def test_thin_cloud_is_not_learnt_through_where_the_image_has_no_b10(make_scene: Callable[..., Any]) -> None:
    files = make_scene(60, 51)
    with rasterio.open(files.s2) as file:
        profile, dn, names = file.profile, file.read(), file.descriptions
    dn[3] = 2000
    kept = [n for n in range(13) if n != cirrus.B10]
    with rasterio.open(files.s2, "w", **profile | {"count": 12}) as file:
        file.write(dn[kept])
        file.descriptions = [names[n] for n in kept]
    cover = surveyed(files, Plain()).cloud_map
    assert (cover.classes(0, 60) == THIN).all() and (cover.pixels(0, 60) == CLOUD).all()


def test_under_cirrus_alone_all_is_restored_and_learnt_from(under_cirrus: tuple[Any, Any]) -> None:
    class Cirrus(Plain):
        """Finds the clouds, and cirrus wherever it finds none."""

        def look_near(self, optical: Tensor, present: Tensor, far: Tensor) -> Tensor:
            logits = super().look_near(optical, present, far)
            logits[:, CLEAR] -= 5
            logits[:, THIN] += 5
            return logits

    under = surveyed(under_cirrus[1], Cirrus(), learn=True)
    pixels = under.cloud_map.pixels(0, 300)
    assert (pixels > 0).all(), "cirrus that B10 shows is subtracted everywhere"
    assert 0.2 < (pixels == CIRRUS).mean() < 0.9, "below the clouds there is cirrus too"
    assert 0.9 < float(under.ground.cirrus_ratio / cirrus.TYPICAL_RATIO) < 1.1
    found, _ = under.ground.context.evaluate(0, 0, 300, 280, None, None)
    assert found[:9].std() > 0, "no clear cell, and yet a context of the scene's own"


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (16, 1), (1, 30), (2, 2), (10, 12)])
@pytest.mark.parametrize("learn", [False, True])
def test_scenes_of_a_few_pixels(height: int, width: int, learn: bool, make_scene: Callable[..., Any]) -> None:
    files = make_scene(height, width)
    for mask in (Plain(), None, str(files.mask)):
        found = surveyed(files, mask, learn=learn)
        assert found.cover.valid == 1 and 0 <= found.cover.covered <= 1
        assert found.cloud_map.classes(0, height).shape == (height, width)


def test_the_unmixing_is_learnt_where_the_scene_is_covered(make_scene: Callable[..., Any]) -> None:
    files = make_scene(300, 280)
    found = surveyed(files, str(files.mask), learn=True).ground.unmixing
    assert found.shape == NOTHING.shape and np.isfinite(found).all() and found.any()
    assert not surveyed(files, str(files.mask)).ground.unmixing.any(), "nothing is learnt without context"


def test_context_learns_the_ground_without_the_cirrus_above_it(under_cirrus: tuple[Any, Any]) -> None:
    plain, under = (surveyed(files, str(files.mask), learn=True).ground.context for files in under_cirrus)
    others = np.arange(13) != cirrus.B10
    np.testing.assert_allclose(under.mean[others], plain.mean[others], rtol=0.02, atol=1e-3)
