from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.warp import transform

from cmcr_cli.errors import OutputError
from cmcr_cli.output.catalogue.cover import Cover
from cmcr_cli.output.provenance import NODATA, OBSERVED, RECONSTRUCTED
from cmcr_cli.removal import RemoveOptions
from cmcr_cli.removal.opening.session import open_session
from cmcr_cli.removal.restore.second_pass import FinishedStrip
from cmcr_cli.removal.results.outputs import open_outputs
from cmcr_cli.scene.span import Span

HEIGHT, WIDTH = 40, 30
COVER = Cover.of(HEIGHT * WIDTH, HEIGHT * WIDTH, (20 * WIDTH, 0, 0), 0, 0, kinds=True)
Options = Callable[..., RemoveOptions]


@pytest.fixture
def small(make_scene: Callable[..., Any], options: Options) -> Options:
    files = make_scene(HEIGHT, WIDTH)
    return lambda **changes: options(s2=str(files.s2), s1=None, mask="all", **changes)


def strips(before: NDArray[Any]) -> list[FinishedStrip]:
    """The lower half is reconstructed: it is 7 DN brighter."""
    provenance = np.full((HEIGHT, WIDTH), OBSERVED, np.uint8)
    provenance[20:] = RECONSTRUCTED
    after = before + np.uint16(7) * (provenance == RECONSTRUCTED).astype(np.uint16)
    spans = Span(0, 16), Span(16, 24), Span(24, HEIGHT)
    return [
        FinishedStrip(each, before[:, s], after[:, s], provenance[s], None)
        for each, s in ((each, slice(each.start, each.stop)) for each in spans)
    ]


def read(path: Path | None) -> NDArray[Any]:
    assert path is not None
    with rasterio.open(path) as file:
        pixels: NDArray[Any] = file.read()
    return pixels


def test_strips_become_rasters_with_the_tags_of_the_run(small: Options) -> None:
    chosen = small(seed=5)
    with open_session(chosen) as session:
        before = session.optical.read(0, HEIGHT)
        with open_outputs(session) as outputs:
            assert outputs.finished == 0 and not chosen.output.exists()
            for strip in strips(before):
                outputs.write(strip)
            outputs.finish(COVER)
    image, which = read(chosen.output), read(chosen.provenance)[0]
    assert np.array_equal(image[:, :20], before[:, :20]) and np.array_equal(image[:, 20:], before[:, 20:] + 7)
    assert (which[:20] == OBSERVED).all() and (which[20:] == RECONSTRUCTED).all()
    with rasterio.open(chosen.output) as file:
        tags = file.tags()
    assert (tags["CMCR_SEED"], tags["CMCR_S1"], tags["CMCR_S2"]) == ("5", "none", "s2.tif")
    assert "CMCR_AREA" not in tags and tags["CMCR_COVER"] == COVER.tag()


def test_of_an_area_only_its_pixels_are_written(small: Options) -> None:
    with open_session(small()) as session:
        grid = session.optical.grid
        corners = [grid.transform @ corner for corner in ((5, 30), (15, 10))]
        (west, east), (south, north) = transform(grid.crs, "EPSG:4326", *zip(*corners, strict=True))
    chosen = small(bbox=(west, south, east, north))
    with open_session(chosen) as session, open_outputs(session) as outputs:
        area = session.area
        assert area is not None
        before = session.optical.read(0, HEIGHT)
        for strip in strips(before):
            outputs.write(strip)
        outputs.finish(COVER)
    rows = slice(area.top, area.top + area.grid.height)
    columns = slice(area.left, area.left + area.grid.width)
    image, which = read(chosen.output), read(chosen.provenance)[0]
    inside = which != NODATA
    assert image.shape[1:] == which.shape == (area.grid.height, area.grid.width) and inside.mean() > 0.5
    expected = strips(before)
    after = np.concatenate([strip.after for strip in expected if strip.after is not None], axis=1)
    assert np.array_equal(image[:, inside], after[:, rows, columns][:, inside])
    assert not image[:, ~inside].any()


def test_reconstructed_pixels_are_counted_by_the_reference_that_counts_most(small: Options) -> None:
    """Each once, and none of what is observed; here no reference counts."""
    with open_session(small()) as session, open_outputs(session) as outputs:
        for strip in strips(session.optical.read(0, HEIGHT)):
            outputs.write(replace(strip, source=np.zeros(strip.provenance.shape, np.uint8)))
        assert outputs.sources.tolist() == [20 * WIDTH]
        outputs.finish(COVER)


def test_two_runs_do_not_write_the_same(small: Options, tmp_path: Path) -> None:
    with open_session(small()) as session, pytest.raises(KeyboardInterrupt), open_outputs(session):
        with pytest.raises(OutputError, match="another run is writing it"), open_outputs(session):
            pass
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
