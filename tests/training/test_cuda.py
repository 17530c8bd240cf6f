"""Trainings on a GPU, whose weights a CPU can use."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from cmcr_cli.model import weights as weights_file
from cmcr_cli.training.loop import STATS
from cmcr_cli.training.recipe import Recipe
from cmcr_cli.training.run import Training, run_training, start
from cmcr_cli.training.tasks.cloud_masks import CLOUDS
from cmcr_cli.training.tasks.student import STUDENT
from cmcr_cli.training.tasks.teacher import TEACHER

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("training", [CLOUDS, TEACHER, STUDENT], ids=lambda training: training.name)
def test_updates_in_16_bits(
    training: Training,
    data: Path,
    untrained: Path,
    tmp_path: Path,
    tiny_recipe: Recipe,
    networks_agree: Callable[[nn.Module, nn.Module], bool],
) -> None:
    recipe = replace(tiny_recipe, loop=replace(tiny_recipe.loop, precision="bfloat16"))
    path = run_training(training, data, tmp_path, recipe, untrained, "cuda")
    longer = replace(recipe, loop=replace(recipe.loop, images=recipe.loop.images + 8))
    assert run_training(training, data, tmp_path, longer, untrained, "cuda") == path
    figures = [json.loads(line) for line in (tmp_path / STATS).read_text().splitlines()]
    assert [line["images"] for line in figures] == [8, 16, 24]
    assert all(0 < line["loss"] < 1e3 for line in figures)
    found, before = weights_file.load(path), weights_file.load(untrained)
    trained = "clouds" if training is CLOUDS else "denoiser"
    for name in ("clouds", "denoiser"):
        networks = getattr(found, name), getattr(before, name)
        assert networks_agree(*networks) == (name != trained)
        assert {value.device.type for value in networks[0].state_dict().values()} == {"cpu"}


def test_an_update_in_32_bits_has_the_loss_of_the_cpu(
    data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    """That of the cloud network, where nothing is drawn on the device."""
    losses = []
    for device in ("cpu", "cuda"):
        with start(CLOUDS, data, tmp_path, tiny_recipe, untrained, device) as run:
            batch = next(CLOUDS.batches(run)(0))
            value = CLOUDS.task(run).loss(batch, torch.Generator(run.process.device))
            value.backward()  # type: ignore[no-untyped-call]
            losses.append(float(value))
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)
