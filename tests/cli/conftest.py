from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from cmcr_cli.cli.main import main
from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.clouds import CloudConfig, CloudNetwork
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig
from cmcr_cli.model.network import NetworkConfig
from cmcr_cli.simulate import SimulatedScene, simulate_scene


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


Cmcr = Callable[..., Ended]


@pytest.fixture
def cmcr(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cmcr]:
    """`cmcr ARGS...` in this process; what it sets up for a whole process is put back."""
    for name in ("CMCR_WEIGHTS", "CMCR_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    root, ours = logging.getLogger(), logging.getLogger("cmcr")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    for hook in ("excepthook", "unraisablehook"):
        monkeypatch.setattr(sys, hook, getattr(sys, hook))

    def run(*args: object) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(arg) for arg in args])
        printed = capsys.readouterr()
        return Ended(int(end.value.code or 0), printed.out, printed.err)

    yield run
    logging.captureWarnings(False)
    signal.signal(signal.SIGTERM, on_sigterm)
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of a tiny network: everything runs, quickly, and nothing looks good."""
    torch.manual_seed(0)
    denoiser = Denoiser(NetworkConfig(widths=(8, 8, 8), condition_blocks=(1, 1, 1)), DiffusionConfig())
    clouds = CloudNetwork(CloudConfig((8, 8, 8)))
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
