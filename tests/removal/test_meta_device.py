"""What is computed stays on its device: shown on one whose tensors have no values and mix with no others.

A tensor that was left on the CPU would end a run on a GPU; here it ends the test.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from threading import Event, local

import numpy as np
import pytest
import torch
from torch import Tensor

from cmcr_cli.ground.ground import Ground
from cmcr_cli.model.cloud_network import NEAR_MARGIN, SQUARE
from cmcr_cli.model.network import to_inference
from cmcr_cli.model.weights import load
from cmcr_cli.removal import RemoveOptions, estimate, remove
from cmcr_cli.removal.restore import steps as steps_module
from cmcr_cli.removal.restore.budget import Budget
from cmcr_cli.removal.restore.patch_inputs import InputMaker
from cmcr_cli.removal.restore.steps import Restorer
from cmcr_cli.removal.restore.strips import DeviceStrip, Strip
from cmcr_cli.removal.survey.cloud_map import CELL
from cmcr_cli.removal.survey.detection import UNKNOWN_SUN, detect
from cmcr_cli.runtime.spill import Spilled, SpillStore
from cmcr_cli.runtime.workers import Worker
from cmcr_cli.scene.bands import BANDS, L2A_BANDS
from cmcr_cli.scene.patches import PATCH, lattice_starts
from tests.support.removals import ROW0
from tests.support.strips import optical, scene

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.fixture(params=[True, False])
def taken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What was taken from a device, here as zeros; branches on values go both ways, in turn."""
    found: list[Tensor] = []
    known = Tensor.__bool__

    def cpu(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return torch.zeros(tensor.shape, dtype=tensor.dtype)

    finite, here = steps_module._finite, local()

    def found_finite(values: Tensor) -> bool:
        """Each patch is repeated, and found finite then, where branches are not taken."""
        if not values.is_meta or request.param:
            return not values.is_meta or finite(values)
        if values.ndim == 4:
            return False
        here.repeated = not getattr(here, "repeated", True)
        return bool(here.repeated)

    monkeypatch.setattr(steps_module, "_finite", found_finite)
    monkeypatch.setattr(Tensor, "cpu", cpu)
    monkeypatch.setattr(Tensor, "__bool__", lambda tensor: request.param if tensor.is_meta else known(tensor))
    return found


@pytest.mark.parametrize("names", [BANDS, L2A_BANDS])
@pytest.mark.parametrize("samples", [1, 2])
def test_a_patch_takes_its_steps_on_one_device(
    names: tuple[str, ...], samples: int, weights: Path, tmp_path: Path, taken: list[Tensor]
) -> None:
    networks = load(weights)
    denoiser = copy.deepcopy(networks.denoiser)
    to_inference(denoiser, META)
    worker = Worker(META, None, denoiser, networks.clouds, Event())
    row = scene(np.random.default_rng(1), names, np.uint16, 0)
    maker = InputMaker(optical(names, np.uint16, 0.0), Ground.unknown(np.isin(BANDS, names)))
    lefts, steps = [-30, 20], 3
    with SpillStore({META: 2**30}, tmp_path / "clear.tif") as spill:
        restorer = Restorer(maker, steps, samples, seed=3, match_offsets=True, spill=spill)
        estimates: Tensor | None = None
        cached: list[Spilled] = []
        for step in range(steps):
            found = restorer.advance(worker, row, lefts, step, estimates, cached)
            if not step:
                cached = [patch.cached for patch in found if patch.cached is not None]
            bands = 1 if step == 0 else min(samples, 2) if step == steps - 1 else samples
            estimates = torch.stack([patch.image for patch in found])
            assert estimates.shape == (len(lefts), bands * len(BANDS), PATCH, PATCH)
            assert estimates.device == META
    assert not taken
    assert row.on(META).dn.device == META


def test_the_survey_asks_its_network_on_one_device(weights: Path, taken: list[Tensor]) -> None:
    network = copy.deepcopy(load(weights).clouds)
    to_inference(network, META)
    image = np.random.default_rng(2).random((13, 64, 48), dtype=np.float32)
    classes, certainty = detect(network, image, np.ones(13, bool), UNKNOWN_SUN)
    assert classes.shape == certainty.shape == (64, 48) and classes.dtype == certainty.dtype == np.uint8
    assert [tensor.device for tensor in taken] == [META, META], "the squares, and what they are likely to be"


@pytest.mark.parametrize(("steps", "samples"), [(1, 1), (3, 1), (3, 2)])
def test_nothing_but_integers_comes_back_from_a_whole_run(
    options: Callable[..., RemoveOptions],
    steps: int,
    samples: int,
    tmp_path: Path,
    taken: list[Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But for the std of samples, where it is asked for, and for what the survey looks at: see below."""
    sent: list[torch.device] = []
    on = Strip.on

    def counted(row: Strip, device: torch.device) -> DeviceStrip:
        if device not in row._sent:
            sent.append(device)
        return on(row, device)

    monkeypatch.setattr(Strip, "on", counted)
    monkeypatch.setattr(Budget, "spill_limits", lambda budget: {META: 2**30, CPU: 2**30})
    uncertainty = tmp_path / "uncertainty.tif" if samples > 1 else None
    chosen = options(
        device="meta", steps=steps, samples=samples, uncertainty=uncertainty, mask="auto", keep_clear=False
    )
    report = remove(chosen)
    assert report.patches_restored == report.patches
    pixels = 13 * report.height * report.width
    assert all(tensor.device == META for tensor in taken)
    # The survey's squares are few, and of its cells the probability of each class comes back.
    surveyed = [t for t in taken if t.dtype == torch.float32 and (t.ndim == 3 and t.shape[0] in (4, 26))]
    assert {t.shape[0] for t in surveyed} == {4, 26}
    squares = sum(t.numel() for t in surveyed if t.shape[0] == 26)
    tiles = [t.shape for t in surveyed if t.shape[0] == 4]
    assert squares < pixels / 100
    cells = sum((rows - 2 * NEAR_MARGIN) * (columns - 2 * NEAR_MARGIN) for _, rows, columns in tiles)
    rows, columns = report.height / CELL, report.width / CELL
    assert len(tiles) == 2 and rows * columns <= cells <= (rows + 2 * SQUARE) * (columns + 4 * SQUARE)
    rest = [t for t in taken if all(t is not other for other in surveyed)]
    brought = {dtype: sum(t.numel() for t in rest if t.dtype == dtype) for dtype in {t.dtype for t in rest}}
    assert brought.pop(torch.int16) == pixels
    assert brought == ({torch.float32: pixels} if samples > 1 else {})
    assert sent == [META] * len(lattice_starts(ROW0, report.height, chosen.overlap))


def test_the_probe_of_a_dry_run_stays_on_one_device(
    options: Callable[..., RemoveOptions], taken: list[Tensor]
) -> None:
    found = estimate(options(device="meta", steps=2))
    assert found.seconds > 0 and found.device == "meta"
    assert {tensor.device for tensor in taken} == {META}
