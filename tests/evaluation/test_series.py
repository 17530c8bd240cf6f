from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cmcr_cli.evaluation import series
from cmcr_cli.evaluation.series import GAPS, HOLES, VARIANTS, Case, cases

DAYS = (0, 15, 60, 75, 160)


@pytest.fixture(scope="module")
def found(dated: Path) -> list[Case]:
    return list(cases(dated))


def test_cases_are_the_same_in_every_run(dated: Path, found: list[Case]) -> None:
    again = list(cases(dated))
    assert [(case.name, case.variant) for case in again] == [(case.name, case.variant) for case in found]
    for one, other in zip(found[::7], again[::7], strict=True):
        np.testing.assert_array_equal(one.seen, other.seen)
        for reference, same in zip(one.references, other.references, strict=True):
            np.testing.assert_array_equal(reference.reflectance, same.reflectance)
            np.testing.assert_array_equal(reference.clear, same.clear)


def test_the_cloud_is_opaque_and_all_of_it_is_covered(found: list[Case]) -> None:
    for case in found:
        share = HOLES[case.hole][0]
        assert share < case.covered.mean() < share + 0.25, "the rim of small clouds is large"
        np.testing.assert_array_equal(case.covered, case.opacity > 0)
        np.testing.assert_array_equal(case.clear, ~case.covered)
        np.testing.assert_array_equal(case.seen[:, case.clear], case.target[:, case.clear])
        assert (case.opacity == 1).mean() >= share - 0.01
        assert np.abs(case.seen - case.target)[1][case.opacity == 1].min() > 0.1
        assert not case.seen[~case.present].any()


def test_small_holes_are_smaller(found: list[Case]) -> None:
    def rim(case: Case) -> float:
        return float((case.covered[1:] != case.covered[:-1]).sum() / case.covered.sum())

    rims = {hole: np.mean([rim(case) for case in found if case.hole == hole]) for hole in HOLES}
    assert rims["small holes"] > 3 * rims["half the window"]


def test_references_are_other_clear_dates_of_the_gap(found: list[Case]) -> None:
    assert {case.gap for case in found} == GAPS.keys()
    for case in found:
        low, high = GAPS[case.gap]
        days = [reference.days for reference in case.references]
        assert all(abs(day) >= low for day in days) and abs(days[0]) <= high
        assert [abs(day) for day in days] == sorted(abs(day) for day in days)
        assert 20 not in {case_day(case) + day for day in days}, "the cloudy date"
        if case.variant == "one clear":
            assert len(days) == 1
        if case.variant == "four clear":
            assert 2 <= len(days) <= 4
        if case.variant == "earlier only":
            assert min(days) > 0


def case_day(case: Case) -> int:
    """Days of the target before the first date of the series."""
    return next(
        day
        for day in DAYS
        if all(reference.days + day in DAYS or day - reference.days in DAYS for reference in case.references)
    )


def test_cloudy_references_have_true_masks(found: list[Case]) -> None:
    cloudy = [case for case in found if case.variant == "three cloudy"]
    assert cloudy
    for case in cloudy:
        whole = next(one for one in found if one.name == case.name and one.variant == "four clear")
        assert len(case.references) == 3
        for reference, clear in zip(case.references, whole.references, strict=False):
            assert reference.days == clear.days
            change = np.abs(reference.reflectance - clear.reflectance)[1]
            assert change[reference.clear].max() < 0.05 < change[~reference.clear].max()
            assert not reference.reflectance[~reference.present].any()
    shares = [1 - reference.clear.mean() for case in cloudy for reference in case.references]
    assert 0.25 < np.mean(shares) < 0.55


def test_variants_of_a_target_follow_each_other(dated: Path, found: list[Case]) -> None:
    names = [case.name for case in found]
    assert all(names.index(name) + names.count(name) > i for i, name in enumerate(names))
    assert {case.variant for case in found} == set(VARIANTS)
    alone = list(cases(dated, ("one clear",), targets=1))
    assert {case.variant for case in alone} == {"one clear"}
    assert set(Counter((case.gap, case.hole) for case in alone).values()) == {1}


def test_radar_is_that_of_the_nearest_date(dated: Path, tmp_path: Path) -> None:
    with np.load(dated / "places" / "field.npz") as file:
        data = {name: file[name] for name in file.files}
    data["s1"][0], data["s1"][1] = -1500, -32768
    (tmp_path / "places").mkdir()
    np.savez(tmp_path / "places" / "field.npz", **data)
    radar = {case.date: case.radar for case in cases(tmp_path, ("one clear",))}
    values = [db[0, 0, 0] for date, db in sorted(radar.items()) if db is not None]
    assert values[0] == -15 and np.isnan(values[-1])


@pytest.mark.parametrize(
    ("date", "day"),
    [("2020-06-04", 737580), ("20200604", 737580), ("03Dec", 91), ("?", None), ("June", None)],
)
def test_dates_as_they_are_stored(date: str, day: int | None) -> None:
    assert series._day(date) == day


def test_labels_decide_which_dates_are_clear(dated: Path, tmp_path: Path) -> None:
    shutil.copytree(dated / "places", tmp_path / "places")
    (tmp_path / "labels").mkdir()
    names = [f"field_{index:03d}" for index in (0, 1, 2)]
    items = [{"name": name, "group": "field", "level": "L1C", "present": [1] * 13} for name in names]
    (tmp_path / "labels" / "items.json").write_text(json.dumps(items))
    masks = {name: np.zeros((96, 96), np.uint8) for name in names}
    masks["field_001"][:20] = 1
    np.savez(tmp_path / "labels" / "network.npz", **masks)  # type: ignore[arg-type]
    assert {abs(r.days) for case in cases(tmp_path) for r in case.references} == {60}


def test_files_of_one_place_are_one_series(dated: Path, tmp_path: Path) -> None:
    with np.load(dated / "places" / "field.npz") as file:
        data = {name: file[name] for name in file.files if not name.startswith("s1")}
    (tmp_path / "optical").mkdir()
    for stem, chosen in (("sen12mscrts_italy_2018", [0, 2]), ("sen12mscrts_italy_2018_more", [0, 1, 4])):
        part = {name: data[name][chosen] for name in ("s2", "s2_dates")}
        np.savez(tmp_path / "optical" / f"{stem}.npz", s2_present=data["s2_present"], **part)
    found = list(cases(tmp_path))
    assert {case.place for case in found} == {"italy"}
    assert {abs(r.days) for case in found for r in case.references} >= {15, 60, 160, 45, 145}
    assert "three cloudy" not in {case.variant for case in found}, "there is no pair with clouds"


def test_images_without_dates_or_from_many_places_are_no_series(dated: Path, tmp_path: Path) -> None:
    with np.load(dated / "places" / "field.npz") as file:
        data = {name: file[name] for name in file.files if not name.startswith("s1")}
    (tmp_path / "places").mkdir()
    np.savez(tmp_path / "places" / "many.npz", place_id=np.arange(6), **data)
    np.savez(tmp_path / "places" / "unknown.npz", **{**data, "s2_dates": ["?"] * 6})
    assert list(cases(tmp_path)) == []
