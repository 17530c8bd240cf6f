from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from cmcr_cli.training.data.library import Library
from cmcr_cli.training.dry_run import estimate_training
from cmcr_cli.training.recipe import Recipe, with_knobs
from cmcr_cli.training.run import Training
from cmcr_cli.training.samples import mask_clouds
from cmcr_cli.training.tasks.cloud_masks import CLOUDS
from cmcr_cli.training.tasks.student import STUDENT
from cmcr_cli.training.tasks.teacher import TEACHER


@pytest.mark.parametrize("training", [CLOUDS, TEACHER, STUDENT], ids=lambda training: training.name)
def test_it_tells_what_there_is_and_writes_nothing(
    data: Path, library: Library, untrained: Path, tmp_path: Path, tiny_recipe: Recipe, training: Training
) -> None:
    long = with_knobs(tiny_recipe, images=4_000_000, snapshot=1_000_000)
    found = estimate_training(training, data, tmp_path / "run", long, untrained, "cpu")
    assert (found.places, found.pairs) == (len(library.places), len(library.pairs))
    assert found.checks > 0 and found.parameters > 0 and found.gflop_per_patch > 0
    assert (found.device, found.processes) == ("cpu", 1)
    crops_per_sample = long.mask.views if training is CLOUDS else long.data.crops_per_sample
    work = max(1_000_000 * found.update_s, 4_000_000 / crops_per_sample * found.sample_s)
    assert math.isclose(found.total_s, work + 4 * found.validation_s, rel_tol=0.01)
    assert not list(tmp_path.iterdir())


def test_skies_that_are_drawn_once_do_not_count(
    data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that stands still except while a sky is drawn."""
    clock, drawn = [0.0], mask_clouds._sky

    def slow(index: int) -> mask_clouds.Layer:
        clock[0] += 100
        return drawn(index)

    monkeypatch.setattr(mask_clouds, "SKIES", 2)
    monkeypatch.setattr(mask_clouds, "_sky", slow)
    monkeypatch.setattr("cmcr_cli.training.dry_run.time", SimpleNamespace(monotonic=lambda: clock[0]))
    found = estimate_training(CLOUDS, data, tmp_path / "run", tiny_recipe, untrained, "cpu")
    assert clock[0] >= 100 and found.sample_s == 0
