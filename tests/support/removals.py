from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from numpy.typing import NDArray
from torch import Tensor

from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.cloud_network import CloudConfig, CloudNetwork
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig
from cmcr_cli.model.network import NetworkConfig
from cmcr_cli.model.weights import Weights
from cmcr_cli.removal import RemoveOptions
from cmcr_cli.scene.bands import BANDS, RADAR_BANDS
from cmcr_cli.scene.masks.mask_codes import CloudClass
from cmcr_cli.simulate import simulate_window
from cmcr_cli.simulate.clouds import CLEAR

COL0, ROW0 = 50_001, -450_003  # odd on purpose: cells of 20 m then begin before the scene


class Plain(CloudNetwork):
    """In place of a trained network: cells are told by their red alone, for sure."""

    def __init__(self) -> None:
        super().__init__(CloudConfig((8, 8), 8))

    def look_near(self, optical: Tensor, present: Tensor, far: Tensor) -> Tensor:
        """From dark to bright: clear, shadow, thin cloud, thick cloud."""
        red = optical[:, 3]
        kinds = torch.tensor([0, CloudClass.SHADOW, CloudClass.THIN, CloudClass.THICK], device=red.device)
        classes = kinds[torch.bucketize(red, torch.tensor([0.15, 0.17, 0.25], device=red.device))]
        return 9 * torch.nn.functional.one_hot(classes, 4).movedim(-1, 1).float()


@dataclass(frozen=True)
class Files:
    s2: Path
    s1: Path
    mask: Path


@pytest.fixture(scope="session")
def make_scene(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Files]:
    """Writes a window of one simulated scene; windows of the same seed show the same ground."""

    def make(height: int, width: int, top: int = 0, left: int = 0, **changes: Any) -> Files:
        folder = tmp_path_factory.mktemp("scene")
        window = simulate_window(5, top, left, height, width, 0.45)
        dn = np.rint(np.clip(window.cloudy, 0.0001, 1.6) * 10_000).astype(np.uint16)
        if "nodata" in changes:
            dn[:, :, : width // 4] = 0
        profile = {
            "driver": "GTiff",
            "crs": "EPSG:32631",
            "transform": Affine(10, 0, (COL0 + left) * 10, 0, -10, -(ROW0 + top) * 10),
            "width": width,
            "height": height,
        }
        files = Files(folder / "s2.tif", folder / "s1.tif", folder / "mask.tif")
        write(files.s2, dn, BANDS, **profile, **changes)
        write(files.s1, window.radar, RADAR_BANDS, **profile)
        write(files.mask, (window.mask[None] != CLEAR).astype(np.uint8), ("mask",), **profile)
        return files

    return make


def write(path: Path, pixels: NDArray[Any], names: tuple[str, ...], **profile: Any) -> None:
    with rasterio.open(path, "w", count=len(pixels), dtype=pixels.dtype, **profile) as file:
        file.write(pixels)
        file.descriptions = names


@pytest.fixture(scope="session")
def scene(make_scene: Callable[..., Files]) -> Files:
    return make_scene(400, 333)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small networks whose random output layers make every input matter."""
    torch.manual_seed(0)
    network = NetworkConfig(widths=(16, 32, 32), condition_blocks=(1, 1, 1))
    denoiser, clouds = Denoiser(network, DiffusionConfig()), CloudNetwork(CloudConfig((8, 8), 8))
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    mean, std = torch.full((13,), 0.15), torch.full((13,), 0.05)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    weights_file.save(path, Weights(denoiser, clouds, mean, std, {"name": "tiny"}))
    return path


@pytest.fixture
def options(scene: Files, weights: Path, tmp_path: Path) -> Callable[..., RemoveOptions]:
    def make(**changes: Any) -> RemoveOptions:
        plain: dict[str, Any] = {
            "s2": str(scene.s2),
            "s1": str(scene.s1),
            "mask": str(scene.mask),
            "output": tmp_path / "clear.tif",
            "provenance": tmp_path / "provenance.tif",
            "weights": weights,
            "device": "cpu",
            "overwrite": True,
        }
        return RemoveOptions(**{**plain, **changes})

    return make
