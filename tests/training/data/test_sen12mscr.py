from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from torch.utils.data import DataLoader

from cmcr_cli.errors import InputError
from cmcr_cli.training.data.library import load_library, load_pairs
from cmcr_cli.training.data.sen12mscr import KINDS, SPLITS, Roi, SplitRule, find_rois

Folder = Callable[..., Path]

SPRING, SUMMER, FALL, WINTER = SPLITS["train"]


def published() -> list[Roi]:
    """All ROIs that the splits name."""
    return [
        Roi(Path("DIR"), season, number, (30,), ())
        for seasons in SPLITS.values()
        for season, numbers in seasons.items()
        for number in numbers.split()
    ]


def test_exact_splits_part_the_published_rois() -> None:
    rois = published()
    assert len({(roi.season, roi.number) for roi in rois}) == len(rois) == 175
    splits = [roi.splits("exact") for roi in rois]
    assert [splits.count((name,)) for name in ("train", "val", "test")] == [155, 10, 10]


def test_legacy_is_the_substring_test_of_the_paths() -> None:
    for roi in published():
        path = roi.file("s1", 30).as_posix()
        found = [
            split
            for split, seasons in SPLITS.items()
            if any(f"{s}_s1/s1_{n}" in path for s, numbers in seasons.items() for n in numbers.split())
        ]
        assert list(roi.splits("legacy")) == found


def test_legacy_trains_on_six_rois_of_test_and_three_of_val() -> None:
    leaks: dict[tuple[str, ...], set[tuple[str, str]]] = {}
    for roi in published():
        leaks.setdefault(roi.splits("legacy"), set()).add((roi.season, roi.number))
    assert leaks["train", "test"] == {
        (SPRING, "106"), (SPRING, "123"), (SPRING, "140"), (SUMMER, "73"), (SUMMER, "119"), (FALL, "139")
    }  # fmt: skip
    assert leaks["train", "val"] == {(SPRING, "17"), (FALL, "65"), (WINTER, "84")}
    assert leaks.keys() == {("train",), ("val",), ("test",), ("train", "val"), ("train", "test")}


@pytest.mark.parametrize(("rule", "train"), [("exact", {"1"}), ("legacy", {"1", "106", "119"})])
def test_a_folder_by_both_rules(sen12mscr: Folder, rule: SplitRule, train: set[str]) -> None:
    folder = sen12mscr()
    found = {split: list(load_pairs(folder, split, rule)) for split in SPLITS}
    assert {name.split("_")[2] for name in found["train"]} == train
    assert found["val"] == ["ROIs1868_summer_17_p30", "ROIs1868_summer_17_p31"]
    assert len(found["test"]) == 6
    library = load_library(folder, rule)
    assert [len(place) for place in library.places] == [2] * len(train)
    assert len(library.pairs) == len(found["train"]) == 2 * len(train)


def test_patches_need_all_three_files(sen12mscr: Folder) -> None:
    folder = sen12mscr()
    roi = next(find_rois(folder))
    lost = roi.file("s2_cloudy", 31)
    lost.unlink()
    roi.file("s1", 30).with_name("notes.tif").touch()
    again = next(find_rois(folder))
    assert (again.number, again.patches, again.missing) == ("1", (30,), (lost,))
    assert list(load_pairs(folder, "train")) == ["ROIs1158_spring_1_p30"]


def test_one_draw_reads_one_patch(sen12mscr: Folder) -> None:
    folder = sen12mscr()
    library, pairs = load_library(folder), load_pairs(folder, "val")
    kept = ("_1_p31.tif", "_17_p31.tif")
    for path in folder.rglob("*.tif"):
        if not path.name.endswith(kept):
            path.write_bytes(b"")
    assert library.places[0][1].optical.shape == (13, 256, 256)
    assert library.pairs[1].cloudy.shape == (13, 256, 256)
    assert pairs["ROIs1868_summer_17_p31"].opacity.shape == (256, 256)
    with pytest.raises(InputError, match=r"_1_p30\.tif: cannot be opened"):
        library.pairs[0]
    workers = {"num_workers": 1, "multiprocessing_context": "spawn"}  # the strictest way to hand a library on
    (pair,) = DataLoader(library.pairs, batch_size=None, sampler=[1], **workers)  # type: ignore[arg-type]
    assert np.array_equal(pair.clear, library.pairs[1].clear)


def test_training_subtracts_cirrus_and_evaluation_sees_the_files(sen12mscr: Folder) -> None:
    folder = sen12mscr(cirrus=300)
    stored = load_pairs(folder, "train")["ROIs1158_spring_1_p30"]
    roi = next(find_rois(folder))
    for kind, values in (("s2", stored.clear), ("s2_cloudy", stored.cloudy), ("s1", stored.radar)):
        assert values is not None and values.dtype == np.float32
        with rasterio.open(roi.file(kind, 30)) as file:
            np.testing.assert_allclose(values, file.read() / (1 if kind == "s1" else 10_000), rtol=1e-6)
    assert not stored.lifted and set(KINDS) == {"s1", "s2", "s2_cloudy"}
    library = load_library(folder)
    assert library.pairs[0].lifted
    assert (library.places[0][0].optical[1] < stored.clear[1]).all()
