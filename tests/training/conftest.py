from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray

from cmcr_cli.model.cloud_network import CloudConfig, CloudNetwork
from cmcr_cli.model.diffusion import Denoiser
from cmcr_cli.model.network import NetworkConfig
from cmcr_cli.model.weights import Weights, save
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.simulate import simulate_window
from cmcr_cli.training.data.library import Library, load_library
from cmcr_cli.training.recipe import Recipe, load_recipe

SIZE = 64
TRAIN, VAL = {"one": 1, "two": 2}, {"three": 3}
"""Triplets of the data folder, by name, with the seeds of the scenes they show."""


@pytest.fixture(autouse=True)
def steady() -> Iterator[None]:
    """The same random numbers in every run, and one thread: these networks are too small for more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def write(path: Path, values: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=values.dtype,
        crs="EPSG:32631", transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000),
    ) as file:  # fmt: skip
        file.write(values)


def write_pair(folder: Path, seed: int, *, radar: bool) -> None:
    """A cloudy and a clear image as 13-band DN, the lower left quarter of the cloudy one surely overcast."""
    window = simulate_window(seed, 0, 0, SIZE, SIZE, 0.4)
    cloudy = window.cloudy.copy()
    cloudy[:, SIZE // 2 :, : SIZE // 2] = 0.8
    write(folder / "s2_cloudy.tif", (cloudy * 10_000).astype(np.uint16))
    write(folder / "s2_clear.tif", (window.truth * 10_000).astype(np.uint16))
    if radar:
        db = window.radar.copy()
        db[:, :4, :4] = 0
        write(folder / "s1.tif", db)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in the layout that training reads, of simulated scenes of 64 pixels; to be read only."""
    folder = tmp_path_factory.mktemp("data")
    rows = ["name,split,scene,level,georeferenced,source"]
    for split, triplets in (("train", TRAIN), ("val", VAL)):
        for name, seed in triplets.items():
            write_pair(folder / "triplets" / name, seed, radar=True)
            rows.append(f"{name},{split},{name},L1C,1,simulated")
    (folder / "triplets" / "index.csv").write_text("\n".join(rows) + "\n")
    write_pair(folder / "pairs_s2" / "four", 4, radar=False)
    present = np.array([name != "B10" for name in BANDS])
    dates = [simulate_window(5, 0, 0, 100, 100, cover) for cover in (0.0, 0.0, 1.0)]
    (folder / "places").mkdir()
    np.savez(
        folder / "places" / "series.npz",
        s2=np.stack([(d.cloudy * present[:, None, None] * 10_000).astype(np.uint16) for d in dates]),
        s2_present=present,
        s2_dates=["2020-06-01", "2020-07-01", "2020-08-01"],
        s1=np.stack([np.full((2, 100, 100), db, np.int16) for db in (-1000, -1100, -32768)]),
        s1_dates=["2020-07-02", "2020-05-30", "2020-08-01"],
    )
    return folder


@pytest.fixture(scope="session")
def library(data: Path) -> Library:
    return load_library(data)


@pytest.fixture(scope="session")
def real_library(shared_data: Path) -> Library:
    """What training reads of the real imagery; to be read only."""
    return load_library(shared_data)


@pytest.fixture(scope="session")
def toy() -> Recipe:
    """The packaged recipe from which tests make theirs."""
    return load_recipe("toy-teacher")


@pytest.fixture(scope="session")
def tiny_recipe(toy: Recipe) -> Recipe:
    """A training of seconds: two snapshots of two updates."""
    return replace(
        toy,
        loop=replace(toy.loop, images=16, batch=4, crop=32, warmup=4, snapshot=8, learning_rate=1e-3),
        data=replace(toy.data, buffer=4, crops_per_sample=12, workers=0),
        mix=replace(toy.mix, simulated=0.0),
        objective=replace(toy.objective, levels=6),
        network=NetworkConfig((8, 8, 8), (1, 1, 1), (1, 1, 1), 16),
        clouds=CloudConfig((8, 8), 8),
    )


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether two networks hold the same values."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.fixture(scope="session")
def networks_agree() -> Callable[[torch.nn.Module, torch.nn.Module], bool]:
    return same


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Recipe) -> Path:
    """A weights file of the tiny networks that says they were trained, so that trainings keep them."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("untrained") / "weights.safetensors"
    denoiser = Denoiser(tiny_recipe.network, tiny_recipe.diffusion)
    clouds = CloudNetwork(tiny_recipe.clouds)
    card = {"name": "untrained", "history": {"clouds": {"images": 0}, "teacher": {"images": 0}}}
    save(path, Weights(denoiser, clouds, torch.full((13,), 0.2), torch.full((13,), 0.1), card))
    return path
