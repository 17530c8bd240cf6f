from __future__ import annotations

import pytest
import torch

from cmcr_cli.model.condition import CHANNELS, N_BANDS, VECTOR
from cmcr_cli.model.costs import feature_bytes, gflop_per_patch
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig
from cmcr_cli.model.network import NetworkConfig


def gflop(config: NetworkConfig, steps: int) -> float:
    return gflop_per_patch(Denoiser(config, DiffusionConfig()).to("meta"), steps)


def test_count_by_hand() -> None:
    width, embedding, pixels = 8, 32, 128 * 128
    block = 2 * 9 * width * width * pixels
    encoder = (4 * CHANNELS * width * pixels) + VECTOR * width + block
    embed = 2 * embedding * embedding
    step = embed + 4 * N_BANDS * width * pixels + width * width * pixels
    step += block + embedding * 2 * width + 9 * width * 4 * 5 * N_BANDS * pixels
    config = NetworkConfig((width,), (1,), (1,), embedding)
    # the vectors' layers, which weigh next to nothing, need not be counted
    assert gflop(config, 1) == pytest.approx(2 * (encoder + step) / 1e9, rel=1e-4)
    assert gflop(config, 4) == pytest.approx(2 * (encoder + 4 * step) / 1e9, rel=1e-4)


def test_the_default_network_stays_within_its_budget() -> None:
    one, two, four = (gflop(NetworkConfig(), steps) for steps in (1, 2, 4))
    assert one <= 30
    assert four <= 90
    assert four < 4 * one, "the encoder runs at every step"
    assert four - two == pytest.approx(2 * (two - one))


@pytest.mark.parametrize("widths", [(32, 64, 128), (8, 16)])
def test_features_take_as_many_bytes_as_they_are_counted_for(widths: tuple[int, ...]) -> None:
    """In 16 bits, as they wait for the next step; what may wait in memory is reckoned by it."""
    ones = (1,) * len(widths)
    encoder = Denoiser(NetworkConfig(widths, ones, ones), DiffusionConfig()).encoder.to("meta")
    planes, vector = (torch.zeros(1, *shape, device="meta") for shape in ((CHANNELS, 256, 256), (VECTOR,)))
    features = encoder(planes, vector)
    assert sum(each.half().nbytes for each in features) == feature_bytes(NetworkConfig(widths), 256)
