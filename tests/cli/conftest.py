from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.cloud_network import CloudConfig, CloudNetwork
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig
from cmcr_cli.model.network import NetworkConfig
from cmcr_cli.simulate import SimulatedScene, simulate_scene


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of a tiny network: everything runs, quickly, and nothing looks good."""
    torch.manual_seed(0)
    denoiser = Denoiser(NetworkConfig(widths=(8, 8, 8), condition_blocks=(1, 1, 1)), DiffusionConfig())
    clouds = CloudNetwork(CloudConfig((8, 8), 8))
    statistics = torch.full((13,), 0.15), torch.full((13,), 0.1)
    card = {"name": "tiny", "history": {"clouds": {"images": 0}, "teacher": {"images": 0}}}
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    weights_file.save(path, weights_file.Weights(denoiser, clouds, *statistics, card))
    return path


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> SimulatedScene:
    """A scene of 200 x 200 pixels, to be read only."""
    return simulate_scene(tmp_path_factory.mktemp("scene"), size=200, seed=1, cloud_cover=0.5)


@pytest.fixture(scope="session")
def mask(scene: SimulatedScene) -> Path:
    """The scene's true mask: untrained weights cannot find its clouds."""
    return scene.mask
