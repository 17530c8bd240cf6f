from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from cmcr_cli.ground.cirrus import TYPICAL_RATIO
from cmcr_cli.ground.radar_basis import MARGIN as RADAR_MARGIN
from cmcr_cli.ground.spectral_basis import MARGIN
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.removal.survey.reference_rows import AT_ONCE, OtherDate, ReferenceReader, few_at_once
from cmcr_cli.scene.masks.mask_codes import THICK
from cmcr_cli.scene.optical import Optical, open_optical
from cmcr_cli.scene.radar import open_radar

HEIGHT, WIDTH = 70, 61


def test_never_more_than_a_few_results_wait() -> None:
    asked: list[int] = []

    def each(work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        asked.append(len(items))
        return map(work, items)

    assert list(few_at_once(each, lambda item: item * 2, range(11))) == list(range(0, 22, 2))
    assert sum(asked) == 11 and max(asked) <= AT_ONCE


@pytest.fixture(scope="module")
def files(make_scene: Callable[..., Any]) -> Any:
    """A scene whose cells begin a pixel before it, in both directions."""
    return make_scene(HEIGHT, WIDTH)


@pytest.fixture
def optical(files: Any) -> Iterator[Optical]:
    with open_optical(files.s2) as optical:
        yield optical


def cloudy(optical: Optical, rows: slice, columns: slice) -> CloudMap:
    found, classes = CloudMap.empty(optical.grid), np.zeros((HEIGHT, WIDTH), np.uint8)
    classes[rows, columns] = THICK
    found.mark(0, classes)
    return found


def test_the_scene_begins_where_its_cells_begin(optical: Optical) -> None:
    """What is beyond its edges is not clear, nor is what its map covers."""
    covered = cloudy(optical, slice(21, 31), slice(31, 41))
    reader = ReferenceReader(optical, None, covered, [])
    down, across = reader.phase
    assert (down, across) == covered.phase and (reader.height, reader.width) == (
        HEIGHT + down,
        WIDTH + across,
    )
    dn, clear = reader.scene(0, 40)
    assert dn.shape == (13, 40, reader.width) and clear.shape == (40, reader.width)
    np.testing.assert_array_equal(dn[:, down:, across:], optical.read(0, 40 - down))
    assert not clear[:down].any() and not clear[:, :across].any()
    np.testing.assert_array_equal(clear[down:, across:], covered.pixels(0, 40 - down) == 0)


def test_references_come_with_a_margin_that_is_mirrored_at_the_edges(optical: Optical) -> None:
    hidden = cloudy(optical, slice(3, 5), slice(5, 9))
    reader = ReferenceReader(optical, None, CloudMap.empty(optical.grid), [OtherDate(optical, hidden)])
    down, across = reader.phase
    rows = reader.rows(0, 20)
    (view,) = rows.views(0, 30)
    assert (
        view.image.shape == (13, 20 + 2 * MARGIN, 30 + 2 * MARGIN)
        and view.clear.shape == view.image.shape[1:]
    )
    inner = view.image[:, MARGIN + down : -MARGIN, MARGIN + across : -MARGIN]
    np.testing.assert_array_equal(inner, optical.reflectance(optical.read(0, 20 - down))[..., : 30 - across])
    assert not view.clear[MARGIN + down + 3, MARGIN + across + 5] and view.clear[MARGIN + 15, MARGIN + 15]
    (other,) = reader.rows(0, 40).views(10, 20)
    np.testing.assert_array_equal(
        other.image[:, : 20 + MARGIN], view.image[:, : 20 + MARGIN, 10 : 30 + 2 * MARGIN]
    )


def test_radar_comes_with_its_own_margin(optical: Optical, files: Any) -> None:
    cloud_map = CloudMap.empty(optical.grid)
    assert ReferenceReader(optical, None, cloud_map, []).rows(0, 20).around(0, 30) == (None, None)
    with open_radar(files.s1, optical.grid) as radar:
        rows = ReferenceReader(optical, radar, cloud_map, []).rows(2, 20)
        db, valid = rows.around(4, 30)
        assert db is not None and valid is not None and valid.shape == db.shape[1:]
        assert db.shape == (2, 20 + 2 * RADAR_MARGIN, 30 + 2 * RADAR_MARGIN)
        down, across = cloud_map.phase
        expected, _ = radar.read(2 - down, 20)
        inner = slice(RADAR_MARGIN, -RADAR_MARGIN)
        np.testing.assert_array_equal(db[:, inner, inner], expected[..., 4 - across : 34 - across])


def test_only_windows_in_which_anything_is_clear_are_looked_at(optical: Optical) -> None:
    reader = ReferenceReader(
        optical, None, CloudMap.empty(optical.grid), [OtherDate(optical, CloudMap.empty(optical.grid))]
    )
    rows = reader.rows(0, 20)
    dn, clear = reader.scene(0, 20)
    assert reader.seen(rows, dn, np.zeros_like(clear), 0, TYPICAL_RATIO, 1) is None
    found = reader.seen(rows, dn, clear, 0, TYPICAL_RATIO, 1)
    assert found is not None and (found.top, found.left, found.radar) == (0, 0, None)
    assert found.image.shape[1:] == found.clear.shape == (20, reader.width // 2 * 2)
    assert len(found.looks) == len(found.trusted) == 1
