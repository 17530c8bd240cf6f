from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cmcr_cli.model.condition import CHANNELS, N_BANDS, VECTOR
from cmcr_cli.model.network import ConditionEncoder, NetworkConfig, StepNetwork, parameters, to_inference
from tests.support.tensors import assert_close

Shake = Callable[[nn.Module], None]

TINY = NetworkConfig(widths=(8, 8, 8), embedding=16)
REACH = 96
"""Pixels that three levels with two blocks at the lowest of the encoder see in each direction, at most."""


def run(config: NetworkConfig, shake: Shake, planes: Tensor, *images: Tensor) -> Tensor:
    """`images` are the noisy one, the residual, the detail and the ground."""
    encoder, step = ConditionEncoder(config), StepNetwork(config)
    shake(encoder)
    shake(step)
    with torch.inference_mode():
        features, (x, *shown) = encoder(planes, torch.ones(1, VECTOR)), images
        output: Tensor = step(x, torch.tensor([0.3]), features, tuple(shown))
    return output


def image(channels: int, height: int, width: int) -> Tensor:
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "config",
    [NetworkConfig(), NetworkConfig((8,), (1,), (1,)), NetworkConfig((8, 16), (1, 2), (2, 1), 32)],
    ids=["default", "one level", "two levels"],
)
def test_shapes_and_the_smallest_patch(config: NetworkConfig) -> None:
    height, width = 2 ** len(config.widths), 3 * 2 ** len(config.widths)
    encoder, step = ConditionEncoder(config), StepNetwork(config)
    features = encoder(image(CHANNELS, height, width), torch.zeros(1, VECTOR))
    assert [f.shape[1:] for f in features] == [
        (channels, height >> level, width >> level) for level, channels in enumerate(config.widths, start=1)
    ]
    x = image(N_BANDS, height, width)
    assert step(x, torch.zeros(1), features, (x, x, x)).shape == x.shape


def test_patches_that_are_no_multiple_do_not_fit() -> None:
    size = 2 ** len(TINY.widths) + 2 ** (len(TINY.widths) - 1)
    features = ConditionEncoder(TINY)(image(CHANNELS, size, size), torch.zeros(1, VECTOR))
    x = image(N_BANDS, size, size)
    with pytest.raises(RuntimeError):
        StepNetwork(TINY)(x, torch.zeros(1), features, (x, x, x))


def test_untrained_it_answers_zero() -> None:
    features = ConditionEncoder(TINY)(image(CHANNELS, 16, 16), torch.ones(1, VECTOR))
    x = image(N_BANDS, 16, 16)
    assert not StepNetwork(TINY)(x, torch.ones(1), features, (x, x, x)).any()


def test_nothing_pools_over_the_patch(shake: Shake) -> None:
    planes, x = image(CHANNELS, 160, 160), image(N_BANDS, 160, 160)
    shown = x.flip(3), x.flip(2), x.flip(2, 3)
    before = run(TINY, shake, planes, x, *shown)
    for plane, change in zip((planes, x, *shown), (10, -10, 4, 2, 3), strict=True):
        plane[..., :8, :8] += change
    changed = (run(TINY, shake, planes, x, *shown) != before).any(dim=1)[0]
    assert changed[:8, :8].all()
    assert changed[8 + REACH // 2 :].any(), "the network sees less than this test believes"
    assert not changed[8 + REACH :].any()
    assert not changed[:, 8 + REACH :].any()


def test_a_crop_on_the_lattice_gives_the_same_interior(shake: Shake) -> None:
    planes, x = image(CHANNELS, 240, 240), image(N_BANDS, 240, 240)
    given = planes, x, x.flip(3), x.flip(2), x.flip(2, 3)
    whole = run(TINY, shake, *given)
    crop = (..., slice(16, 232), slice(16, 232))
    alone = run(TINY, shake, *(plane[crop] for plane in given))
    inside = (..., slice(REACH, -REACH), slice(REACH, -REACH))
    assert_close(alone[inside], whole[crop][inside], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("what", ["x", "sigma", "residual", "detail", "ground", "planes", "vector"])
def test_every_input_counts(shake: Shake, what: str) -> None:
    encoder, step = ConditionEncoder(TINY), StepNetwork(TINY)
    shake(encoder)
    shake(step)
    inputs = {
        "x": image(N_BANDS, 16, 16), "sigma": torch.tensor([0.3]), "planes": image(CHANNELS, 16, 16),
        "residual": image(N_BANDS, 16, 16), "detail": image(N_BANDS, 16, 16),
        "ground": image(N_BANDS, 16, 16), "vector": torch.ones(1, VECTOR),
    }  # fmt: skip
    answers = []
    for _ in range(2):
        features = encoder(inputs["planes"], inputs["vector"])
        shown = inputs["residual"], inputs["detail"], inputs["ground"]
        answers.append(step(inputs["x"], inputs["sigma"], features, tuple(shown)))
        inputs[what] = inputs[what] + 0.5
    assert (answers[0] - answers[1]).abs().max() > 1e-4


@pytest.mark.parametrize("which", [0, 1, 2], ids=["residual", "detail", "ground"])
def test_what_the_image_shows_passes_pixel_by_pixel(shake: Shake, which: int) -> None:
    planes, x = image(CHANNELS, 16, 16), image(N_BANDS, 16, 16)
    shown = [x.flip(3), x.flip(2), x.flip(2, 3)]

    def times(share: int) -> Tensor:
        return run(TINY, shake, planes, x, *(share * s if n == which else s for n, s in enumerate(shown)))

    none, one, two = map(times, (0, 1, 2))
    assert_close(two - one, one - none, rtol=1e-4, atol=1e-3)
    assert (one - none).abs().mean() > 0.1
    shown[which][0, 4, 5, 6] += 1
    changed = run(TINY, shake, planes, x, *shown) != one
    assert changed.nonzero().tolist() == [[0, 4, 5, 6]]


def test_patches_of_a_batch_do_not_mix(shake: Shake) -> None:
    encoder, step = ConditionEncoder(TINY), StepNetwork(TINY)
    shake(encoder)
    shake(step)
    generator = torch.Generator().manual_seed(2)
    planes = torch.randn(3, CHANNELS, 16, 16, generator=generator)
    x, *shown = torch.randn(4, 3, N_BANDS, 16, 16, generator=generator)
    vector, sigma = torch.randn(3, VECTOR, generator=generator), torch.tensor([-1.0, 0.0, 0.7])
    together = step(x, sigma, encoder(planes, vector), tuple(shown))
    for i in range(3):
        one = slice(i, i + 1)
        features = encoder(planes[one], vector[one])
        alone = step(x[one], sigma[one], features, tuple(image[one] for image in shown))
        assert_close(together[one], alone, rtol=1e-5, atol=1e-5)


def test_to_inference_is_frozen_and_in_the_fast_layout() -> None:
    network = StepNetwork(TINY)
    before = parameters(network)
    ready = to_inference(network, torch.device("cpu"))
    assert parameters(ready) == before == sum(v.numel() for v in network.state_dict().values())
    assert not ready.training
    assert not any(p.requires_grad for p in ready.parameters())
    convolution = ready.get_parameter("head.weight")
    assert convolution.is_contiguous(memory_format=torch.channels_last)
