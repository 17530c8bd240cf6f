from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch

from cmcr_cli.errors import WeightsError
from cmcr_cli.ground.ground import Ground
from cmcr_cli.model.network import to_inference
from cmcr_cli.model.weights import load
from cmcr_cli.removal.restore.patch_inputs import InputMaker
from cmcr_cli.removal.restore.steps import Advanced, Restorer, batches
from cmcr_cli.removal.restore.strips import Strip
from cmcr_cli.runtime.spill import SpillStore
from cmcr_cli.runtime.workers import Worker
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.patches import PATCH
from tests.support.strips import optical, scene
from tests.support.tensors import assert_close

pytestmark = pytest.mark.usefixtures("one_thread")  # these networks are too small for more

CPU = torch.device("cpu")
OPTICAL = optical(BANDS, np.uint16, 0.0)


def test_batches_are_slices_in_order() -> None:
    assert batches([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]] and batches([], 3) == []


@pytest.fixture
def strip() -> Strip:
    return scene(np.random.default_rng(1), BANDS, np.uint16, 0)


@pytest.fixture
def worker(weights: Path) -> Worker:
    networks = load(weights)
    to_inference(networks.denoiser, CPU)
    return Worker(CPU, None, networks.denoiser, networks.clouds, Event())


@pytest.fixture
def spill(tmp_path: Path) -> Iterator[SpillStore]:
    with SpillStore({CPU: 2**30}, tmp_path / "clear.tif") as spill:
        yield spill


def restorer(spill: SpillStore, steps: int, samples: int = 1, *, matched: bool = False) -> Restorer:
    maker = InputMaker(OPTICAL, Ground.unknown(np.ones(13, bool)))
    return Restorer(maker, steps, samples, seed=3, match_offsets=matched, spill=spill)


def images(patches: list[Advanced]) -> torch.Tensor:
    return torch.stack([patch.image for patch in patches])


def test_one_step_gives_reflectance_and_keeps_nothing(
    worker: Worker, strip: Strip, spill: SpillStore
) -> None:
    """A patch of a batch is the patch alone, whichever other patches it is computed with."""
    both, alone = (restorer(spill, 1).advance(worker, strip, lefts, 0, None) for lefts in ([-30, 20], [20]))
    assert images(both).shape == (2, 13, PATCH, PATCH) and both[0].cached is both[1].cached is None
    assert_close(both[1].image, alone[0].image, rtol=1e-4, atol=1e-4)
    matched = restorer(spill, 1, matched=True).advance(worker, strip, [20], 0, None)
    assert not torch.equal(matched[0].image, alone[0].image)


def test_the_last_step_of_samples_gives_their_mean_and_std(
    worker: Worker, strip: Strip, spill: SpillStore
) -> None:
    found = {}
    for samples in (1, 2):
        network = restorer(spill, 2, samples)
        (first,) = network.advance(worker, strip, [20], 0, None)
        assert first.image.shape == (13, PATCH, PATCH) and first.cached is not None
        (last,) = network.advance(worker, strip, [20], 1, first.image[None], [first.cached])
        assert last.image.shape == (13 * samples, PATCH, PATCH) and last.cached is None
        found[samples] = last.image
    mean, std = found[2][:13], found[2][13:]
    assert (std >= 0).all() and std.mean() > 0
    # Of two samples each is std / sqrt 2 off their mean, and the first is the image without sampling.
    assert_close((found[1] - mean).abs(), std / 2**0.5, rtol=1e-3, atol=1e-4)


def test_values_that_are_not_finite_are_refused_with_their_place(
    worker: Worker, strip: Strip, spill: SpillStore
) -> None:
    with torch.no_grad():
        worker.denoiser.step.head.bias.fill_(float("nan"))
    with pytest.raises(WeightsError, match=r"NaN or infinity in the patch at row 0, column 20.*--weights"):
        restorer(spill, 1).advance(worker, strip, [20], 0, None)
