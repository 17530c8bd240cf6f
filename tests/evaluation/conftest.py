from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.cloud_network import CloudConfig, CloudNetwork
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig
from cmcr_cli.model.network import NetworkConfig
from cmcr_cli.model.weights import Weights
from cmcr_cli.simulate import simulate_window
from cmcr_cli.training.data.images import ClearImage
from cmcr_cli.training.samples.held_out import Check
from cmcr_cli.training.samples.patch_samples import Clouded


@pytest.fixture(autouse=True)
def steady() -> Iterator[None]:
    """One thread: these networks are too small for more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def weights() -> Weights:
    """Untrained networks of a tiny size."""
    torch.manual_seed(0)
    denoiser = Denoiser(NetworkConfig((8, 8, 8), (1, 1, 1)), DiffusionConfig()).eval().requires_grad_(False)
    clouds = CloudNetwork(CloudConfig((8, 8), 8)).eval().requires_grad_(False)
    return Weights(denoiser, clouds, torch.full((13,), 0.15), torch.full((13,), 0.1), {"name": "tiny"})


@pytest.fixture(scope="session")
def weights_path(weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    weights_file.save(path, weights)
    return path


@pytest.fixture
def check() -> Check:
    """A simulated scene whose left half is covered: thin above, thick below, with a strip of shadow."""
    window = simulate_window(3, 0, 0, 128, 128, 0)
    opacity, shadow = np.zeros((2, 128, 128), np.float32)
    opacity[:48, :64], opacity[64:, :64], shadow[48:64, :64] = 0.3, 1.0, 0.5
    cloudy = window.truth * (1 - shadow) * (1 - opacity) + 0.8 * opacity
    ground = ClearImage(window.truth, np.ones(13, bool), window.radar)
    covered = np.zeros((128, 128), bool)
    covered[:, :64] = True
    return Check("simulated", Clouded(ground, cloudy.astype(np.float32), opacity, shadow, True), covered)
