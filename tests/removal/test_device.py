"""What a lane computes stays on its device: shown on one whose tensors have no values and mix with no others.

A tensor that was left on the CPU would end a run on a GPU; here it ends the test.
"""

from __future__ import annotations

import copy
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cmcr_cli.model.network import to_inference
from cmcr_cli.model.weights import load
from cmcr_cli.removal.inputs import InputMaker
from cmcr_cli.removal.lanes import Lane
from cmcr_cli.removal.patchwork import Restorer
from cmcr_cli.removal.shelf import Shelf
from cmcr_cli.removal.survey import found_cells
from cmcr_cli.scene.bands import BANDS, L2A_BANDS
from cmcr_cli.scene.cirrus import VISIBLE
from cmcr_cli.scene.context import constant_context
from cmcr_cli.scene.patches import PATCH
from cmcr_cli.scene.unmixing import NOTHING

from .test_inputs import optical, scene

META = torch.device("meta")


@pytest.fixture(params=[True, False])
def taken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """The devices that results were taken from, here as zeros; branches on values go both ways, in turn."""
    devices: list[torch.device] = []
    known = Tensor.__bool__

    def cpu(tensor: Tensor) -> Tensor:
        devices.append(tensor.device)
        return torch.zeros(tensor.shape, dtype=tensor.dtype)

    monkeypatch.setattr(Tensor, "cpu", cpu)
    monkeypatch.setattr(Tensor, "__bool__", lambda tensor: request.param if tensor.is_meta else known(tensor))
    return devices


@pytest.mark.parametrize("names", [BANDS, L2A_BANDS])
@pytest.mark.parametrize("samples", [1, 2])
def test_a_patch_takes_its_steps_on_one_device(
    names: tuple[str, ...], samples: int, weights: Path, tmp_path: Path, taken: list[torch.device]
) -> None:
    networks = load(weights)
    denoiser = copy.deepcopy(networks.denoiser)
    to_inference(denoiser, META)
    lane = Lane(META, None, denoiser, networks.clouds, Event())
    row = scene(np.random.default_rng(1), names, np.uint16, 0)
    context = constant_context(np.isin(BANDS, names))
    maker = InputMaker(optical(names, np.uint16, 0.0), context, np.float32(VISIBLE), NOTHING)
    lefts, steps = [-30, 20], 3
    with Shelf(2**30, tmp_path / "clear.tif") as shelf:
        restorer = Restorer(maker, steps, samples, seed=3, harmonised=True, shelf=shelf)
        estimates: Any = None
        for step in range(steps):
            found = restorer.advance(lane, row, lefts, step, estimates)
            bands = 1 if step == 0 else min(samples, 2) if step == steps - 1 else samples
            estimates = np.stack(found)
            assert estimates.shape == (len(lefts), bands * len(BANDS), PATCH, PATCH)
    assert set(taken) == {META} and len(taken) >= steps
    assert row.on(META).dn.device == META


def test_the_survey_asks_its_network_on_one_device(weights: Path, taken: list[torch.device]) -> None:
    network = copy.deepcopy(load(weights).clouds)
    to_inference(network, META)
    image = np.random.default_rng(2).random((13, 64, 48), dtype=np.float32)
    found = found_cells(network, image, np.ones(13, bool), np.float32(VISIBLE))
    assert found.shape == (64, 48) and found.dtype == np.uint8
    assert taken == [META]
