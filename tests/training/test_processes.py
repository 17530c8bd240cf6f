from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, multiprocessing

from cmcr_cli.errors import OptionError
from cmcr_cli.model.consistency import denoising_loss
from cmcr_cli.training.loop import Task, Updates
from cmcr_cli.training.processes import Process
from cmcr_cli.training.recipe import Recipe
from cmcr_cli.training.run import Run, crops, prepared, start
from cmcr_cli.training.samples.patch_samples import Sample
from cmcr_cli.training.tasks.teacher import TEACHER
from tests.support.tensors import assert_close

TWO = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}


def one_update(run: Run, batch: Sample) -> dict[str, Tensor]:
    """Gradients and weights after an update on `batch` by a loss without chance in it."""
    network = run.trainable(run.weights.denoiser)

    def loss(batch: Sample, generator: torch.Generator) -> Tensor:
        x0, condition, weight = prepared(batch)
        sigma = torch.ones(len(x0))
        return denoising_loss(network, x0, condition, sigma, torch.zeros_like(x0), weight).mean()

    Updates(Task(network, loss), run.recipe.loop, run.process).update(batch, 0)
    result = {f"weight.{name}": p.detach().contiguous() for name, p in network.named_parameters()}
    return result | {
        f"gradient.{name}": p.grad.contiguous()
        for name, p in network.named_parameters()
        if p.grad is not None
    }


def of_rank(rank: int, port: int, folder: Path, data: Path, recipe: Recipe, init: Path) -> None:
    torch.set_num_threads(1)
    os.environ |= {**TWO, "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    with start(TEACHER, data, folder, recipe, init, "cpu") as run:
        batch = next(crops(run)(0))
        save_file(
            {f.name: getattr(batch, f.name).contiguous() for f in fields(Sample)}, folder / f"batch{rank}"
        )
        save_file(one_update(run, batch), folder / f"update{rank}")


def test_an_update_of_two_processes_is_one_on_both_their_batches(
    data: Path, untrained: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    multiprocessing.spawn(of_rank, (port, tmp_path, data, tiny_recipe, untrained), nprocs=2)
    first, second = (load_file(tmp_path / f"batch{rank}") for rank in (0, 1))
    assert first["optical"].shape == (2, 13, 32, 32), "the batch of four is shared"
    assert not torch.equal(first["optical"], second["optical"])
    one, other = (load_file(tmp_path / f"update{rank}") for rank in (0, 1))
    assert all(torch.equal(one[name], other[name]) for name in one)
    both = Sample(**{name: torch.cat([first[name], second[name]]) for name in first})
    with start(TEACHER, data, tmp_path, tiny_recipe, untrained, "cpu") as run:
        alone = one_update(run, both)
    for name, value in alone.items():
        if name.startswith("gradient."):
            assert_close(one[name], value, rtol=1e-4, atol=1e-6)
    head = "weight.step.head.weight"
    assert not torch.equal(alone[head], run.weights.denoiser.step.head.weight)
    assert_close(one[head], alone[head], rtol=0, atol=2e-5)


def test_a_batch_that_cannot_be_shared_is_refused(
    data: Path, tmp_path: Path, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def three(device: str) -> Iterator[Process]:
        yield Process(1, 3, torch.device("cpu"))

    monkeypatch.setattr("cmcr_cli.training.run.joined", three)
    with (
        pytest.raises(OptionError, match=r"--batch 4.*3 processes"),
        start(TEACHER, data, tmp_path, tiny_recipe, None, "cpu"),
    ):
        pass


def test_a_device_that_is_not_there_is_refused(data: Path, tmp_path: Path, tiny_recipe: Recipe) -> None:
    with (
        pytest.raises(OptionError, match="--device"),
        start(TEACHER, data, tmp_path, tiny_recipe, None, "no"),
    ):
        pass
