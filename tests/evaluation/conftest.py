from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from cmcr_cli.evaluation import series
from cmcr_cli.ground import reference_learning
from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.cloud_network import CloudConfig, CloudNetwork
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig
from cmcr_cli.model.network import NetworkConfig
from cmcr_cli.model.weights import Weights
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.simulate import simulate_window
from cmcr_cli.training.data.images import ClearImage
from cmcr_cli.training.samples.held_out import Check
from cmcr_cli.training.samples.patch_samples import Clouded


@pytest.fixture(autouse=True)
def steady(one_thread: None) -> None:
    """These networks are too small for more threads."""


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


SEED, SIDE = 1, 96
DAYS = {0: 1.0, 15: 0.96, 60: 1.05, 75: 1.02, 160: 0.93}
"""Days before the first date, and the brightness of the ground."""


@pytest.fixture(scope="session")
def dated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a series of five clear dates and a cloudy one, and a pair with clouds; read only."""
    folder = tmp_path_factory.mktemp("dated")
    (folder / "places").mkdir()
    cloudy = simulate_window(SEED, 0, 0, SIDE, SIDE, 1.0)
    present = np.array([name != "B10" for name in BANDS])
    clear = [cloudy.truth * gain for gain in DAYS.values()]
    images = np.stack([*clear, cloudy.cloudy]) * present[:, None, None]
    np.savez(
        folder / "places" / "field.npz",
        s2=np.maximum(images * 10_000, 1).astype(np.uint16) * present[:, None, None].astype(np.uint16),
        s2_present=present,
        s2_dates=[f"{date(2025, 7, 9) - timedelta(days=days)}" for days in (*DAYS, 20)],
        s1=np.stack([(cloudy.radar * 100).astype(np.int16)] * 2),
        s1_dates=["2025-01-01", "2025-07-01"],
    )
    pair = folder / "pairs_s2" / "clouds"
    pair.mkdir(parents=True)
    clouds = simulate_window(6, 0, 0, 256, 256, 0.4)
    for name, image in (("cloudy", clouds.cloudy), ("clear", clouds.truth)):
        with rasterio.open(
            pair / f"s2_{name}.tif", "w", driver="GTiff", count=13, height=256, width=256, dtype="uint16",
            crs="EPSG:32631", transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000),
        ) as file:  # fmt: skip
            file.write((image * 10_000).astype(np.uint16))
    return folder


@pytest.fixture(scope="module")
def brief() -> Iterator[None]:
    """Few cases, few references and small regressions, so that whole protocols run fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(series, "GAPS", {"<= 20 days": series.GAPS["<= 20 days"]})
        patch.setattr(series, "HOLES", {"small holes": series.HOLES["small holes"]})
        patch.setattr(series, "_MOST", 2)
        patch.setattr(reference_learning, "MOST_SAMPLES", 2000)
        yield
