from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cmcr_cli.errors import InputError
from cmcr_cli.training.loop import CHECKPOINT, LoopConfig, train

CONFIG = LoopConfig(images=400, batch=4, learning_rate=0.05, warmup=40, average=0.9, snapshot=100)
TARGET = torch.tensor([[1.0, -2.0, 3.0]])


def toy() -> nn.Module:
    torch.manual_seed(3)
    return nn.Linear(3, 1)


def quadratic(network: nn.Module) -> Tensor:
    return (network.get_parameter("weight") - TARGET).square().sum() + network.get_parameter(
        "bias"
    ).square().sum()


def nothing(average: nn.Module, images: int) -> dict[str, float]:
    return {}


def values(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def lines(run_dir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run_dir / "stats.jsonl").read_text().splitlines()]


def test_it_finds_the_minimum_and_says_how(tmp_path: Path) -> None:
    seen: list[int] = []

    def snapshot(average: nn.Module, images: int) -> dict[str, float]:
        seen.append(images)
        return {"distance": float((average.get_parameter("weight").detach() - TARGET).norm())}

    network = toy()
    average = train(
        network, quadratic, snapshot, replace(CONFIG, images=1200, weight_decay=0), tmp_path / "run"
    )
    assert seen == list(range(100, 1201, 100))
    stats = lines(tmp_path / "run")
    assert [line["images"] for line in stats] == seen
    assert stats[0].keys() == {"images", "loss", "images_per_s", "distance"}
    assert stats[-1]["loss"] < 0.01 * stats[0]["loss"]
    assert stats[-1]["distance"] < 0.1
    torch.testing.assert_close(values(average), values(network), rtol=0, atol=0.05)
    assert not torch.equal(values(average), values(network))


def test_a_stopped_run_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    whole = toy()
    whole_average = train(whole, quadratic, nothing, CONFIG, tmp_path / "whole")

    def stop(average: nn.Module, images: int) -> dict[str, float]:
        if images == 300:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        train(toy(), quadratic, stop, CONFIG, tmp_path / "parts")
    assert [line["images"] for line in lines(tmp_path / "parts")] == [100, 200]
    updates: list[None] = []

    def counted(network: nn.Module) -> Tensor:
        updates.append(None)
        return quadratic(network)

    resumed = nn.Linear(3, 1)
    resumed_average = train(resumed, counted, nothing, CONFIG, tmp_path / "parts")
    assert len(updates) == 50
    assert torch.equal(values(resumed), values(whole))
    assert torch.equal(values(resumed_average), values(whole_average))
    assert [line["images"] for line in lines(tmp_path / "parts")] == [100, 200, 300, 400]


def test_a_finished_run_gives_its_average_again(tmp_path: Path) -> None:
    average = train(toy(), quadratic, nothing, CONFIG, tmp_path)
    again = train(nn.Linear(3, 1), quadratic, nothing, CONFIG, tmp_path)
    assert torch.equal(values(again), values(average))
    assert len(lines(tmp_path)) == 4


def test_the_checkpoint_holds_plain_tensors_only(tmp_path: Path) -> None:
    train(toy(), quadratic, nothing, CONFIG, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, "stats.jsonl"}
    assert load_file(tmp_path / CHECKPOINT)["images"] == 400


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    train(toy(), quadratic, nothing, CONFIG, tmp_path)
    with pytest.raises(InputError, match="--run-dir"):
        train(nn.Linear(4, 1), quadratic, nothing, CONFIG, tmp_path)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    train(toy(), quadratic, nothing, CONFIG, tmp_path)
    content = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=CHECKPOINT):
        train(toy(), quadratic, nothing, CONFIG, tmp_path)


def test_learning_rate_warms_up_and_falls_to_nothing(tmp_path: Path) -> None:
    """AdamW's step under a constant gradient is the learning rate itself."""
    positions = []

    def slope(network: nn.Module) -> Tensor:
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

    def loss(network: nn.Module) -> Tensor:
        parameters = list(network.parameters())
        norms.extend(float(p.grad.norm()) for p in parameters if p.grad is not None)
        return 1e6 * quadratic(network)

    # set_to_none happens after the loss was drawn, so the loss still sees the last clipped gradient
    train(toy(), loss, nothing, replace(CONFIG, images=40), tmp_path)
    assert norms
    assert max(norms) <= CONFIG.clip * 1.001
