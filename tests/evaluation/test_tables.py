from __future__ import annotations

import pytest

from cmcr_cli.evaluation.restoration import Scored
from cmcr_cli.evaluation.tables import cloud_tables, context_table, cover_table, mean_table, region_table

SCORED = [
    Scored("a", 0.1, {"context alone": {"psnr": 30.0}, "1 step": {"psnr": 31.0, "seconds": 1.0}}),
    Scored("b", 0.2, {"context alone": {"psnr": 20.0}, "1 step": {"psnr": 18.0, "seconds": 2.0}}),
    Scored(
        "c",
        1.0,
        {
            "context alone": {"psnr": 10.0, "psnr thin": 5.0},
            "1 step": {"psnr": 11.0, "psnr thin": 7.0, "seconds": 9.0},
        },
    ),
]


def test_means_with_their_cost() -> None:
    table = mean_table("B", "note", ("psnr", "sam"), SCORED, {"1 step": 7.6})
    assert (table.title, table.note) == ("B, n=3", "note")
    assert table.columns == ("psnr", "seconds", "gflop"), "nothing has a spectral angle here"
    assert table.rows == {
        "context alone": {"psnr": 20.0},
        "1 step": {"psnr": 20.0, "seconds": 2.0, "gflop": 7.6},
    }


def test_cover_bins() -> None:
    table = cover_table("A", SCORED)
    assert table.columns == ("0-20 %, n=1", "20-50 %, n=1", "80-100 %, n=1")
    assert list(table.rows["1 step"].values()) == [31.0, 18.0, 11.0]


def test_regions() -> None:
    table = region_table("B", "", SCORED)
    assert table.rows == {"context alone": {"thin, n=1": 5.0}, "1 step": {"thin, n=1": 7.0}}


def test_against_the_context() -> None:
    row = context_table("B", SCORED, ["1 step"]).rows["1 step"]
    assert row == pytest.approx({"mean gain": 0.0, "images below": 1, "worst": -2.0})


def test_clouds() -> None:
    found = {"images": 2, "false alarms": 0.1, "on snow": 0.5, "cells snow": 300.0}
    rates, kinds = cloud_tables({"series": found, "nothing": {}})
    assert rates.rows == {"series": {"images": 2, "false alarms": 0.1}}
    assert rates.columns == ("images", "false alarms")
    assert kinds.rows == {"series": {"on snow": 0.5, "cells snow": 300.0}}
