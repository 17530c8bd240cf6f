from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from cmcr_cli.ground.ground import Ground
from cmcr_cli.ground.references import Expected
from cmcr_cli.ground.spectral_basis import MARGIN
from cmcr_cli.removal.restore import expected
from cmcr_cli.removal.restore.expected import Expectation
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.removal.survey.reference_rows import OtherDate, ReferenceReader
from cmcr_cli.scene.optical import Optical, open_optical
from cmcr_cli.scene.span import Span

HEIGHT, WIDTH = 150, 141


class Places:
    """In place of fitted references: each pixel is told its own row and column."""

    def evaluate(
        self, context: Any, top: int, left: int, height: int, width: int, radar: Any, valid: Any, views: Any
    ) -> Expected:
        assert top % 2 == left % 2 == height % 2 == width % 2 == 0 and radar is valid is None
        assert all(view.clear.shape == (height + 2 * MARGIN, width + 2 * MARGIN) for view in views)
        rows, columns = np.mgrid[top : top + height, left : left + width].astype(np.float32)
        spectrum = np.broadcast_to(rows, (13, *rows.shape)).copy()
        return Expected(spectrum, columns, (columns % 2).astype(np.uint8), np.full_like(rows, 0.5))


@pytest.fixture(scope="module")
def files(make_scene: Callable[..., Any]) -> Any:
    return make_scene(HEIGHT, WIDTH)


@pytest.fixture
def optical(files: Any) -> Iterator[Optical]:
    with open_optical(files.s2) as optical:
        yield optical


@pytest.mark.parametrize("columns", [32, 512])
def test_every_pixel_is_where_it_belongs(
    optical: Optical, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expected, "COLUMNS", columns)
    cloud_map = CloudMap.empty(optical.grid)
    reader = ReferenceReader(optical, None, cloud_map, [OtherDate(optical, cloud_map)])
    down, across = reader.phase
    assert down or across, "or the test says less"
    numbers, context = np.array([0, 7], np.uint8), Ground.unknown(np.ones(13, bool)).context
    todo = [[], [-30, 100]]
    of = Expectation(reader, Places(), numbers, context, todo, map).of  # type: ignore[arg-type]
    for start, size in ((0, HEIGHT), (3, 97), (91, 59)):
        found, source = of(1, Span(start, start + size), None)
        assert found.shape == (15, size, WIDTH) and found.dtype == np.float16
        assert source.shape == (size, WIDTH) and source.dtype == np.uint8
        rows, places = np.arange(start, start + size) + down, np.arange(WIDTH) + across
        np.testing.assert_array_equal(found[:13], np.broadcast_to(rows[:, None], (13, size, WIDTH)))
        np.testing.assert_array_equal(found[13], np.broadcast_to(places, (size, WIDTH)))
        assert (found[14] == 0.5).all()
        np.testing.assert_array_equal(source, np.broadcast_to(numbers[places % 2], (size, WIDTH)))


def test_nothing_is_read_where_no_patch_needs_it(optical: Optical, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud_map = CloudMap.empty(optical.grid)
    reader = ReferenceReader(optical, None, cloud_map, [])
    monkeypatch.setattr(ReferenceReader, "rows", None)
    numbers, context = np.zeros(1, np.uint8), Ground.unknown(np.ones(13, bool)).context
    found, source = Expectation(reader, Places(), numbers, context, [[]], map).of(0, Span(0, 20), None)  # type: ignore[arg-type]
    assert found.shape == (15, 20, WIDTH) and not found.any() and not source.any()


def test_only_the_columns_of_patches_are_expected(optical: Optical, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected, "COLUMNS", 32)
    monkeypatch.setattr(expected, "PATCH", 40)
    cloud_map = CloudMap.empty(optical.grid)
    reader = ReferenceReader(optical, None, cloud_map, [])
    numbers, context = np.array([0, 1], np.uint8), Ground.unknown(np.ones(13, bool)).context
    found, _ = Expectation(reader, Places(), numbers, context, [[70]], map).of(0, Span(0, 20), None)  # type: ignore[arg-type]
    shown = found[14].any(axis=0)
    assert shown[70:110].all() and not shown[:60].any() and not shown[130:].any()


def test_what_two_strips_share_is_predicted_once(optical: Optical) -> None:
    """The last windows of a strip are the first of the next, wherever both need them."""
    cloud_map = CloudMap.empty(optical.grid)
    reader = ReferenceReader(optical, None, cloud_map, [OtherDate(optical, cloud_map)])
    asked: list[int] = []

    class Counted(Places):
        def evaluate(self, context: Any, top: int, *others: Any) -> Expected:
            asked.append(top)
            return super().evaluate(context, top, *others)

    numbers, context = np.array([0, 7], np.uint8), Ground.unknown(np.ones(13, bool)).context
    down = reader.phase[0]
    first, second = Span(0, 96 - down), Span(64 - down, 128 - down)
    of = Expectation(reader, Counted(), numbers, context, [[0], [0]], map).of  # type: ignore[arg-type]
    both = [of(number, span, None) for number, span in enumerate((first, second))]
    assert asked == [0, 32, 64, 96]
    fresh = Expectation(reader, Places(), numbers, context, [[0], [0]], map).of(1, second, None)  # type: ignore[arg-type]
    for found, known in zip(both[1], fresh, strict=True):
        np.testing.assert_array_equal(found, known)
