"""What the three trainings share: the recipe, the start of a run, its data and its validation."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from cmcr_cli import __version__
from cmcr_cli.errors import InputError
from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.clouds import CloudConfig, CloudNetwork
from cmcr_cli.model.condition import Condition, to_reflectance, to_scene_units
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig
from cmcr_cli.model.network import NetworkConfig
from cmcr_cli.model.pdmsr import sample
from cmcr_cli.model.weights import Weights
from cmcr_cli.training.library import ClearImage, Library, load_library, load_triplets
from cmcr_cli.training.loop import LoopConfig
from cmcr_cli.training.metrics import psnr
from cmcr_cli.training.samples import Clouded, CropBuffer, Mix, Sample, SampleStream, assemble, patch_inputs
from cmcr_cli.training.synthesis import cover_mask, transplant

Network = TypeVar("Network", Denoiser, CloudNetwork)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a run; saved in the card of its weights."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    mix: Mix = field(default_factory=Mix)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    clouds: CloudConfig = field(default_factory=CloudConfig)
    at_sigma_max: float = 0.5  # share of a batch at the noise of the first step
    log_sigma: tuple[float, float] = (-0.8, 1.4)  # teacher: mean and deviation of ln sigma for the rest
    levels: int = 24  # distillation: noise levels
    anchor: float = 1.0  # distillation: weight of the ground truth
    target: float = 0.95  # distillation: decay of the target copy


@dataclass(frozen=True, slots=True)
class Run:
    """One training under way: its recipe and folder, the weights it improves, its data and its checks."""

    recipe: Recipe
    folder: Path
    weights: Weights
    buffer: CropBuffer
    checks: list[Sample]

    def batch(self) -> Sample:
        """A fresh batch of crops."""
        return self.buffer.batch(self.recipe.loop.batch, self.recipe.loop.crop)

    def save(self, kind: str, images: int) -> Path:
        """Write the weights with a card that says how they were made."""
        path = self.folder / "weights.safetensors"
        history = {**self.weights.card.get("history", {}), kind: {"images": images, **asdict(self.recipe)}}
        card = {"name": path.parent.name, "version": __version__, "history": history}
        weights_file.save(path, replace(self.weights, card=card))
        return path


def start(data: Path, folder: Path, recipe: Recipe, init: Path | None) -> Run:
    """Load the data, and the weights `init` or fresh ones."""
    library = load_library(data)
    torch.manual_seed(recipe.loop.seed)
    weights = _fresh(recipe, library) if init is None else weights_file.load(init)
    stream = SampleStream(library, recipe.mix, recipe.loop.seed)
    checks = validation_samples(data, library)
    return Run(recipe, folder, weights, CropBuffer(stream, seed=recipe.loop.seed), checks)


def _fresh(recipe: Recipe, library: Library) -> Weights:
    images = [image.optical for place in library.places for image in place if image.present.all()]
    mean = np.median([image.mean(axis=(1, 2)) for image in images], axis=0)
    spread = np.median([image.std(axis=(1, 2)) for image in images], axis=0)
    return Weights(
        Denoiser(recipe.network, recipe.diffusion),
        CloudNetwork(recipe.clouds),
        torch.from_numpy(mean.astype(np.float32)),
        torch.from_numpy(np.maximum(spread, 0.01).astype(np.float32)),
    )


def validation_samples(data: Path, library: Library, masks: int = 4) -> list[Sample]:
    """Clear images of the val triplets under real clouds of the training pairs: the same in every run.

    Raises InputError when `data` has no val triplets.
    """
    rng = np.random.default_rng(20_251_114)
    samples = []
    for truth in load_triplets(data, "val").values():
        ground = ClearImage(truth.clear, np.ones(13, bool), truth.radar)
        for index in rng.choice(len(library.pairs), min(masks, len(library.pairs)), replace=False):
            scene = Clouded(ground, *transplant(ground.optical, library.pairs[index], rng), same_date=True)
            covered = cover_mask(scene.opacity, scene.shadow, rng)
            samples.append(assemble(scene, covered, ground.present, ground.radar, context=True))
    if not samples:
        raise InputError(
            f"{data}: found no triplet of split val; expected a row with `val` in triplets/index.csv, "
            "which the training measures itself on"
        )
    return samples


def as_batch(one: Sample) -> Sample:
    """A single sample as a batch of one, float32."""
    return Sample(**{name: getattr(one, name)[None].float() for name in Sample.__slots__})


def restored(denoiser: Denoiser, batch: Sample, steps: int, seed: int = 0) -> Tensor:
    """The denoiser's image (B, 13, H, W) in reflectance for a batch, un-composited."""
    inputs = patch_inputs(batch)
    generator = torch.Generator().manual_seed(seed)
    noise: Callable[[int], Tensor] = lambda step: torch.randn(batch.optical.shape, generator=generator)  # noqa: E731
    known = to_scene_units(inputs.optical, inputs)
    z = sample(denoiser, Condition.of(inputs), steps, noise, known, inputs.cover)
    return to_reflectance(z, inputs)


@torch.inference_mode()
def covered_scores(denoiser: Denoiser, checks: list[Sample]) -> dict[str, float]:
    """Mean PSNR (dB) on covered pixels at 1 and 4 steps, beside that of the context alone."""
    denoiser.eval()
    rows = []
    for one in checks:
        batch = as_batch(one)
        where = batch.cover[0, 0].numpy() > 0.5
        images = [batch.context, restored(denoiser, batch, 1), restored(denoiser, batch, 4)]
        target = batch.target[0].numpy()
        rows.append([psnr(image[0].clamp(0, 1).numpy(), target, where) for image in images])
    context, one_step, four_steps = np.mean(rows, axis=0)
    return {"context_db": float(context), "steps1_db": float(one_step), "steps4_db": float(four_steps)}


def prepared(batch: Sample) -> tuple[Tensor, Condition, Tensor]:
    """x0 in scene units, the condition, and the loss weights (B, 13, H, W)."""
    inputs = patch_inputs(batch)
    weight = batch.weight * batch.present[:, :, None, None]
    return to_scene_units(batch.target, inputs), Condition.of(inputs), weight


def trainable(network: Network) -> Network:
    """A copy in the layout in which plain convolutions are fast."""
    twin = copy.deepcopy(network)
    twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return twin
