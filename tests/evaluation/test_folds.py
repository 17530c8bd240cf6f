from __future__ import annotations

from pathlib import Path

import pytest

from cmcr_cli.errors import OptionError
from cmcr_cli.evaluation.folds import held_out_fold, load_folds
from cmcr_cli.model.weights import Weights
from tests.support.folds import with_fold


def test_folds_of_weights(weights: Weights, tmp_path: Path) -> None:
    first, third = (with_fold(weights, fold, tmp_path) for fold in (1, 3))
    folds = load_folds([third, first])
    assert list(folds) == [1, 3] and folds[3].card["name"] == "held 3"
    assert load_folds([]) == {}
    assert held_out_fold(weights) is None
    again = with_fold(weights, 1, tmp_path, "again")
    with pytest.raises(OptionError, match=rf"{again.name}.*fold 1, like .*{first.name}"):
        load_folds([first, again])
    for fold in (None, 0, 4):
        path = with_fold(weights, fold, tmp_path)
        with pytest.raises(OptionError, match=f"{path.name}: was not trained without"):
            load_folds([path])
