from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from numpy.typing import NDArray

from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.cloud_network import CloudConfig, CloudNetwork
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig
from cmcr_cli.model.network import NetworkConfig
from cmcr_cli.scene.bands import BANDS, RADAR_BANDS
from cmcr_cli.simulate import simulate_window

Pixels = dict[str, NDArray[Any]]

NAMES: dict[str, tuple[str, ...]] = {"s2": BANDS, "s1": RADAR_BANDS, "mask": ("mask",)}
PLACE = {"crs": "EPSG:32631", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}


@pytest.fixture(scope="session")
def pixels() -> Callable[[int, int], Pixels]:
    """Makes a scene of `height` x `width` pixels: DN (13, H, W), dB (2, H, W) and mask (1, H, W)."""

    def make(height: int, width: int) -> Pixels:
        seen = simulate_window(5, 0, 0, height, width, 0.45)
        dn = np.rint(np.clip(seen.cloudy, 0.0001, 1.6) * 10_000).astype(np.uint16)
        mask = np.zeros((1, height, width), np.uint8)
        mask[:, : height // 2 + 1, : width // 2 + 1] = 1
        return {"s2": dn, "s1": seen.radar, "mask": mask}

    return make


def write(path: Path, values: NDArray[Any], names: tuple[str, ...] | None = None, **profile: Any) -> Path:
    count, height, width = values.shape
    place = {"height": height, "width": width, "count": count, "dtype": values.dtype, **PLACE}
    with rasterio.open(path, "w", driver="GTiff", **{**place, **profile}) as file:
        file.write(values)
        if names is not None:
            file.descriptions = names
        if names == BANDS:
            file.update_tags(PRODUCT_START_TIME="2024-06-01T10:20:31Z")
    return path


@pytest.fixture(scope="session", name="write")
def write_fixture() -> Callable[..., Path]:
    return write


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory, pixels: Callable[[int, int], Pixels]) -> dict[str, Path]:
    """Files of a scene of 128 x 128 pixels, to be read only."""
    folder = tmp_path_factory.mktemp("scene")
    made = pixels(128, 128)
    return {name: write(folder / f"{name}.tif", made[name], NAMES[name]) for name in made}


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks as they are before training, without noise: the scene's own context is what they draw."""
    torch.manual_seed(0)
    config = NetworkConfig(widths=(8, 8, 8), condition_blocks=(1, 1, 1))
    denoiser = Denoiser(config, DiffusionConfig(sigma_data=0.01))
    statistics = torch.full((13,), 0.15), torch.full((13,), 0.05)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    clouds = CloudNetwork(CloudConfig((8, 8), 8))
    weights_file.save(path, weights_file.Weights(denoiser, clouds, *statistics, {"name": "tiny"}))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder for outputs."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def given(scene: dict[str, Path], weights: Path, out: Path) -> list[str]:
    """`remove` of the scene to clear.tif in `out`."""
    words = ["remove", scene["s2"], scene["s1"], "--mask", scene["mask"], "--weights", weights]
    return [*map(str, words), "-o", str(out / "clear.tif")]
