from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.masks.mask_codes import CLEAR, SHADOW, THICK, THIN
from cmcr_cli.training.data.labels import fold_of, labelled_images
from cmcr_cli.training.data.library import Library
from cmcr_cli.training.samples.mask_library import held_out, mask_library

SIDE = 64


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of array files with labels: see the names of the images."""
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "labels").mkdir()
    (folder / "optical").mkdir()
    images = ["mixed", "wholly", "hazy", "clear", "seen"]
    network, items, verdicts = {}, [], ["name,group,level,verdict"]
    for name in images:
        dn = np.full((1, 13, SIDE, SIDE), 2000, np.uint16)
        dn[0, 10] = 10
        dn[0, 10, :8] = 300 if name == "mixed" else 10
        dn[0, :, -4:] = 0  # no data
        np.savez(folder / "optical" / f"{name}.npz", s2=dn, s2_present=np.ones(13, bool), s2_dates=["1"])
        mask = np.zeros((SIDE, SIDE), np.uint8)
        if name == "mixed":
            mask[20:30], mask[30:40], mask[40:50], mask[50:54] = 1, 3, 4, 255
        network[f"{name}_000"] = mask
        items.append({"name": f"{name}_000", "group": name, "level": "L1C", "present": [1] * 13})
    joined = {name: (mask % 4 > 0).astype(np.uint8) for name, mask in network.items()}
    joined["mixed_000"][:12] = 1
    verdicts += ["wholly_000,w,L1C,wholly under thick cloud", "clear_000,c,L1C,clear"]
    verdicts += ["hazy_000,v,L1C,wholly under thin cloud or cirrus"]
    (folder / "labels" / "items.json").write_text(json.dumps(items))
    (folder / "labels" / "images_by_eye.csv").write_text("\n".join(verdicts) + "\n")
    np.savez(folder / "labels" / "network.npz", **network)
    np.savez(folder / "labels" / "network_b10_spectral.npz", **joined)
    np.savez(folder / "labels" / "by_eye.npz", seen_000=np.ones((SIDE, SIDE), np.uint8))
    tiles = np.full((3, 13, SIDE, SIDE), 1500, np.uint16)
    np.savez(
        folder / "optical" / "tiles.npz", s2=tiles, s2_present=np.ones(13, bool), place_id=[0, 1, 2],
        clean=[True, False, True],
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def nothing() -> Library:
    return Library([], [])


def test_labels_are_put_right_where_the_other_network_fails(labelled: Path, nothing: Library) -> None:
    found = {image.place: image for image in mask_library(labelled, nothing, 0).covered}
    assert found.keys() == {"mixed", "wholly", "hazy"}
    rows = found["mixed"].classes.argmax(axis=0)[:, 0].tolist()
    # 20 m: cirrus that B10 shows, what only the joined mask has, clear, cloud, shadow, clear snow.
    assert rows[:25] == [THIN] * 4 + [THICK] * 2 + [CLEAR] * 4 + [THICK] * 5 + [SHADOW] * 5 + [CLEAR] * 5
    assert (found["mixed"].weight[:25] == 1).all()
    assert (found["mixed"].weight[25:27] == 0).all() and (found["mixed"].weight[30:] == 0).all()
    assert (found["wholly"].classes[THICK, :30] == 1).all()
    assert (found["hazy"].classes[THIN, :30] == 1).all()


def test_clear_images_are_those_that_are_labelled_so_and_clean_tiles(
    labelled: Path, nothing: Library
) -> None:
    clear = mask_library(labelled, nothing, 0).clear
    assert [image.place for image in clear] == ["clear", "tiles", "tiles"]
    assert all((image.classes[CLEAR][image.weight == 1] == 1).all() for image in clear)


def test_scenes_labelled_by_eye_are_for_testing_alone(labelled: Path, nothing: Library) -> None:
    library = mask_library(labelled, nothing, 0)
    assert "seen" not in {image.place for image in [*library.covered, *library.clear]}
    assert "seen" in {image.place for image in labelled_images(labelled)}
    assert [image.place for image in held_out(labelled, nothing, 0, 5)] == []  # its network saw no cloud


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_a_fold_goes_without_its_places(labelled: Path, nothing: Library, fold: int) -> None:
    everything, without = (mask_library(labelled, nothing, n) for n in (0, fold))
    places = {image.place for image in [*everything.covered, *everything.clear]}
    kept = {image.place for image in [*without.covered, *without.clear]}
    assert kept == {place for place in places if fold_of(place) != fold}
    checks = {image.place for image in held_out(labelled, nothing, fold, 9)}
    assert checks == {image.place for image in everything.covered if fold_of(image.place) == fold}


def test_cloudy_dates_of_series_give_clouds_that_their_labels_show(
    labelled: Path, nothing: Library, tmp_path: Path
) -> None:
    folder = tmp_path / "series"
    shutil.copytree(labelled, folder)
    dn = np.full((3, 13, 160, 160), 1000, np.uint16)
    dn[0, :, :80], dn[0, :, 120:] = 7000, 1500  # a cloud, and fields that turned bright
    dn[:, 10] = 0
    present = np.array([name not in ("B09", "B10") for name in BANDS])
    np.savez(folder / "optical" / "dates.npz", s2=dn, s2_present=present, s2_dates=["1", "2", "3"])
    items = json.loads((folder / "labels" / "items.json").read_text())
    with np.load(folder / "labels" / "network.npz") as arrays:
        network = dict(arrays)
    for number in range(3):
        mask = np.zeros((160, 160), np.uint8)
        mask[:80] = 1 if number == 0 else 0
        network[f"dates_00{number}"] = mask
        bands = present.astype(int).tolist()
        items.append({"name": f"dates_00{number}", "group": "dates", "level": "L2A", "present": bands})
    (folder / "labels" / "items.json").write_text(json.dumps(items))
    np.savez(folder / "labels" / "network.npz", **network)
    with (folder / "labels" / "images_by_eye.csv").open("a") as file:
        file.write("dates_001,d,L2A,clear\ndates_002,d,L2A,clear\n")
    (pair,) = mask_library(folder, nothing, 0).pairs
    assert pair.opacity[:70].min() > 0.9 and pair.opacity[90:].max() == 0
    assert (pair.clear[BANDS.index("B10")] > 0).all() and (pair.cloudy[BANDS.index("B09"), :70] > 0.3).all()
    assert mask_library(folder, nothing, fold_of("dates")).pairs == []


def test_without_labels_pairs_and_places_are_read_when_asked_for(data: Path, library: Library) -> None:
    found = mask_library(data, library, 0)
    assert len(found.covered) == len(library.pairs) and len(found.clear) == len(library.places)
    image = found.covered[0]
    half = image.weight.shape[0] // 2
    overcast = image.classes[:, half:, :half].astype(np.float32).mean(axis=(1, 2))
    assert overcast[THICK] > 0.9
    assert (found.clear[0].classes[CLEAR] == 1).all()
