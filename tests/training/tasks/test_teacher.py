from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from cmcr_cli.model.diffusion import Denoiser
from cmcr_cli.model.weights import load
from cmcr_cli.training.data.library import Library
from cmcr_cli.training.recipe import Recipe
from cmcr_cli.training.run import crops, run_training
from cmcr_cli.training.samples.held_out import validation_samples
from cmcr_cli.training.tasks.teacher import TEACHER, _sigmas, restored_panels

Agree = Callable[[nn.Module, nn.Module], bool]


def test_a_short_training(
    data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe, networks_agree: Agree
) -> None:
    path = run_training(TEACHER, data, tmp_path / "run", tiny_recipe, untrained)
    assert path == tmp_path / "run" / "weights.safetensors"
    before, after = load(untrained), load(path)
    assert not networks_agree(after.denoiser, before.denoiser)
    assert networks_agree(after.clouds, before.clouds)
    assert torch.equal(after.mean, before.mean)
    assert after.card["history"]["teacher"]["images"] == tiny_recipe.loop.images
    stats = [json.loads(line) for line in (path.parent / "stats.jsonl").read_text().splitlines()]
    assert [line["images"] for line in stats] == [8, 16]
    assert {"loss", "context_db", "steps1_db", "steps4_db"} <= stats[0].keys()
    assert not list(path.parent.glob("*.part"))


def test_a_finished_run_asked_again_keeps_its_weights(
    data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe, networks_agree: Agree
) -> None:
    first = load(run_training(TEACHER, data, tmp_path, tiny_recipe, untrained))
    again = load(run_training(TEACHER, data, tmp_path, tiny_recipe, untrained))
    assert networks_agree(again.denoiser, first.denoiser)


def test_it_learns_a_batch_by_heart(data: Path, tmp_path: Path, tiny_recipe: Recipe) -> None:
    teacher = replace(TEACHER, batches=lambda run: lambda first: itertools.repeat(next(crops(run)(0))))
    loop = replace(tiny_recipe.loop, images=640, snapshot=160, average=0.9, learning_rate=4e-3)
    objective = replace(tiny_recipe.objective, at_sigma_max=1.0)
    run_training(teacher, data, tmp_path, replace(tiny_recipe, loop=loop, objective=objective), None)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.75 * losses[0]


def test_panels_show_the_truth_last(data: Path, library: Library, tiny_recipe: Recipe) -> None:
    check = validation_samples(data, library)[0]
    network = Denoiser(tiny_recipe.network, tiny_recipe.diffusion)
    cloudy, context, one, four, truth = restored_panels(network, check)
    assert {panel.shape for panel in (cloudy, context, one, four, truth)} == {(3, 64, 64)}
    overcast = check.opacity[0].numpy() > 0.9
    assert overcast.any()
    assert cloudy[:, overcast].mean() > truth[:, overcast].mean() + 0.1
    assert abs(context - truth).mean() < abs(cloudy - truth).mean()
    assert truth.min() >= 0 and truth.max() <= 1


def test_noise_levels(tiny_recipe: Recipe) -> None:
    generator = torch.Generator().manual_seed(0)
    objective = replace(tiny_recipe.objective, at_sigma_max=0.25, log_sigma=(-1.0, 0.5))
    recipe = replace(tiny_recipe, objective=objective)
    sigma = _sigmas(40_000, recipe, generator)
    assert (sigma[:10_000] == recipe.diffusion.sigma_max).all()
    rest = sigma[10_000:].log()
    assert float(rest.mean()) == pytest.approx(-1, abs=0.02)
    assert float(rest.std()) == pytest.approx(0.5, abs=0.02)
    wild = replace(recipe, objective=replace(objective, log_sigma=(-1.0, 9.0)))
    wide = _sigmas(40_000, wild, generator)
    assert float(wide.min()) > recipe.diffusion.sigma_min
    assert float(wide.max()) == recipe.diffusion.sigma_max
