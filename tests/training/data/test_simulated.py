from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmcr_cli.errors import InputError
from cmcr_cli.training.data.library import load_library, load_pairs
from cmcr_cli.training.data.simulated import SCENES

WORD = Path("simulated")


def test_the_word_stands_for_scenes_that_are_made_when_asked_for() -> None:
    library = load_library(WORD)
    assert len(library.places) == len(library.pairs) == len(SCENES["train"])
    ground, pair = library.places[7][0], library.pairs[7]
    assert ground.optical.shape == (13, 256, 256) and ground.present.all()
    np.testing.assert_array_equal(pair.clear, ground.optical)
    np.testing.assert_array_equal(library.pairs[7].cloudy, pair.cloudy)
    brighter = pair.cloudy[1] > pair.clear[1] + 0.1
    assert 0.1 < brighter.mean() < 0.9
    assert (pair.opacity[brighter] > 0).mean() > 0.95
    assert not np.array_equal(library.pairs[8].clear, pair.clear)


def test_splits_share_no_scene() -> None:
    seeds = [set(scenes) for scenes in SCENES.values()]
    assert sum(map(len, seeds)) == len(set.union(*seeds))
    assert len(load_pairs(WORD, "val")) == len(SCENES["val"])


def test_a_folder_of_that_name_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / WORD).mkdir()
    with pytest.raises(InputError, match="found 0 clear places"):
        load_library(WORD)
