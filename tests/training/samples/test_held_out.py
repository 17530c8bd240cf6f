from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cmcr_cli.errors import InputError
from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.condition import Condition, to_reflectance, to_scene_units
from cmcr_cli.model.diffusion import Denoiser
from cmcr_cli.training.data.images import clear_of
from cmcr_cli.training.data.library import Library, load_library, load_pairs
from cmcr_cli.training.metrics import psnr
from cmcr_cli.training.samples.held_out import (
    MASKS,
    as_batch,
    covered_scores,
    evenly,
    restored,
    transplanted,
    validation_samples,
)
from cmcr_cli.training.samples.patch_samples import Sample, patch_inputs
from tests.support.tensors import assert_close


@pytest.fixture(scope="module")
def checks(data: Path, library: Library) -> list[Sample]:
    return validation_samples(data, library)


@pytest.fixture(scope="module")
def denoiser(untrained: Path) -> Denoiser:
    return weights_file.load(untrained).denoiser.eval()


def test_the_same_samples_in_every_run(data: Path, library: Library, checks: list[Sample]) -> None:
    again = validation_samples(data, library)
    assert 0 < len(checks) == len(again) <= MASKS
    for one, other in zip(checks, again, strict=True):
        assert all(torch.equal(getattr(one, f), getattr(other, f)) for f in Sample.__slots__)


def test_the_truth_is_the_clear_image(data: Path, library: Library) -> None:
    pairs = load_pairs(data, "val")
    for check in transplanted(pairs.items(), library.pairs):
        truth = clear_of(pairs[check.name.split()[0]]).optical
        np.testing.assert_array_equal(check.scene.ground.optical, truth)
        untouched = (check.scene.opacity == 0) & (check.scene.shadow == 0)
        np.testing.assert_allclose(check.scene.cloudy[:, untouched], truth[:, untouched], atol=1e-6)
        assert check.scene.opacity.max() > 0.3


def test_samples_without_radar_or_context(data: Path, library: Library) -> None:
    check = next(transplanted(load_pairs(data, "val").items(), library.pairs))
    assert check.sample().radar_valid.any() and check.sample().confidence.any()
    assert not check.sample(radar=False).radar_valid.any()
    assert not check.sample(context=False).confidence.any()


def test_a_clear_image_under_cirrus_is_not_truth(sen12mscr: Callable[..., Path]) -> None:
    folder = sen12mscr(cirrus=300)
    assert not list(transplanted(load_pairs(folder, "val").items(), load_library(folder).pairs))
    with pytest.raises(InputError, match="split val"):
        validation_samples(folder, load_library(folder))


def test_evenly() -> None:
    assert evenly("abcdef", 3) == ["a", "c", "e"]
    assert evenly("abcdefg", 2) == ["a", "d"]
    assert evenly("ab", 5) == evenly("ab", None) == ["a", "b"]


def test_as_batch(checks: list[Sample]) -> None:
    batch = as_batch(checks[0])
    assert batch.optical.dtype == torch.float32 and batch.optical.shape[0] == 1
    assert torch.equal(batch.target[0], checks[0].target.float())


class Clairvoyant(Denoiser):
    """Knows the truth, in scene units."""

    truth: Tensor

    def forward(self, x: Tensor, sigma: Tensor, features: list[Tensor], condition: Condition) -> Tensor:
        return self.truth


@pytest.mark.parametrize("steps", [1, 4])
def test_restored_comes_back_in_reflectance(denoiser: Denoiser, checks: list[Sample], steps: int) -> None:
    batch = as_batch(checks[0])
    oracle = Clairvoyant(denoiser.network_config, denoiser.diffusion)
    inputs = patch_inputs(batch)
    oracle.truth = to_scene_units(batch.target, inputs)
    expected = to_reflectance(Condition.of(inputs).finished(oracle.truth), inputs)
    assert_close(restored(oracle, batch, steps), expected, rtol=0, atol=1e-5)
    condition = Condition.of(inputs)
    seen = (condition.hidden == 0) & (condition.woven == 0)
    assert seen.float().mean() > 0.5
    shown = seen.expand_as(expected)
    assert_close(expected[shown], batch.target[shown], rtol=0, atol=1e-5)


def test_restored_draws_by_its_seed(denoiser: Denoiser, checks: list[Sample]) -> None:
    batch = as_batch(checks[0])
    with torch.inference_mode():
        one, same, other = (restored(denoiser, batch, 2, seed) for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_covered_scores(denoiser: Denoiser, checks: list[Sample]) -> None:
    scores = covered_scores(denoiser.train(), checks)
    assert not denoiser.training
    by_hand = [
        psnr(
            check.context.float().clamp(0, 1).numpy(),
            check.target.float().numpy(),
            check.cover[0].numpy() > 0.5,
        )
        for check in checks
    ]
    assert scores["context_db"] == pytest.approx(np.mean(by_hand), abs=1e-4)
    assert set(scores) == {"context_db", "steps1_db", "steps4_db"}
