from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cmcr_cli.errors import InputError
from cmcr_cli.training import loop
from cmcr_cli.training.checkpoint import NAME
from cmcr_cli.training.loop import STATS, Snapshot, Task, Updates
from cmcr_cli.training.processes import Process
from cmcr_cli.training.recipe import LoopConfig, load_recipe
from tests.support.tensors import assert_close

CONFIG = replace(
    load_recipe("teacher").loop,
    images=400,
    batch=4,
    learning_rate=0.05,
    warmup=40,
    average=0.9,
    snapshot=100,
)
TARGET = torch.tensor([[1.0, -2.0, 3.0]])
ALONE = Process(0, 1, torch.device("cpu"))

Loss = Callable[[nn.Module, Any, torch.Generator], Tensor]


def toy() -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(3, 1)


def quadratic(network: nn.Module, batch: Any = None, generator: Any = None) -> Tensor:
    return (network.get_parameter("weight") - TARGET).square().sum() + network.get_parameter(
        "bias"
    ).square().sum()


def noisy(network: nn.Module, batch: Any, generator: torch.Generator) -> Tensor:
    """A loss that leaves its mark on the weights for every batch and every random number it is given."""
    wanted = TARGET + 0.1 * (batch % 7) + torch.randn(1, 3, generator=generator)
    return (network.get_parameter("weight") - wanted).square().sum()


def nothing(average: nn.Module, images: int) -> dict[str, float]:
    return {}


def train(
    network: nn.Module,
    loss: Loss,
    snapshot: Snapshot,
    config: LoopConfig,
    run_dir: Path,
    companions: dict[str, nn.Module] | None = None,
) -> nn.Module:
    """`loop.train` in one process, its batches being their own numbers."""
    run_dir.mkdir(exist_ok=True)
    task = Task(network, lambda batch, generator: loss(network, batch, generator), companions or {})
    batches = cast(Callable[[int], Iterator[Any]], itertools.count)
    average, _ = loop.train(task, batches, snapshot, config, run_dir, ALONE, {"training": "toy"})
    return average


def values(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def lines(run_dir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run_dir / STATS).read_text().splitlines()]


def test_it_finds_the_minimum_and_says_how(tmp_path: Path) -> None:
    seen: list[int] = []

    def snapshot(average: nn.Module, images: int) -> dict[str, float]:
        seen.append(images)
        return {"distance": float((average.get_parameter("weight").detach() - TARGET).norm())}

    network = toy()
    config = replace(CONFIG, images=1200, weight_decay=0)
    average = train(network, quadratic, snapshot, config, tmp_path / "run")
    assert seen == list(range(100, 1201, 100))
    stats = lines(tmp_path / "run")
    assert [line["images"] for line in stats] == seen
    assert stats[0].keys() == {"images", "loss", "images_per_s", "distance"}
    assert stats[-1]["loss"] < 0.01 * stats[0]["loss"]
    assert stats[-1]["distance"] < 0.1
    assert_close(values(average), values(network), rtol=0, atol=0.05)
    assert not torch.equal(values(average), values(network))


@pytest.mark.parametrize("at", ["update", "snapshot"])
def test_a_stopped_run_goes_on_as_if_never_stopped(tmp_path: Path, at: str) -> None:
    """Between two checkpoints, or after the pictures of one but before it was written."""
    whole, shadow = toy(), toy()

    def with_companion(companion: nn.Linear) -> Loss:
        def loss(network: nn.Module, batch: Any, generator: torch.Generator) -> Tensor:
            with torch.no_grad():
                companion.weight.lerp_(network.get_parameter("weight"), 0.1)
            return (
                noisy(network, batch, generator) + (network.get_parameter("weight") * companion.weight).sum()
            )

        return loss

    whole_average = train(
        whole, with_companion(shadow), nothing, CONFIG, tmp_path / "whole", {"shadow": shadow}
    )
    companion = toy()

    def stopped(network: nn.Module, batch: Any, generator: torch.Generator) -> Tensor:
        if at == "update" and batch == 70:
            raise KeyboardInterrupt
        return with_companion(companion)(network, batch, generator)

    def stop(average: nn.Module, images: int) -> dict[str, float]:
        if at == "snapshot" and images == 300:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        train(toy(), stopped, stop, CONFIG, tmp_path / "parts", {"shadow": companion})
    assert [line["images"] for line in lines(tmp_path / "parts")] == [100, 200]
    resumed, companion = nn.Linear(3, 1), nn.Linear(3, 1)
    resumed_average = train(
        resumed, with_companion(companion), nothing, CONFIG, tmp_path / "parts", {"shadow": companion}
    )
    assert torch.equal(values(resumed), values(whole))
    assert torch.equal(values(companion), values(shadow))
    assert torch.equal(values(resumed_average), values(whole_average))
    assert [line["images"] for line in lines(tmp_path / "parts")] == [100, 200, 300, 400]


