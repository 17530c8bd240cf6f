from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from cmcr_cli.model.weights import load
from cmcr_cli.training.recipe import Recipe, Run
from cmcr_cli.training.samples import Sample
from cmcr_cli.training.teacher import _sigmas, train_teacher

Agree = Callable[[nn.Module, nn.Module], bool]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.usefixtures("small_buffer"),
]


def test_a_short_training(
    data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe, networks_agree: Agree
) -> None:
    path = train_teacher(data, tmp_path / "run", tiny_recipe, untrained)
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
    first = load(train_teacher(data, tmp_path, tiny_recipe, untrained))
    again = load(train_teacher(data, tmp_path, tiny_recipe, untrained))
    assert networks_agree(again.denoiser, first.denoiser)


def test_it_learns_a_batch_by_heart(
    data: Path, tmp_path: Path, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[Sample] = []

    def the_same(run: Run) -> Sample:
        if not batches:
            batches.append(run.buffer.batch(4, 32))
        return batches[0]

    monkeypatch.setattr(Run, "batch", the_same)
    loop = replace(tiny_recipe.loop, images=640, snapshot=160, average=0.9, learning_rate=4e-3)
    train_teacher(data, tmp_path, replace(tiny_recipe, loop=loop, at_sigma_max=1.0), None)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.75 * losses[0]


def test_noise_levels(tiny_recipe: Recipe) -> None:
    generator = torch.Generator().manual_seed(0)
    recipe = replace(tiny_recipe, at_sigma_max=0.25, log_sigma=(-1.0, 0.5))
    sigma = _sigmas(40_000, recipe, generator)
    assert (sigma[:10_000] == recipe.diffusion.sigma_max).all()
    rest = sigma[10_000:].log()
    assert float(rest.mean()) == pytest.approx(-1, abs=0.02)
    assert float(rest.std()) == pytest.approx(0.5, abs=0.02)
    wide = _sigmas(40_000, replace(recipe, log_sigma=(-1.0, 9.0)), generator)
    assert float(wide.min()) > recipe.diffusion.sigma_min
    assert float(wide.max()) == recipe.diffusion.sigma_max
