from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cmcr_cli.errors import InputError
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.training.data.labels import (
    FOLDS,
    fold_of,
    has_labels,
    label_count,
    labelled_images,
    place_of,
)

Make = Callable[[dict[str, dict[str, Any]]], Path]
NO_B10 = np.array([band != "B10" for band in BANDS])


def dn(value: int, size: int = 8) -> NDArray[np.uint16]:
    """An image whose band number n is `value` + n everywhere."""
    return (value + np.arange(13, dtype=np.uint16)[:, None, None]) * np.ones((1, size, size), np.uint16)


def test_every_kind_of_name_is_found(make_labels: Make) -> None:
    codes = (np.arange(64) % 4).reshape(8, 8).astype(np.uint8)
    folder = make_labels(
        {
            "tri_one_cloudy": {"dn": dn(1000), "source": "triplets", "network": codes + 1},
            "pair_ROIs1_fall_s2_7_p3_clear": {"dn": dn(2000), "verdict": "clear"},
            "ukis_s2": {"dn": None},
            "mamba": {"dn": dn(3000), "by_eye": codes},
            "thailand": {"dn": dn(4000), "present": NO_B10, "level": "L2A"},
            "meadow_one_000": {"dn": dn(5000), "joined": codes, "verdict": "wholly under thick cloud"},
            "meadow_one_001": {"dn": dn(6000), "verdict": "wholly under thin cloud or cirrus"},
        }
    )
    found = {image.name: image for image in labelled_images(folder)}
    assert list(found) == [
        "tri_one_cloudy",
        "pair_ROIs1_fall_s2_7_p3_clear",
        "mamba",
        "thailand",
        "meadow_one_000",
        "meadow_one_001",
    ]
    b04, b10 = BANDS.index("B04"), BANDS.index("B10")
    blue = [image.image[b04, 0, 0] * 10_000 for image in found.values()]
    assert blue == pytest.approx([value * 1000 + b04 for value in (1, 2, 3, 4, 5, 6)])
    thailand = found["thailand"]
    assert thailand.image.dtype == np.float32 and (thailand.image[b10] == 0).all()
    assert thailand.image[b10 + 1, 0, 0] * 10_000 == pytest.approx(4000 + b10 + 1)
    assert thailand.level == "L2A" and not thailand.present[b10] and thailand.present.sum() == 12
    np.testing.assert_array_equal(found["tri_one_cloudy"].network, codes + 1)
    assert found["tri_one_cloudy"].source == "triplets" and found["tri_one_cloudy"].verdict is None
    np.testing.assert_array_equal(found["mamba"].by_eye, codes)
    covered = found["meadow_one_000"].covered
    assert covered is not None and covered.tolist() == (codes > 0).astype(int).tolist()
    assert found["meadow_one_001"].covered is None and found["meadow_one_001"].by_eye is None
    verdicts = [image.verdict for image in found.values()]
    assert verdicts == [None, "clear", None, None, "thick", "thin"]


def test_an_image_is_read_when_it_is_asked_for(make_labels: Make) -> None:
    folder = make_labels({"a_b_000": {"dn": dn(1)}, "c_d_000": {"dn": dn(2)}})
    (folder / "optical" / "c_d.npz").write_bytes(b"no array")
    images = labelled_images(folder)
    assert next(images).name == "a_b_000"
    with pytest.raises(InputError, match=r"c_d\.npz: is not a whole \.npz"):
        next(images)


def test_only_the_network_is_needed(make_labels: Make) -> None:
    folder = make_labels({"a_b_000": {"dn": dn(1), "verdict": "clear"}})
    for name in ("network_b10_spectral.npz", "by_eye.npz", "images_by_eye.csv"):
        (folder / "labels" / name).unlink()
    (image,) = labelled_images(folder)
    assert (image.covered, image.by_eye, image.verdict) == (None, None, None)
    (folder / "labels" / "network.npz").unlink()
    with pytest.raises(InputError, match=r"network\.npz"):
        next(labelled_images(folder))


