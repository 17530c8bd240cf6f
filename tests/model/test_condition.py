from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from cmcr_cli.model.condition import (
    CHANNELS,
    LIMIT,
    VECTOR,
    Condition,
    PatchInputs,
    to_reflectance,
    to_scene_units,
)

Patches = Callable[..., PatchInputs]
ABSENT = (1, [0, 10])
"""What the fixture's second patch lacks."""


def test_scene_units_and_back(patches: Patches) -> None:
    inputs = patches()
    z = to_scene_units(inputs.optical, inputs)
    torch.testing.assert_close(
        z[0, 3], (inputs.optical[0, 3] - inputs.context[0, 3]) / inputs.spread[0, 3], rtol=1e-5, atol=1e-5
    )
    assert not z[ABSENT].any()
    assert not to_scene_units(inputs.optical + 1, inputs)[ABSENT].any()
    torch.testing.assert_close(to_reflectance(z, inputs), inputs.optical, rtol=0, atol=1e-6)


def test_absent_bands_stay_absent_whatever_is_predicted(patches: Patches) -> None:
    inputs = patches()
    image = to_reflectance(torch.full_like(inputs.optical, 5), inputs)
    assert torch.equal(image[ABSENT], inputs.context[ABSENT])


def test_predicting_zero_is_predicting_the_context(patches: Patches) -> None:
    inputs = patches()
    assert torch.equal(to_reflectance(torch.zeros_like(inputs.optical), inputs), inputs.context)


def test_shapes(patches: Patches) -> None:
    condition = Condition.of(patches())
    assert condition.planes.shape == (2, CHANNELS, 32, 32)
    assert condition.vector.shape == (2, VECTOR)
    assert condition.departure.shape == condition.mean.shape == (2, 13, 32, 32)


def test_departure_and_its_clear_part_the_mean_stay_within_the_limit(patches: Patches) -> None:
    inputs = patches()
    condition = Condition.of(inputs)
    mean = condition.mean
    z = to_scene_units(inputs.optical, inputs)
    assert torch.equal(condition.departure, z.clamp(-LIMIT, LIMIT))
    covered = inputs.cover.bool().expand_as(mean)
    assert not mean[covered].any()
    assert mean[covered].numel() and z.abs().max() > 2 * LIMIT
    torch.testing.assert_close(mean[~covered], z.clamp(-LIMIT, LIMIT)[~covered])
    half = Condition.of(replace(inputs, cover=torch.full_like(inputs.cover, 0.5))).mean
    torch.testing.assert_close(half, z.clamp(-LIMIT, LIMIT) / 2)


def test_invalid_radar_has_no_influence(patches: Patches) -> None:
    inputs = patches()
    garbage = torch.where(inputs.radar_valid.bool(), inputs.radar, 17.0)
    assert torch.equal(Condition.of(inputs).planes, Condition.of(replace(inputs, radar=garbage)).planes)


@pytest.mark.parametrize(
    "name", ["optical", "context", "confidence", "cover", "radar", "radar_valid", "spread", "present"]
)
def test_every_field_reaches_the_network(patches: Patches, name: str) -> None:
    inputs = patches()
    before = Condition.of(inputs)
    after = Condition.of(replace(inputs, **{name: 0.5 * getattr(inputs, name)}))
    assert not (torch.equal(before.planes, after.planes) and torch.equal(before.vector, after.vector))


def test_thick_cloud_stays_finite_and_within_reach(patches: Patches) -> None:
    inputs = patches()
    cloud = replace(inputs, optical=torch.full_like(inputs.optical, 2.5), spread=torch.full((2, 13), 0.01))
    planes = Condition.of(cloud).planes
    assert torch.isfinite(planes).all()
    assert planes.abs().max() < 10
