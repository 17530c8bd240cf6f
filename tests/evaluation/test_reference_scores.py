from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmcr_cli.evaluation.reference_methods import METHODS
from cmcr_cli.evaluation.reference_scores import (
    ALL_ALONE,
    ALONE,
    OWN_MASKS,
    Ended,
    reference_tables,
    sample_of,
    score_references,
    with_references,
    without_references,
)
from cmcr_cli.evaluation.restoration import CONTEXT, Scored
from cmcr_cli.evaluation.series import Case, cases
from cmcr_cli.model.weights import Weights
from cmcr_cli.training.data.images import Array
from cmcr_cli.training.metrics import psnr

pytestmark = pytest.mark.usefixtures("brief")


@pytest.fixture(scope="module")
def ended(dated: Path, weights: Weights, brief: None) -> Ended:
    shares: list[float] = []
    found = score_references(dated, weights, 1, shares.append)
    assert shares == [0.0, 1.0]
    return found


def test_every_method_is_scored_on_every_case(dated: Path, ended: Ended) -> None:
    found = list(cases(dated, targets=1))
    variants = {case.variant for case in found}
    assert variants >= {"one clear", "four clear", "three cloudy"}
    assert ended.keys() == {*variants, OWN_MASKS}
    for variant in variants:
        assert [one.image for _, one in ended[variant]] == [c.name for c in found if c.variant == variant]
        for _, one in ended[variant]:
            with_references = {ALL_ALONE, "1 step, references", "4 steps, references"}
            assert one.rows.keys() == {*METHODS, CONTEXT, ALONE, *with_references}
            assert all(row.keys() == {"psnr", "mae", "sam"} for row in one.rows.values())


def test_scores_are_those_of_covered_pixels_and_present_bands(dated: Path, ended: Ended) -> None:
    case = next(cases(dated, ("one clear",), targets=1))
    image = METHODS["copied"](case)[case.present]
    expected = psnr(np.clip(image, 0, 1), np.clip(case.target[case.present], 0, 1), case.covered)
    assert ended["one clear"][0][1].rows["copied"]["psnr"] == pytest.approx(expected)


def test_rows_without_references_are_the_same_for_all_of_them(ended: Ended) -> None:
    one, four = ({s.image: s.rows for _, s in ended[name]} for name in ("one clear", "four clear"))
    assert one.keys() & four.keys()
    for name in one.keys() & four.keys():
        assert one[name][CONTEXT] == four[name][CONTEXT] and one[name][ALONE] == four[name][ALONE]


def test_own_masks_differ_from_the_true_ones(ended: Ended) -> None:
    true, own = ([s.rows["copied"]["psnr"] for _, s in ended[name]] for name in ("three cloudy", OWN_MASKS))
    assert len(true) == len(own) and true != own


def test_the_network_does_not_see_the_truth(dated: Path, weights: Weights) -> None:
    case = next(cases(dated, ("one clear",), targets=1))

    def restored_of(case: Case) -> dict[str, Array]:
        sample = sample_of(case)
        return without_references(sample, weights) | with_references(case, sample, weights)

    before = restored_of(case)
    case.target[:, case.opacity == 1] = 0.3
    after = restored_of(case)
    assert before.keys() > {CONTEXT, ALONE, ALL_ALONE}
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_tables_give_mean_and_worst() -> None:
    def one(psnr: float, mae: float) -> Scored:
        return Scored("a", 0.5, {"copied": {"psnr": psnr, "mae": mae}})

    scored = [
        (("<= 20 days", "small holes"), one(30, 0.02)),
        (("<= 20 days", "small holes"), one(20, 0.04)),
        (("> 70 days", "small holes"), one(10, 0.2)),
    ]
    found = list(reference_tables({"one clear": scored}))  # type: ignore[dict-item]
    assert [table.title for table in found] == [
        f"R, references, one clear: {kind}" for kind in ("mean PSNR", "worst PSNR", "mean MAE", "worst MAE")
    ]
    near, far, both = "<= 20 days, small holes, n=2", "> 70 days, small holes, n=1", "all, n=3"
    for table, values in zip(
        found, ((25, 10, 20), (20, 10, 10), (0.03, 0.2, 0.26 / 3), (0.04, 0.2, 0.2)), strict=True
    ):
        assert list(table.rows) == [near, far, both]
        assert [table.rows[row]["copied"] for row in table.rows] == pytest.approx(values)