def test_lines_beyond_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    train(toy(), noisy, nothing, replace(CONFIG, images=200), tmp_path)
    with (tmp_path / STATS).open("a") as file:
        file.write('{"images": 300, "loss": 1.0}\n{"images": 4')
    train(toy(), noisy, nothing, CONFIG, tmp_path)
    assert [line["images"] for line in lines(tmp_path)] == [100, 200, 300, 400]


def test_a_finished_run_gives_its_average_again(tmp_path: Path) -> None:
    average = train(toy(), quadratic, nothing, CONFIG, tmp_path)
    again = train(nn.Linear(3, 1), quadratic, nothing, CONFIG, tmp_path)
    assert torch.equal(values(again), values(average))
    assert len(lines(tmp_path)) == 4


def test_the_checkpoint_holds_plain_tensors_only(tmp_path: Path) -> None:
    train(toy(), quadratic, nothing, CONFIG, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {NAME, STATS}
    assert {name.split(".")[0] for name in load_file(tmp_path / NAME)} == {"network", "average", "moment"}


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    train(toy(), quadratic, nothing, CONFIG, tmp_path)
    with pytest.raises(InputError, match="--run-dir"):
        train(nn.Linear(4, 1), quadratic, nothing, CONFIG, tmp_path)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    train(toy(), quadratic, nothing, CONFIG, tmp_path)
    content = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=NAME):
        train(toy(), quadratic, nothing, CONFIG, tmp_path)


def test_learning_rate_warms_up_and_falls_to_nothing(tmp_path: Path) -> None:
    """AdamW's step under a constant gradient is the learning rate itself."""
    positions = []

    def slope(network: nn.Module, batch: Any, generator: Any) -> Tensor:
        bias = network.get_parameter("bias")
        positions.append(float(bias.detach()))
        return bias.sum()

    train(toy(), slope, nothing, replace(CONFIG, weight_decay=0), tmp_path)
    steps = -torch.tensor(positions).diff()
    peak = int(steps.argmax())
    assert peak == CONFIG.warmup // CONFIG.batch - 1
    assert (steps[: peak + 1].diff() > 0).all()
    assert (steps[peak:].diff() < 1e-6).all()
    assert float(steps[0]) == pytest.approx(0.1 * CONFIG.learning_rate, rel=0.01)
    assert float(steps.max()) == pytest.approx(CONFIG.learning_rate, rel=0.05)
    assert float(steps[-1]) < 0.01 * CONFIG.learning_rate


def test_a_wild_gradient_is_clipped(tmp_path: Path) -> None:
    norms = []

    def loss(network: nn.Module, batch: Any, generator: Any) -> Tensor:
        norms.extend(float(p.grad.norm()) for p in network.parameters() if p.grad is not None)
        return 1e6 * quadratic(network)

    # set_to_none happens after the loss was drawn, so the loss still sees the last clipped gradient
    train(toy(), loss, nothing, replace(CONFIG, images=40), tmp_path)
    assert norms
    assert max(norms) <= CONFIG.clip * 1.001


def test_random_numbers_are_those_of_seed_rank_and_position() -> None:
    def first(seed: int, rank: int, images: int) -> float:
        numbers: list[float] = []
        network = toy()

        def loss(batch: Any, generator: torch.Generator) -> Tensor:
            numbers.append(float(torch.rand(1, generator=generator)))
            return quadratic(network)

        process = Process(rank, 1, torch.device("cpu"))
        Updates(Task(network, loss), replace(CONFIG, seed=seed), process).update(cast(Any, None), images)
        return numbers[0]

    assert first(0, 0, 4) == first(0, 0, 4)
    assert len({first(0, 0, 4), first(1, 0, 4), first(0, 1, 4), first(0, 0, 8)}) == 4


@pytest.mark.parametrize(("precision", "dtype"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_it_computes_in_the_precision_of_the_recipe(
    precision: Literal["bfloat16", "float32"], dtype: torch.dtype
) -> None:
    network = toy()
    seen: list[torch.dtype] = []

    def loss(batch: Any, generator: torch.Generator) -> Tensor:
        seen.append(network(torch.ones(1, 3)).dtype)
        return quadratic(network)

    Updates(Task(network, loss), replace(CONFIG, precision=precision), ALONE).update(cast(Any, None), 0)
    assert seen == [dtype]
