from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cmcr_cli import __version__
from cmcr_cli.errors import InputError
from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.condition import Condition
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig
from cmcr_cli.training.library import Library, load_library, load_triplets
from cmcr_cli.training.metrics import psnr
from cmcr_cli.training.recipe import (
    Recipe,
    as_batch,
    covered_scores,
    prepared,
    restored,
    start,
    trainable,
    validation_samples,
)
from cmcr_cli.training.samples import Sample

WORKER = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(scope="module")
def checks(data: Path, library: Library) -> list[Sample]:
    return validation_samples(data, library)


@pytest.fixture
def denoiser(tiny_recipe: Recipe) -> Denoiser:
    return Denoiser(tiny_recipe.network, tiny_recipe.diffusion)


def test_validation_is_on_val_triplets_and_the_same_every_time(
    data: Path, library: Library, checks: list[Sample]
) -> None:
    assert len(checks) == 3, "one val triplet under each of the three pairs' clouds"
    clear = load_triplets(data, "val")["three"].clear
    for sample in checks:
        np.testing.assert_allclose(sample.target.float().numpy(), clear, atol=1e-3)
        assert sample.cover.float().mean() > 0.05
    again = validation_samples(data, library)
    for one, other in zip(checks, again, strict=True):
        assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in Sample.__slots__)
    assert not torch.equal(checks[0].cover, checks[1].cover)


def test_data_without_val_triplets_are_refused(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "pairs_s2", tmp_path / "pairs_s2")
    with pytest.raises(InputError, match="val"):
        validation_samples(tmp_path, load_library(tmp_path))


def test_as_batch(checks: list[Sample]) -> None:
    batch = as_batch(checks[0])
    assert batch.optical.shape == (1, 13, 64, 64)
    assert batch.present.shape == (1, 13)
    assert all(getattr(batch, name).dtype == torch.float32 for name in Sample.__slots__)


def test_prepared(checks: list[Sample]) -> None:
    present = torch.ones(1, 13)
    present[0, 10] = 0
    batch = replace(as_batch(checks[0]), present=present)
    x0, condition, weight = prepared(batch)
    expected = (batch.target - batch.context) / batch.spread[:, :, None, None]
    torch.testing.assert_close(x0[:, :10], expected[:, :10])
    assert not x0[:, 10].any() and not weight[:, 10].any()
    assert torch.equal(weight[:, :1], batch.weight)
    assert condition.mean.shape == x0.shape == weight.shape


class Clairvoyant(Denoiser):
    """Knows the truth."""

    truth: Tensor

    def forward(self, x: Tensor, sigma: Tensor, features: list[Tensor], condition: Condition) -> Tensor:
        return self.truth


@pytest.mark.parametrize("steps", [1, 4])
def test_restored_comes_back_in_reflectance(tiny_recipe: Recipe, checks: list[Sample], steps: int) -> None:
    batch = as_batch(checks[0])
    oracle = Clairvoyant(tiny_recipe.network, DiffusionConfig())
    oracle.truth = prepared(batch)[0]
    torch.testing.assert_close(restored(oracle, batch, steps), batch.target, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_restored_depends_on_its_seed(denoiser: Denoiser, checks: list[Sample]) -> None:
    batch = as_batch(checks[0])
    assert torch.equal(restored(denoiser, batch, 2, seed=1), restored(denoiser, batch, 2, seed=1))
    assert not torch.equal(restored(denoiser, batch, 2, seed=1), restored(denoiser, batch, 2, seed=2))


def test_covered_scores(denoiser: Denoiser, checks: list[Sample]) -> None:
    scores = covered_scores(denoiser.train(), checks)
    assert scores.keys() == {"context_db", "steps1_db", "steps4_db"}
    expected = [
        psnr(s.context.float().clamp(0, 1).numpy(), s.target.float().numpy(), s.cover[0].numpy() > 0)
        for s in checks
    ]
    assert scores["context_db"] == pytest.approx(np.mean(expected), abs=1e-3)
    assert scores["steps1_db"] != scores["steps4_db"]


def test_trainable_is_a_copy(denoiser: Denoiser) -> None:
    twin = trainable(denoiser)
    with torch.no_grad():
        twin.step.head.bias.add_(1)
    assert not denoiser.step.head.bias.any()
    assert twin.step.head.weight.is_contiguous(memory_format=torch.channels_last)


@WORKER
@pytest.mark.usefixtures("small_buffer")
def test_start_makes_fresh_weights_of_the_recipe(data: Path, tmp_path: Path, tiny_recipe: Recipe) -> None:
    run = start(data, tmp_path, tiny_recipe, None)
    weights = run.weights
    assert weights.denoiser.network_config == tiny_recipe.network
    assert weights.clouds.config == tiny_recipe.clouds
    assert ((weights.mean > 0.0005) & (weights.mean < 0.6)).all()
    assert (weights.spread >= 0.0099).all()
    batch = run.batch()
    assert batch.optical.shape == (4, 13, 32, 32)
    other = start(data, tmp_path, replace(tiny_recipe, loop=replace(tiny_recipe.loop, seed=1)), None)
    first, second = (w.denoiser.encoder.stem.weight for w in (weights, other.weights))
    assert not torch.equal(first, second)


@WORKER
@pytest.mark.usefixtures("small_buffer")
def test_the_card_tells_the_whole_history(data: Path, tmp_path: Path, tiny_recipe: Recipe) -> None:
    run = start(data, tmp_path, tiny_recipe, None)
    first = run.save("clouds", 7)
    assert first == tmp_path / "weights.safetensors"
    second = tmp_path / "next"
    second.mkdir()
    card = weights_file.load(start(data, second, tiny_recipe, first).save("teacher", 9)).card
    assert card["name"] == "next"
    assert card["version"] == __version__
    assert list(card["history"]) == ["clouds", "teacher"]
    assert [step["images"] for step in card["history"].values()] == [7, 9]
    as_text = json.loads(json.dumps(asdict(tiny_recipe)))
    assert card["history"]["teacher"] == {"images": 9, **as_text}


def test_start_refuses_before_it_draws_samples(data: Path, tmp_path: Path, tiny_recipe: Recipe) -> None:
    """Without the small buffer, drawing a hundred samples would take a while; nothing is drawn."""
    shutil.copytree(data / "pairs_s2", tmp_path / "pairs_s2")
    with pytest.raises(InputError, match="val"):
        start(tmp_path, tmp_path / "run", tiny_recipe, None)
    assert not (tmp_path / "run").exists()
