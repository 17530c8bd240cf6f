from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from cmcr_cli.errors import InputError
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.training.data.data_check import DataReport, check_data
from cmcr_cli.training.data.sen12mscr import SplitRule

ROI = "ROIs1158_spring_{0}/{0}_1/ROIs1158_spring_{0}_1_p{1}.tif"


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write a file again with other pixels."""
    with rasterio.open(path) as file:
        profile, values = file.profile, change(file.read())
    profile.update(count=values.shape[0], height=values.shape[1], width=values.shape[2])
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)


def zero(values: np.ndarray) -> np.ndarray:
    return np.zeros_like(values)


def quarter(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """A change that sets the upper left quarter of an image."""

    def change(values: np.ndarray) -> np.ndarray:
        values[:, :128, :128] = value
        return values

    return change


def test_a_sound_sen12mscr(sen12mscr: Callable[..., Path]) -> None:
    done: list[float] = []
    report = check_data(sen12mscr(), full=True, progress=done.append)
    assert report.layout == "SEN12MS-CR"
    assert report.contents == {"ROIs": 5, "patches": 10}
    assert report.files == {"2 bands 256x256 float32": 10, "13 bands 256x256 uint16": 20}
    assert (report.broken, report.remarks) == ({}, {})
    assert done == sorted(done) and done[-1] == 1


@pytest.mark.parametrize(("rule", "train", "shared"), [("exact", (2, 1), (0, 0)), ("legacy", (6, 3), (4, 2))])
def test_how_sen12mscr_splits(
    sen12mscr: Callable[..., Path], rule: SplitRule, train: tuple[int, int], shared: tuple[int, int]
) -> None:
    splits = check_data(sen12mscr(), rule).splits
    assert {name: tuple(counts.values()) for name, counts in splits.items()} == {
        "train": train, "val": (2, 1), "test": (6, 3), "train and val": (0, 0), "train and test": shared,
        "val and test": (0, 0),
    }  # fmt: skip
    assert list(splits["test"]) == ["patches", "ROIs"]


@pytest.mark.parametrize(
    ("kind", "change", "fault"),
    [
        ("s2", zero, "all zero or not finite"),
        ("s1", lambda values: values * np.nan, "all zero or not finite"),
        ("s2", lambda values: values[:12], "not 13 bands"),
        ("s1", lambda values: values[:1], "not 2 bands"),
        ("s2_cloudy", lambda values: values[:, :128], "not 256x256 px"),
    ],
)
def test_faults_of_one_file(
    sen12mscr: Callable[..., Path], kind: str, change: Callable[[np.ndarray], np.ndarray], fault: str
) -> None:
    folder = sen12mscr()
    rewrite(folder / ROI.format(kind, 30), change)
    pixels_only = fault.startswith("all zero")
    assert bool(check_data(folder).broken) != pixels_only, "headers alone"
    assert check_data(folder, full=True).broken == {fault: [ROI.format(kind, 30)]}


def test_files_that_are_missing_or_cut_short(sen12mscr: Callable[..., Path]) -> None:
    folder = sen12mscr()
    (folder / ROI.format("s1", 31)).unlink()
    (folder / ROI.format("s2", 30)).write_bytes(b"II*\0")
    cut = folder / "ROIs1158_spring_s2/s2_31/ROIs1158_spring_s2_31_p30.tif"
    rewrite(cut, lambda values: values + np.random.default_rng(0).integers(0, 99, values.shape, np.uint16))
    cut.write_bytes(cut.read_bytes()[:-100_000])
    for full in (False, True):
        report = check_data(folder, full=full)
        first, second = report.broken.pop("unreadable")
        assert report.broken == {"file missing, its patch is not used": [ROI.format("s1", 31)]}
        assert first.startswith(f"{ROI.format('s2', 30)} (cannot be opened")
        assert second.startswith(f"{cut.relative_to(folder)} (")
    assert report.splits["train"] == {"patches": 1, "ROIs": 1}


def test_what_training_copes_with_is_remarked_on(sen12mscr: Callable[..., Path]) -> None:
    folder = sen12mscr()
    rewrite(folder / ROI.format("s1", 30), quarter(0))
    rewrite(folder / ROI.format("s1", 31), quarter(np.nan))
    cirrus = np.array([300 if name == "B10" else 0 for name in BANDS], np.uint16)[:, None, None]
    rewrite(folder / ROI.format("s2", 31), lambda values: values + cirrus)
    for kind in ("s1", "s2", "s2_cloudy"):
        place = folder / f"ROIs1970_fall_{kind}" / f"{kind}_2"
        place.mkdir(parents=True)
    report = check_data(folder, full=True)
    assert report.broken == {}
    assert report.remarks == {
        "ROI of no split, not used": ["ROIs1970_fall_s2/s2_2"],
        "radar exactly 0 dB in parts, taken as not valid": [f"{ROI.format('s1', 30)} (25%)"],
        "radar not finite in parts, taken as not valid": [f"{ROI.format('s1', 31)} (25%)"],
        "clear image under thin cirrus, which training subtracts": [ROI.format("s2", 31)],
    }


@pytest.fixture
def copied(data: Path, tmp_path: Path) -> Path:
    """The gathered data folder, to be spoilt."""
    return Path(shutil.copytree(data, tmp_path / "data"))


def test_a_sound_gathered_folder(data: Path) -> None:
    report = check_data(data, full=True)
    assert report.layout == "gathered"
    assert report.contents == {
        "triplets": 3, "pairs without radar": 1, "series": 1, "dates of series": 3,
        "dates of series that training uses": 2,
    }  # fmt: skip
    assert report.files == {
        "2 bands 64x64 float32": 3, "13 bands 64x64 uint16": 8, "series of 13 bands 100x100": 1
    }  # fmt: skip
    assert report.splits["train"] == {
        "triplets": 2, "scenes": 2, "pairs, series and scenes beside them": 2
    }  # fmt: skip
    assert report.splits["val"] == {"triplets": 1, "scenes": 1}
    assert report.broken == {}


def test_faults_of_a_gathered_folder(copied: Path) -> None:
    triplets = copied / "triplets"
    with (triplets / "index.csv").open("a") as file:
        file.write("four,val,one,L1C,1,simulated\nfive,later,five,L1C,1,simulated\n")
    shutil.copytree(triplets / "two", triplets / "five")
    shutil.copytree(triplets / "two", triplets / "six")
    (triplets / "two" / "s1.tif").unlink()
    rewrite(triplets / "one" / "s2_clear.tif", lambda values: values[:, :32])
    series = copied / "places" / "series.npz"
    (copied / "optical").mkdir()
    (copied / "optical" / "cut.npz").write_bytes(series.read_bytes()[:5000])
    np.savez(
        copied / "optical" / "odd.npz", s2=np.zeros((2, 12, 9, 9), np.uint16), s2_present=np.ones(12, bool)
    )
    assert check_data(copied).broken == {
        "file missing": [
            "triplets/two/s1.tif", *(f"triplets/four/{kind}.tif" for kind in ("s1", "s2_cloudy", "s2_clear"))
        ],
        "not the size of its place": ["triplets/one/s2_clear.tif"],
        "not a series": [
            "optical/cut.npz (is not a whole .npz file)",
            "optical/odd.npz (has s2 (2, 12, 9, 9) of uint16)",
        ],
        "scene in two splits": ["triplets/four"],
        "split other than train, val or test in triplets/index.csv": ["triplets/five"],
    }  # fmt: skip
    remarks = check_data(copied, full=True).remarks
    assert remarks["triplet without a row in triplets/index.csv, not used"] == ["triplets/six"]


def test_folders_without_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no training data"):
        check_data(tmp_path)


def test_real_data(shared_data: Path) -> None:
    report = check_data(shared_data, full=True)
    assert report.broken == {}
    with (shared_data / "triplets" / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert report.contents["triplets"] == len(rows)
    assert report.splits["val"]["triplets"] == sum(row["split"] == "val" for row in rows)
    assert report.splits["train and val"] == {"triplets": 0, "scenes": 0}
    found = report.remarks["clear image under thin cirrus, which training subtracts"]
    assert all(name.startswith("pairs_s2/") for name in found)


def test_reports_of_two_folders_share_nothing(tmp_path: Path) -> None:
    one, other = DataReport(tmp_path, "gathered"), DataReport(tmp_path, "gathered")
    one.fault("unreadable", tmp_path / "a.tif")
    assert one.broken == {"unreadable": ["a.tif"]} and other.broken == {}
