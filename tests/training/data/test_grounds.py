from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmcr_cli.errors import InputError
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.simulate import simulate_window
from cmcr_cli.training.data import gathered, grounds
from cmcr_cli.training.data.images import ClearImage
from cmcr_cli.training.data.labels import LabelledImage, fold_of, labelled_images
from cmcr_cli.training.data.library import Library, load_library


def tile(value: float, place: str = "here", *, radar: bool = False) -> ClearImage:
    optical = np.full((13, 64, 64), value, np.float32)
    return ClearImage(optical, np.ones(13, bool), optical[:2] - 10 if radar else None, place)


def test_four_tiles_of_a_place_make_an_image() -> None:
    made = list(grounds.mosaics([*(tile(n) for n in range(5)), tile(9, "there", radar=True)]))
    assert [image.place for image in made] == ["here", "here", "there"]
    for image in made:
        assert image.optical.shape == (13, 128, 128)
    corners = made[0].optical[0, ::64, ::64]
    np.testing.assert_array_equal(corners, [[0, 1], [2, 3]])
    np.testing.assert_array_equal(made[1].optical[0, ::64, ::64], [[4, 0], [1, 2]])
    assert made[0].radar is None
    assert made[2].radar is not None and made[2].radar.shape == (2, 128, 128)


@pytest.mark.parametrize(
    ("network", "covered", "verdict", "expected"),
    [
        (0, 0, None, True),
        (4, 0, None, True),  # snow
        (255, 0, None, True),
        (2, 0, None, False),
        (0, 1, None, False),
        (2, 1, "clear", True),  # as seen by eye
        (0, 0, "thin", False),
    ],
)
def test_labels_say_whether_an_image_is_clear(
    network: int, covered: int, verdict: str | None, expected: bool
) -> None:
    masks = [np.zeros((20, 20), np.uint8) for _ in range(2)]
    masks[0][:5], masks[1][:5] = network, covered
    image = LabelledImage(
        "a_000", "a", "L1C", "a", np.zeros((13, 20, 20), np.float32), np.ones(13, bool), *masks, None, verdict
    )  # type: ignore[arg-type]
    assert grounds.is_clear(image) is expected


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A series of a clear date and a cloudy one with all bands, and twelve small places."""
    (tmp_path / "optical").mkdir()
    dates = [simulate_window(7, 0, 0, 128, 128, cover) for cover in (0.0, 0.0, 0.0, 0.8)]
    np.savez(
        tmp_path / "optical" / "meadow.npz",
        s2=np.stack([(d.cloudy * 10_000).astype(np.uint16) for d in dates]),
        s2_present=np.ones(13, bool),
        s2_dates=["2020-06-01", "2020-06-11", "2020-06-21", "2020-07-01"],
    )
    ground = simulate_window(8, 0, 0, 64, 64).truth
    np.savez(
        tmp_path / "optical" / "eurosat_12.npz",
        s2=np.stack([(ground * 10_000).astype(np.uint16)] * 12),
        s2_present=np.ones(13, bool),
        place_id=np.arange(12),
    )
    return tmp_path


def test_places_that_are_no_series_are_all_taken(folder: Path) -> None:
    places, _ = grounds.training_images(folder)
    sizes = {images[0].place: [image.optical.shape[1] for image in images] for images in places}
    assert sizes == {"meadow": [128] * 3, "eurosat_0": [128] * 3, "eurosat_1": [128]}


def test_clouds_are_cut_from_the_cloudy_dates_of_series(folder: Path) -> None:
    (pair,) = grounds.training_images(folder)[1]
    assert pair.lifted and pair.place == "meadow"
    assert (pair.opacity > 0.3).mean() > 0.1
    assert not list(gathered.cloudy_dates(folder / "optical" / "eurosat_12.npz", {}))


def test_a_fold_is_left_out(folder: Path) -> None:
    names = {"meadow", "eurosat_0", "eurosat_1"}
    for fold in (1, 2, 3):
        places, clouds = grounds.training_images(folder, fold)
        assert {images[0].place for images in places} == {n for n in names if fold_of(n) != fold}
        assert len(clouds) == (fold_of("meadow") != fold)


def test_labels_decide_over_brightness(folder: Path) -> None:
    path = folder / "optical" / "meadow.npz"
    names = [name for name, _ in gathered.chosen(path, {"meadow_000": False, "meadow_003": True})]
    assert names == ["meadow_001", "meadow_002", "meadow_003"]


def test_an_array_file_without_visible_bands_shows_no_ground(tmp_path: Path) -> None:
    present = np.array([name != "B03" for name in BANDS])
    np.savez(tmp_path / "dark.npz", s2=np.ones((1, 13, 128, 128), np.uint16), s2_present=present)
    assert not list(gathered.series(tmp_path / "dark.npz"))


def test_scenes_labelled_by_eye_are_not_trained_on(shared_data: Path, real_library: Library) -> None:
    used = {image.optical[:, :8, :8].tobytes() for images in real_library.places for image in images}
    used |= {pair.cloudy[:, :8, :8].tobytes() for pair in real_library.pairs}
    by_eye = [image for image in labelled_images(shared_data) if image.by_eye is not None]
    assert len(by_eye) == 8
    for image in by_eye:
        assert image.image[:, :8, :8].tobytes() not in used, image.name


def test_a_folder_without_any_of_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found 0 clear places"):
        load_library(tmp_path)
