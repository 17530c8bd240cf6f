from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cmcr_cli.model.cloud_network import CloudConfig, CloudNetwork
from cmcr_cli.model.weights import load
from cmcr_cli.scene.masks.mask_codes import CLEAR, SHADOW, THICK
from cmcr_cli.training.recipe import Recipe
from cmcr_cli.training.run import run_training
from cmcr_cli.training.samples.mask_samples import MaskImage
from cmcr_cli.training.tasks.cloud_masks import CLOUDS, SHADE, _panels, _scores, mask_loss

Agree = Callable[[nn.Module, nn.Module], bool]


@pytest.fixture(autouse=True)
def two_skies(monkeypatch: pytest.MonkeyPatch) -> None:
    """To draw a sky takes long."""
    monkeypatch.setattr("cmcr_cli.training.samples.mask_clouds.SKIES", 2)


def test_a_short_training(
    data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe, networks_agree: Agree
) -> None:
    path = run_training(CLOUDS, data, tmp_path / "run", tiny_recipe, untrained)
    before, after = load(untrained), load(path)
    assert networks_agree(after.denoiser, before.denoiser)
    assert not networks_agree(after.clouds, before.clouds)
    stats = [json.loads(line) for line in (path.parent / "stats.jsonl").read_text().splitlines()]
    assert [line["images"] for line in stats] == [8, 16]
    assert {"loss", "iou", "shadow_recall", "false_alarms"} <= stats[0].keys()
    again = run_training(CLOUDS, data, tmp_path / "run", tiny_recipe, untrained)
    assert networks_agree(load(again).clouds, after.clouds)


def test_it_learns_without_weights_to_begin_with(data: Path, tmp_path: Path, tiny_recipe: Recipe) -> None:
    loop = replace(tiny_recipe.loop, images=480, snapshot=160, average=0.9, learning_rate=4e-3)
    path = run_training(CLOUDS, data, tmp_path, replace(tiny_recipe, loop=loop), None)
    stats = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert stats[-1]["loss"] < 0.8 * stats[0]["loss"]
    assert load(path).clouds.config == tiny_recipe.clouds


def test_loss_is_that_of_the_weighted_cells() -> None:
    classes, weight = torch.zeros(1, 4, 1, 3), torch.tensor([[[1.0, 1.0, 0.0]]])
    classes[0, CLEAR, 0, 0] = classes[0, SHADOW, 0, 1] = classes[0, THICK, 0, 2] = 1
    logits = torch.zeros(1, 4, 1, 3)
    assert mask_loss(logits, classes, weight) == pytest.approx(float(np.log(4)))
    logits[0, CLEAR, 0, 0] = 50  # right, at a weight of 1; the shadow weighs more, the last cell nothing
    expected = float(np.log(4)) * (1 + SHADE) / (2 + SHADE)
    assert mask_loss(logits, classes, weight) == pytest.approx(expected)


class Answer(CloudNetwork):
    """Gives the logits it was told."""

    answer: Tensor

    def forward(self, optical: Tensor, present: Tensor, sun: Tensor) -> Tensor:
        return self.answer


@pytest.fixture
def check() -> MaskImage:
    """16 x 16 cells: the upper half clear, then shadow, then cloud, and the last row unknown."""
    classes, weight = np.zeros((4, 16, 16), np.float16), np.ones((16, 16), np.float32)
    classes[CLEAR, :8] = classes[SHADOW, 8:12] = classes[THICK, 12:] = 1
    weight[15] = 0
    cells = np.linspace(0, 1, 13 * 256, dtype=np.float32).reshape(13, 16, 16)
    return MaskImage("here", "", cells, np.ones(13, np.bool_), classes, weight)


def answering(found: Tensor) -> Answer:
    """A network that finds the classes `found` (16, 16)."""
    network = Answer(CloudConfig((8, 8), 8))
    network.answer = 20 * nn.functional.one_hot(found, 4).permute(2, 0, 1)[None].float()
    return network


def test_scores(check: MaskImage) -> None:
    truth = torch.from_numpy(check.classes.argmax(axis=0).astype(np.int64))
    perfect = {"iou": 1, "shadow_recall": 1, "false_alarms": 0}
    assert _scores(answering(truth), [check, check]) == perfect
    assert _scores(answering(truth * 0), [check]) == {"iou": 0, "shadow_recall": 0, "false_alarms": 0}
    everything = _scores(answering(truth * 0 + THICK), [check])
    assert everything == {"iou": pytest.approx(7 / 15), "shadow_recall": 1, "false_alarms": 1}
    missed = torch.where(truth == SHADOW, CLEAR, truth)
    assert _scores(answering(missed), [check])["shadow_recall"] == 0


def test_panels_show_image_answers_and_truth(check: MaskImage) -> None:
    truth = torch.from_numpy(check.classes.argmax(axis=0).astype(np.int64))
    image, cloud, shadow, covered = _panels(answering(truth), check)
    assert image.shape == cloud.shape == shadow.shape == covered.shape == (3, 16, 16)
    assert (cloud[:, 12:] > 0.9).all() and (cloud[:, :12] < 0.1).all()
    assert (shadow[:, 8:12] > 0.9).all() and (shadow[:, :8] < 0.1).all()
    assert (covered[:, 8:] == 1).all() and (covered[:, :8] == 0).all()
