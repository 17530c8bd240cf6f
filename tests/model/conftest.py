from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from cmcr_cli.model.condition import N_BANDS, PatchInputs
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig
from cmcr_cli.model.network import NetworkConfig

TINY = NetworkConfig(widths=(8, 8, 8), condition_blocks=(1, 1, 2), step_blocks=(1, 1, 1), embedding=16)


def shaken(module: nn.Module) -> None:
    """Random values everywhere: fresh networks hold zeros that would hide what they depend on."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(0.3 * torch.randn(value.shape, generator=generator))


@pytest.fixture(autouse=True)
def steady() -> Iterator[None]:
    """The same random numbers in every run, and one thread: these networks are too small for more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def shake() -> Callable[[nn.Module], None]:
    return shaken


@pytest.fixture
def tiny_denoiser() -> Callable[..., Denoiser]:
    """A small denoiser, as if it had been trained."""

    def build(diffusion: DiffusionConfig | None = None) -> Denoiser:
        denoiser = Denoiser(TINY, diffusion or DiffusionConfig())
        shaken(denoiser)
        return denoiser

    return build


@pytest.fixture
def patches() -> Callable[..., PatchInputs]:
    """Random patch inputs in legal ranges; B01 and B10 are absent from the second patch."""

    def build(size: int = 32, seed: int = 0) -> PatchInputs:
        generator = torch.Generator().manual_seed(seed)

        def uniform(channels: int) -> torch.Tensor:
            return torch.rand(2, channels, size, size, generator=generator)

        present = torch.ones(2, N_BANDS)
        present[1, [0, 10]] = 0
        return PatchInputs(
            optical=uniform(N_BANDS) * present[:, :, None, None],
            context=0.3 * uniform(N_BANDS) * present[:, :, None, None],
            confidence=uniform(1),
            cover=uniform(1).round(),
            radar=2 * uniform(2) - 1,
            radar_valid=(uniform(1) > 0.2).float(),
            std=0.01 + 0.1 * torch.rand(2, N_BANDS, generator=generator),
            present=present,
            levels=torch.tensor([[-0.1, 0.1, 0.4]]).expand(2, 3),
            unmixing=torch.randn(2, 3, N_BANDS, N_BANDS, generator=generator) / N_BANDS,
            doubt=torch.ones(2, 1, size, size),
        )

    return build