def test_labels_that_do_not_fit(make_labels: Make) -> None:
    folder = make_labels({"a_b_000": {"dn": dn(1), "by_eye": np.zeros((8, 7), np.uint8), "verdict": "foggy"}})
    with pytest.raises(InputError, match="foggy"):
        next(labelled_images(folder))
    (folder / "labels" / "images_by_eye.csv").unlink()
    with pytest.raises(InputError, match=r"a_b_000 has \(8, 7\)"):
        next(labelled_images(folder))
    items = folder / "labels" / "items.json"
    items.write_text(items.read_text().replace("a_b_000", "a_b_0"))
    with pytest.raises(InputError, match="no mask of it"):
        next(labelled_images(folder))
    for text, says in (("[{}]", "'name'"), ("[", "cannot be read")):
        items.write_text(text)
        with pytest.raises(InputError, match=says):
            next(labelled_images(folder))


def test_whether_there_are_any(make_labels: Make, tmp_path: Path) -> None:
    assert not has_labels(tmp_path)
    folder = make_labels({"a_b_000": {"dn": dn(1)}, "ukis_s2": {"dn": None}})
    assert has_labels(folder) and label_count(folder) == 2


@pytest.mark.parametrize(
    ("names", "place"),
    [
        (["tri_one_cloudy", "tri_two_clear"], "triplets q"),
        (["pair_ROIs1970_fall_s2_136_p139_cloudy", "pair_ROIs1970_fall_s2_136_p140_clear"],
         "ROIs1970_fall_s2_136"),
        (["sen12mscrts_italy_2018_017", "sen12mscrts_italy_2018_more_001"], "italy"),
        (["ssl4eo_0000200_L1C_001", "ssl4eo_0000200_L2A_000"], "ssl4eo_0000200"),
        (["terramind_282D_485L_3_3_L1C_000", "terramind_282D_485L_3_3_L2A_000"],
         "terramind_282D_485L_3_3"),
        (["presto_wc_2020_20months_003", "worldcereal_belgium_31UFS_001"], "belgium"),
        (["czech_forest_64px_000", "czech_forest_64px_002"], "czech_5"),
        (["czech_forest_64px_001"], "czech_9"),
        (["eurosat_100tiles_64px_010", "eurosat_100tiles_64px_019"], "eurosat_1"),
        (["benv2_120tiles_120px_119"], "benv2_11"),
        (["biomassters_000aa810_000", "biomassters_000aa810_011"], "biomassters_000aa810"),
        (["mamba"], "mamba"),
        (["ukis_s2"], "ukis_s2"),
        (["tri_unknown_cloudy"], "tri_unknown_cloudy"),
    ],
)  # fmt: skip
def test_images_of_one_place(names: list[str], place: str, tmp_path: Path) -> None:
    (tmp_path / "triplets").mkdir()
    index = "name,split,scene\none,train,q\ntwo,val,q\n"
    (tmp_path / "triplets" / "index.csv").write_text(index)
    (tmp_path / "optical").mkdir()
    np.savez(tmp_path / "optical" / "czech_forest_64px.npz", group=np.array([5, 9, 5]))
    assert {place_of(name, tmp_path) for name in names} == {place}


def test_folds() -> None:
    assert [fold_of(place) for place in ("ROIs1970_fall_s2_136", "italy", "mamba")] == [1, 2, 3]
    others = [f"eurosat_{n}" for n in range(30)]
    assert [fold_of(place) for place in others] == [zlib.crc32(p.encode()) % FOLDS + 1 for p in others]
    assert min(Counter(map(fold_of, others)).values()) >= 3


def test_every_fold_of_the_real_labels_has_something_to_score(shared_data: Path) -> None:
    if not has_labels(shared_data):
        pytest.skip("the real imagery has no labels")
    items = json.loads((shared_data / "labels" / "items.json").read_text())
    names = [item["name"] for item in items]
    with np.load(shared_data / "labels" / "by_eye.npz") as by_eye:
        scenes = Counter(fold_of(place_of(name, shared_data)) for name in by_eye.files)
    images = Counter(fold_of(place_of(name, shared_data)) for name in names)
    assert set(scenes) == set(images) == {1, 2, 3}
    assert min(scenes.values()) >= 2 and min(images.values()) >= 60
