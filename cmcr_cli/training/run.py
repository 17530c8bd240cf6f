"""Parts that all trainings share: starting a run, its data, its validation and its results."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from cmcr_cli.errors import InputError, OptionError, OutputError
from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.cloud_network import CloudNetwork
from cmcr_cli.model.condition import Condition, to_scene_units
from cmcr_cli.model.diffusion import Denoiser
from cmcr_cli.model.weights import Weights, replacing, writing
from cmcr_cli.training import checkpoint
from cmcr_cli.training.data.library import Library, load_library
from cmcr_cli.training.data.watched import watched
from cmcr_cli.training.loop import STATS, Batches, Task, train
from cmcr_cli.training.pictures import Panel, write_panels
from cmcr_cli.training.processes import Process, joined
from cmcr_cli.training.recipe import Recipe, differences, dump_recipe, parse_recipe
from cmcr_cli.training.samples.held_out import evenly, validation_samples
from cmcr_cli.training.samples.patch_samples import (
    Sample,
    SampleSequence,
    crop_batches,
    on_device,
    patch_inputs,
)
from cmcr_cli.version import __version__

log = logging.getLogger("cmcr")

Network = TypeVar("Network", Denoiser, CloudNetwork)

WEIGHTS, RECIPE, PICTURES = "weights.safetensors", "recipe.toml", "samples"
"""Names in the run folder, besides the checkpoint and STATS."""

SHOWN = 6
"""Number of validation samples in the pictures."""

FREE = ("loop.images:", "data.workers:")
"""Settings that may differ when a run is continued."""


@dataclass(frozen=True, slots=True)
class Run:
    """A training in progress.

    Attributes:
        recipe: Settings.
        data: Folder of training data.
        folder: Run folder.
        weights: Weights that the run starts from.
        library: Training images.
        checks: Validation samples.
        process: This process.
    """

    recipe: Recipe
    data: Path
    folder: Path
    weights: Weights
    library: Library
    checks: list[Any]
    process: Process

    def trainable(self, network: Network) -> Network:
        """Copy a network for training.

        Args:
            network: The network, which stays as it is.

        Returns:
            The copy on the device of the process, in channels_last.
        """
        twin = copy.deepcopy(network)
        twin.to(device=self.process.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return twin

    def save(self, training: str, images: int, network: nn.Module) -> Path:
        """Write the weights file of the run, with a model card.

        Args:
            training: Name of the training.
            images: Crops seen so far.
            network: Network that replaces the one in the weights.

        Returns:
            Path of the file.
        """
        path = self.folder / WEIGHTS
        history = {
            **self.weights.card.get("history", {}),
            training: {"images": images, **asdict(self.recipe)},
        }
        card = {"name": path.parent.name, "version": __version__, "history": history}
        part: dict[str, Any] = {"clouds" if isinstance(network, CloudNetwork) else "denoiser": network}
        weights_file.save(path, replace(self.weights, card=card, **part))
        return path


@dataclass(frozen=True, slots=True)
class Training:
    """One of the three trainings: clouds, teacher or student.

    Attributes:
        name: Name in the history of weights.
        task: Makes the task of a run.
        scores: Scores a network on validation samples; metrics by name.
        panels: Pictures of one validation sample.
        gflop: GFLOP of a patch of 256 x 256 px.
        batches: Batches of a run.
        checks: Validation samples.
    """

    name: str
    task: Callable[[Run], Task]
    scores: Callable[[Any, list[Any]], dict[str, float]]
    panels: Callable[[Any, Any], Sequence[Panel]]
    gflop: Callable[[Any], float]
    batches: Callable[[Run], Batches]
    checks: Callable[[Path, Library, Recipe], list[Any]]


def run_training(
    training: Training, data: Path, folder: Path, recipe: Recipe, init: Path | None, device: str = "auto"
) -> Path:
    """Train a network; continues from the checkpoint in the run folder, if there is one.

    The run folder receives the recipe and, at every snapshot, weights, statistics and pictures.

    Args:
        training: Which training.
        data: Folder of training data, or the word `simulated`.
        folder: Run folder.
        recipe: Settings.
        init: Weights to start from; None: random weights. Networks that are not trained are kept.
        device: Device, as for `--device`.

    Returns:
        Path of the weights file.

    Raises:
        OptionError: The processes cannot share a batch.
        InputError: The data cannot be used, or the run folder contains another training.
        OutputError: The run folder contains files that the run would replace and did not write, or it
            cannot be written.
        WeightsError: `init` cannot be used.
    """
    with start(training, data, folder, recipe, init, device) as run:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        recipe_text = dump_recipe(run.recipe)
        if run.process.rank == 0:
            with replacing(folder / RECIPE) as part:
                part.write_text(recipe_text, encoding="utf-8")

        def snapshot(average: nn.Module, images: int) -> dict[str, float]:
            run.save(training.name, images, average)
            rows = [training.panels(average, check) for check in evenly(run.checks, SHOWN)]
            write_panels(folder / PICTURES / f"{images}.png", rows)
            return training.scores(average, run.checks)

        signature = {"training": training.name, "recipe": recipe_text}
        task = training.task(run)
        average, images = train(
            task, training.batches(run), snapshot, run.recipe.loop, folder, run.process, signature
        )
        if run.process.rank == 0:
            run.save(training.name, images, average)
        return folder / WEIGHTS


@contextmanager
def start(
    training: Training, data: Path, folder: Path, recipe: Recipe, init: Path | None, device: str
) -> Iterator[Run]:
    """Join the other processes, check the settings, and load weights and data; writes nothing.

    Args:
        training: What is trained.
        data: Folder of the data.
        folder: Folder of the run.
        recipe: All settings.
        init: Weights that it starts from; None: random ones.
        device: As `--device` takes it.

    Yields:
        The run.

    Raises:
        CmcrError: As for `run_training`.
    """
    with joined(device) as process:
        if recipe.loop.batch % process.world_size:
            raise OptionError(
                f"--batch {recipe.loop.batch}: expected a multiple of the {process.world_size} processes"
            )
        given = None if init is None else weights_file.load(init)
        if given is not None:
            recipe = _resolved(recipe, given, training.name)
        _check_resumable(folder / checkpoint.NAME, training.name, recipe)
        _check_folder(folder, recipe, init)
        if process.rank == 0:
            log.warning("recipe:\n%s", dump_recipe(recipe))
        torch.manual_seed(recipe.loop.seed)
        library = load_library(data, recipe.data.split_rule, _fold(training, recipe))
        fresh = Denoiser(recipe.network, recipe.diffusion), CloudNetwork(recipe.clouds)
        weights = _weights(given, training.name, *fresh, library)
        checks = training.checks(data, library, recipe) if process.rank == 0 else []
        yield Run(recipe, data, folder, weights, library, checks, process)


def _fold(training: Training, recipe: Recipe) -> int:
    """Fold to hold out of the library; 0 for the cloud network, which holds it out of its own samples."""
    return 0 if training.name == "clouds" else recipe.data.fold


def crops(run: Run) -> Batches:
    """Make the sequence of batches on which a denoiser is trained.

    Args:
        run: The run.

    Returns:
        Function that yields crops of samples with clouds and context, from the batch of a number on.
    """
    loop, process = run.recipe.loop, run.process
    samples = SampleSequence(run.library, run.recipe.mix, loop.seed, process.rank)
    count = loop.batch // process.world_size

    def batches(first: int) -> Iterator[Sample]:
        for batch in crop_batches(samples, run.recipe.data, count, loop.crop, first):
            yield on_device(batch, process.device)

    return batches


def clouded_checks(data: Path, library: Library, recipe: Recipe) -> list[Sample]:
    """Make the validation samples of a denoiser.

    Args:
        data: Folder of training data, or the word `simulated`.
        library: Training images.
        recipe: Of the run.

    Returns:
        The samples, see `validation_samples`.

    Raises:
        InputError: The val split is empty.
    """
    return validation_samples(data, library, recipe.data.split_rule)


def prepared(batch: Sample) -> tuple[Tensor, Condition, Tensor]:
    """Prepare a batch for the losses.

    Args:
        batch: Batch of samples.

    Returns:
        x0 in scene units (B, 13, H, W), the condition, and the loss weights (B, 13, H, W).
    """
    inputs = patch_inputs(batch)
    weight = batch.weight * batch.present[:, :, None, None]
    return to_scene_units(batch.target, inputs), Condition.of(inputs), weight


def _keeps(given: Weights, training: str) -> tuple[bool, bool]:
    """Whether denoiser and cloud network of `given` are used; networks that were never trained are not."""
    history = given.card.get("history", {})
    denoiser = training == "student" or bool({"teacher", "student"} & history.keys())
    return denoiser, "clouds" in history


def _resolved(recipe: Recipe, given: Weights, training: str) -> Recipe:
    """Recipe with the architecture of the networks in `given` that were trained before."""
    denoiser, clouds = _keeps(given, training)
    if denoiser:
        recipe = replace(recipe, network=given.denoiser.network_config, diffusion=given.denoiser.diffusion)
    return replace(recipe, clouds=given.clouds.config) if clouds else recipe


def _check_folder(folder: Path, recipe: Recipe, init: Path | None) -> None:
    """Raise OutputError if the run would replace files that it did not write."""
    path = folder / WEIGHTS
    if init is not None and path.exists() and path.samefile(init):
        raise OutputError(f"{path}: the run starts from it (--init, --teacher); choose another --run-dir")
    taken = [name for name in (WEIGHTS, RECIPE, STATS, PICTURES) if os.path.lexists(folder / name)]
    if not taken or (folder / checkpoint.NAME).exists():
        return
    # A run that was killed before its first checkpoint has left only its recipe.
    try:
        ours = (folder / RECIPE).read_text(encoding="utf-8") == dump_recipe(recipe)
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise OutputError(
            f"{folder}: contains {', '.join(taken)} but no checkpoint of this run; expected an empty folder, "
            "or that of a run to continue. Choose another --run-dir"
        )


def _check_resumable(path: Path, training: str, recipe: Recipe) -> None:
    if not path.is_file():
        return
    saved = checkpoint.signature_of(path)
    if saved.get("training") != training:
        raise InputError(
            f"{path}: found a training of the {saved.get('training')}; expected one of the {training}. Start "
            "a new run with another --run-dir"
        )
    try:
        changed = differences(parse_recipe(saved["recipe"]), recipe)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path}: does not contain a recipe of this version of cmcr ({error}). Start a new run with "
            "another --run-dir"
        ) from error
    changed = [line for line in changed if not line.startswith(FREE)]
    if changed:
        raise InputError(
            f"{path}: was made with another recipe ({'; '.join(changed)} now); expected the same, except "
            f"loop.images and data.workers. Use {path.with_name(RECIPE)} with --config, or start "
            "a new run with another --run-dir"
        )


def _weights(
    given: Weights | None, training: str, denoiser: Denoiser, clouds: CloudNetwork, library: Library
) -> Weights:
    """Initial weights: networks of `given` that were trained before, else the fresh ones."""
    if given is None:
        return Weights(denoiser, clouds, *_statistics(library))
    keeps_denoiser, keeps_clouds = _keeps(given, training)
    return replace(
        given,
        denoiser=given.denoiser if keeps_denoiser else denoiser,
        clouds=given.clouds if keeps_clouds else clouds,
    )


def _statistics(library: Library, count: int = 300) -> tuple[Tensor, Tensor]:
    """Mean and std (13,) of reflectance: medians over one image of each of at most `count` places."""
    rng = np.random.default_rng(0)
    means, stds = [], []
    order = rng.permutation(len(library.places))
    for index in watched(order, "places for the statistics", min(count, len(order))):
        place = library.places[int(index)]
        image = place[int(rng.integers(len(place)))]
        if image.present.all():
            means.append(image.optical.mean(axis=(1, 2)))
            stds.append(image.optical.std(axis=(1, 2)))
        if len(means) == count:
            break
    mean, std = (np.median(values, axis=0).astype(np.float32) for values in (means, stds))
    return torch.from_numpy(mean), torch.from_numpy(np.maximum(std, np.float32(0.01)))
