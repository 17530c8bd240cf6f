from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from cmcr_cli.errors import OutputError
from cmcr_cli.output.quicklook import LARGEST, SEPARATOR, SMALLEST, Quicklook, caption_height


def _panels(path: Path) -> list[NDArray[np.int64]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            assert dataset.driver == "PNG"
            assert dataset.count == 3
            picture = dataset.read().astype(int)
    width = (picture.shape[2] - 2 * SEPARATOR) // 3
    strip = caption_height(width)
    white = (picture[:, :strip] == 255).mean(axis=(0, 1))
    assert (picture[0, :strip] == picture[2, :strip]).all(), "captions are grey"
    assert white.mean() > 0.7 and (white[-width // 4 :] == 1).all()
    if width > 500:
        assert all((white[i * (width + SEPARATOR) :][: width // 3] < 1).any() for i in range(3)), "letters"
    return [picture[:, strip:, i * (width + SEPARATOR) :][:, :, :width] for i in range(3)]


def _scene(height: int, width: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.uint8]]:
    """Ground from dark to light, green; a cloud on the left half of the image before; nodata below."""
    after = np.linspace(0.02, 0.2, width, dtype=np.float32) * np.ones((3, height, 1), dtype=np.float32)
    after[1] *= 1.2
    before = after.copy()
    before[:, :, : width // 2] = 0.8
    provenance = np.ones((height, width), dtype=np.uint8)
    provenance[:, : width // 2] = 2
    provenance[-1] = 0
    return before, after, provenance


def _draw(
    path: Path, before: NDArray[Any], after: NDArray[Any], provenance: NDArray[Any], rows: int = 99
) -> None:
    height, width = provenance.shape
    quicklook = Quicklook(width, height)
    for top in range(0, height, rows):
        strip = slice(top, top + rows)
        quicklook.add(top, before[:, strip], after[:, strip], provenance[strip])
    quicklook.write(path)


def test_three_panels_say_what_was_done(tmp_path: Path) -> None:
    path = tmp_path / "look é.png"
    _draw(path, *_scene(600, 600))
    before, after, changed = _panels(path)
    assert before.shape == after.shape == changed.shape == (3, 600, 600)
    assert (before[:, :-1, :300] == 255).all(), "cloud clips to white"
    np.testing.assert_array_equal(before[:, :, 300:], after[:, :, 300:])
    assert (after[1, :-1, 300] > after[0, :-1, 300]).all(), "green ground is green"
    assert (np.diff(after[0, 0, 10:-10]) >= 0).all()
    red, _, blue = changed[:, :-1]
    assert (red[:, :300] > blue[:, :300] + 30).all(), "reconstructed pixels are tinted"
    np.testing.assert_array_equal(red[:, 300:], blue[:, 300:])
    for panel in (before, after, changed):
        assert (panel[:, -1] < 40).all(), "nodata is dark"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_large_scenes_are_averaged_and_strips_do_not_matter(tmp_path: Path) -> None:
    scene = _scene(1100, 2500)
    provenance = scene[2]
    provenance[:] = 1
    provenance[0, 0] = 0
    _draw(tmp_path / "a.png", *scene, rows=1100)
    _draw(tmp_path / "b.png", *scene, rows=37)
    panels = _panels(tmp_path / "a.png")
    for one, other in zip(panels, _panels(tmp_path / "b.png"), strict=True):
        np.testing.assert_allclose(one, other, atol=1)
    assert panels[0].shape == (3, 367, 834)
    assert max(panels[0].shape) <= LARGEST
    assert panels[0][0, 0, 0] == 255, "nodata is left out of a cell's mean"


def test_partly_reconstructed_cells_are_partly_tinted(tmp_path: Path) -> None:
    before, after, provenance = _scene(4 * LARGEST, 8)
    provenance[:] = 1
    provenance[:, 0] = 2
    provenance[:, 4:] = 2
    _draw(tmp_path / "a.png", before, after, provenance)
    changed = _panels(tmp_path / "a.png")[2]
    excess = changed[0, 100] - changed[2, 100]
    assert 0 < excess[0] < excess[1]


def test_small_scenes_are_enlarged(tmp_path: Path) -> None:
    _draw(tmp_path / "a.png", *_scene(60, 100))
    panels = _panels(tmp_path / "a.png")
    assert panels[0].shape == (3, 60 * (SMALLEST // 100), 100 * (SMALLEST // 100))


@pytest.mark.parametrize("provenance", [0, 1])
def test_flat_and_empty_scenes_can_be_drawn(tmp_path: Path, provenance: int) -> None:
    flat = np.full((3, 1, 1), 0.1, dtype=np.float32)
    _draw(tmp_path / "a.png", flat, flat, np.full((1, 1), provenance, dtype=np.uint8))
    assert len(_panels(tmp_path / "a.png")) == 3


def test_a_folder_that_is_not_there_is_an_output_error(tmp_path: Path) -> None:
    quicklook = Quicklook(10, 10)
    with pytest.raises(OutputError):
        quicklook.write(tmp_path / "none" / "a.png")


def test_what_a_reference_helped_with_is_blue_and_the_rest_orange(tmp_path: Path) -> None:
    before, after, provenance = _scene(40, 60)
    provenance[:, :15] = 3
    path = tmp_path / "look.png"
    _draw(path, before, after, provenance, rows=7)
    changed = _panels(path)[2]
    each = changed.shape[2] // 60
    red, _, blue = changed[:, each * 5, :]
    assert (blue[: 15 * each] > red[: 15 * each]).all()
    assert (red[15 * each : 30 * each] > blue[15 * each : 30 * each]).all()
    assert (red[30 * each :] == blue[30 * each :]).all()
