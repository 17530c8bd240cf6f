from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cmcr_cli.model.clouds import CLASSES, CloudConfig, CloudNetwork
from cmcr_cli.model.weights import load
from cmcr_cli.training.clouds import CLOUDS, FAINT, MISSED, SEEN, _panels, _scores, _truth
from cmcr_cli.training.library import Library
from cmcr_cli.training.recipe import Recipe
from cmcr_cli.training.run import run_training
from cmcr_cli.training.samples import Sample
from cmcr_cli.training.validation import as_batch, validation_samples

Agree = Callable[[nn.Module, nn.Module], bool]


@pytest.fixture(scope="module")
def checks(data: Path, library: Library) -> list[Sample]:
    return validation_samples(data, library)


def test_a_short_training(
    data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe, networks_agree: Agree
) -> None:
    path = run_training(CLOUDS, data, tmp_path / "run", tiny_recipe, untrained)
    before, after = load(untrained), load(path)
    assert networks_agree(after.denoiser, before.denoiser)
    assert not networks_agree(after.clouds, before.clouds)
    stats = [json.loads(line) for line in (path.parent / "stats.jsonl").read_text().splitlines()]
    assert [line["images"] for line in stats] == [8, 16]
    assert {"loss", "iou", "false_alarms"} <= stats[0].keys()
    again = run_training(CLOUDS, data, tmp_path / "run", tiny_recipe, untrained)
    assert networks_agree(load(again).clouds, after.clouds)


def test_it_learns_without_weights_to_begin_with(data: Path, tmp_path: Path, tiny_recipe: Recipe) -> None:
    loop = replace(tiny_recipe.loop, images=960, snapshot=160, average=0.9, learning_rate=4e-3)
    # samples that never change, since an easy one would look like progress, and a hard one hide it
    same = replace(tiny_recipe.data, crops_per_sample=1000)
    path = run_training(CLOUDS, data, tmp_path, replace(tiny_recipe, loop=loop, data=same), None)
    stats = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert stats[-1]["loss"] < 0.8 * stats[0]["loss"]
    assert load(path).clouds.config == tiny_recipe.clouds


def test_classes_and_the_doubtful_between(checks: list[Sample]) -> None:
    planes = torch.zeros(2, 1, 1, 4, 12)
    opacity, shadow = planes
    opacity[..., 2:4], opacity[..., 4:6] = SEEN + 0.1, (FAINT + SEEN) / 2
    shadow[..., 6:8], shadow[..., 8:10] = SEEN + 0.1, (FAINT + SEEN) / 2
    opacity[..., 10:], shadow[..., 10:] = SEEN + 0.1, SEEN + 0.2
    batch = replace(as_batch(checks[0]), opacity=opacity, shadow=shadow)
    classes, weight = _truth(batch)
    assert classes.shape == weight.shape == (1, 2, 6)
    assert [CLASSES[i] for i in classes[0, 0]] == ["clear", "cloud", "clear", "shadow", "clear", "cloud"]
    assert weight[0, 0].tolist() == [1, MISSED, 0, MISSED, 0, MISSED]


class Answer(CloudNetwork):
    """Gives the cover it was told, one per call."""

    answers: list[Tensor]

    def cover(self, optical: Tensor, present: Tensor) -> Tensor:
        return self.answers.pop(0)


def test_scores(checks: list[Sample]) -> None:
    truths = [_truth(as_batch(check))[0] > 0 for check in checks]
    weights = [_truth(as_batch(check))[1] > 0 for check in checks]
    counted = sum(float(weight.sum()) for weight in weights)
    network = Answer(CloudConfig((8,)))
    network.answers = [truth.float() for truth in truths]
    assert _scores(network, checks) == {"iou": 1, "false_alarms": 0}
    network.answers = [torch.zeros_like(truth, dtype=torch.float32) for truth in truths]
    assert _scores(network, checks) == {"iou": 0, "false_alarms": 0}
    network.answers = [torch.ones_like(truth, dtype=torch.float32) for truth in truths]
    covered = sum(float((truth & seen).sum()) for truth, seen in zip(truths, weights, strict=True))
    assert _scores(network, checks) == {"iou": pytest.approx(covered / counted), "false_alarms": 1}


def test_panels_show_image_answer_and_truth(checks: list[Sample]) -> None:
    network = Answer(CloudConfig((8,)))
    network.answers = [torch.full((1, 32, 32), 0.25)]
    image, cover, truth = _panels(network, checks[0])
    assert image.shape == cover.shape == truth.shape == (3, 64, 64)
    assert (cover == 0.25).all()
    covered = checks[0].opacity[0].numpy() > 0.9
    assert (truth[:, covered] > 0.9).all() and image[:, covered].mean() > image[:, ~covered].mean()
