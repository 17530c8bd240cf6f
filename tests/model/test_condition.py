from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from cmcr_cli.ground import unmixing
from cmcr_cli.model.condition import (
    CHANNELS,
    LIMIT,
    VECTOR,
    Condition,
    PatchInputs,
    _ground,
    to_reflectance,
    to_scene_units,
)
from cmcr_cli.model.local_mean import MEAN_CELL
from cmcr_cli.model.shrinkage import PART
from tests.support.tensors import assert_close

Patches = Callable[..., PatchInputs]
ABSENT = (1, [0, 10])
"""What the fixture's second patch lacks."""


def test_scene_units_and_back(patches: Patches) -> None:
    inputs = patches()
    z = to_scene_units(inputs.optical, inputs)
    assert_close(
        z[0, 3], (inputs.optical[0, 3] - inputs.context[0, 3]) / inputs.std[0, 3], rtol=1e-5, atol=1e-5
    )
    assert not z[ABSENT].any()
    assert not to_scene_units(inputs.optical + 1, inputs)[ABSENT].any()
    assert_close(to_reflectance(z, inputs), inputs.optical, rtol=0, atol=1e-6)


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
    for image in (condition.residual, condition.detail, condition.ground, condition.mean):
        assert image.shape == (2, 13, 32, 32)
    assert condition.cover.shape == condition.hidden.shape == (2, 1, 32, 32)
    assert condition.unexplained.shape == (2, 1, 32 // MEAN_CELL, 32 // MEAN_CELL)


def test_departure_and_its_clear_part_the_mean_stay_within_the_limit(patches: Patches) -> None:
    inputs = patches()
    condition = Condition.of(inputs)
    mean = condition.mean
    z = to_scene_units(inputs.optical, inputs)
    assert torch.equal(condition.residual, z.clamp(-LIMIT, LIMIT))
    covered = inputs.cover.bool().expand_as(mean)
    assert not mean[covered].any()
    assert mean[covered].numel() and z.abs().max() > 2 * LIMIT
    assert_close(mean[~covered], z.clamp(-LIMIT, LIMIT)[~covered])
    half = Condition.of(replace(inputs, cover=torch.full_like(inputs.cover, 0.5))).mean
    assert_close(half, z.clamp(-LIMIT, LIMIT) / 2)


def shown(inputs: PatchInputs, z: Tensor) -> Condition:
    """The condition of an image that departs by z from a context of mid-grey, every band present."""
    context, std = torch.full_like(z, 0.5), torch.full((len(z), 13), 0.01)
    optical = context + z * std[:, :, None, None]
    return Condition.of(
        replace(inputs, optical=optical, context=context, std=std, present=torch.ones_like(std))
    )


def test_haze_over_everything_shifts_the_departure_and_not_the_detail(patches: Patches) -> None:
    z = torch.rand(2, 13, 32, 32) - 0.5
    before, after = shown(patches(), z), shown(patches(), z + 3)
    assert_close(after.detail, before.detail, rtol=0, atol=1e-4)
    assert_close(after.residual, before.residual + 3, rtol=0, atol=1e-4)
    # thicker than what a residual may say, its detail is still legible
    assert_close(shown(patches(), z + 12).detail, before.detail, rtol=0, atol=1e-4)


def test_detail_is_what_differs_within_the_cells(patches: Patches) -> None:
    texture = torch.ones(MEAN_CELL, MEAN_CELL)
    texture[::2] = -1
    z = texture.repeat(4, 4).expand(2, 13, 32, 32)
    assert_close(shown(patches(), z + 2).detail, z, rtol=0, atol=1e-4)
    assert shown(patches(), torch.full((2, 13, 32, 32), 2.0)).detail.abs().max() < 1e-4


def test_detail_stays_within_the_limit(patches: Patches) -> None:
    roof = torch.zeros(2, 13, 32, 32)
    roof[:, :, 9, 9], roof[:, :, 20, 20] = 40, -40
    detail = shown(patches(), roof).detail
    assert (detail[:, :, 9, 9] == LIMIT).all()
    assert (detail[:, :, 20, 20] == -LIMIT).all()
    assert Condition.of(patches()).detail.abs().max() <= LIMIT


def test_detail_looks_at_the_cells_around_and_no_further(patches: Patches) -> None:
    z = torch.randn(2, 13, 96, 96).clamp(-1, 1)
    nudged = z.clone()
    nudged[:, :, 40:48, 40:48] += 1
    inputs = patches(96)
    changed = (shown(inputs, z).detail != shown(inputs, nudged).detail).any(dim=1)[0]
    near = slice(40 - 2 * MEAN_CELL, 48 + 2 * MEAN_CELL)
    assert changed[40 - MEAN_CELL : 48 + MEAN_CELL, 40 - MEAN_CELL : 48 + MEAN_CELL].all()
    changed[near, near] = False
    assert not changed.any()


def test_detail_of_a_crop_on_the_lattice_of_cells_is_that_of_the_whole(patches: Patches) -> None:
    z = torch.randn(2, 13, 96, 96)
    crop = (..., slice(16, 80), slice(24, 88))
    whole, alone = shown(patches(96), z).detail[crop], shown(patches(64), z[crop]).detail
    inside = (..., slice(2 * MEAN_CELL, -2 * MEAN_CELL), slice(2 * MEAN_CELL, -2 * MEAN_CELL))
    assert_close(alone[inside], whole[inside], rtol=0, atol=1e-4)


def test_ground_is_the_matrix_of_its_level_times_the_departure(patches: Patches) -> None:
    inputs = patches()
    residual = (inputs.optical - inputs.context) * inputs.present[:, :, None, None]
    for brightness, matrix in (
        (-0.3, inputs.unmixing[:, 0]),  # beyond the levels the nearest counts
        (0.1, inputs.unmixing[:, 1]),
        (0.25, inputs.unmixing[:, 1:].mean(1)),
        (2.0, inputs.unmixing[:, 2]),
    ):
        even = residual.clone()
        even[:, 1:4] = brightness
        optical = inputs.context + even
        found = Condition.of(replace(inputs, optical=optical)).ground
        parted = (matrix @ even.flatten(2)).reshape(even.shape) / inputs.std[:, :, None, None]
        assert_close(found, parted.clamp(-LIMIT, LIMIT), rtol=1e-3, atol=1e-3)


def test_levels_count_as_where_the_matrices_are_made(patches: Patches) -> None:
    """`scene.unmixing` collects by the very weights by which the network's ground is put together."""
    brightness = np.linspace(-0.2, 0.6, 32, dtype=np.float32)
    shares = unmixing.weights(brightness)
    residual = torch.from_numpy(brightness).expand(1, 13, 1, 32)
    ones = torch.ones(1, 1, 1, 32)
    for index, share in enumerate(shares):
        matrices = torch.zeros(1, *unmixing.NOTHING.shape)
        matrices[0, index] = torch.eye(13)
        inputs = PatchInputs(
            residual, 0 * residual, ones, ones, ones.expand(1, 2, 1, 32), ones, torch.full((1, 13), 0.25),
            torch.ones(1, 13), torch.from_numpy(unmixing.LEVELS)[None], matrices, ones,
        )  # fmt: skip
        found = _ground(residual, residual[:, :1], inputs)[0, 5, 0].numpy() * 0.25
        np.testing.assert_allclose(found, share * brightness, rtol=0, atol=1e-6)


def test_invalid_radar_has_no_influence(patches: Patches) -> None:
    inputs = patches()
    garbage = torch.where(inputs.radar_valid.bool(), inputs.radar, 17.0)
    assert torch.equal(Condition.of(inputs).planes, Condition.of(replace(inputs, radar=garbage)).planes)


@pytest.mark.parametrize(
    "name",
    [
        "optical",
        "context",
        "confidence",
        "cover",
        "radar",
        "radar_valid",
        "std",
        "present",
        "levels",
        "unmixing",
    ],
)
def test_every_field_reaches_the_network(patches: Patches, name: str) -> None:
    inputs = patches()
    before = Condition.of(inputs)
    after = Condition.of(replace(inputs, **{name: 0.5 * getattr(inputs, name)}))
    assert not (torch.equal(before.planes, after.planes) and torch.equal(before.vector, after.vector))


def test_thick_cloud_stays_finite_and_within_reach(patches: Patches) -> None:
    inputs = patches()
    cloud = replace(inputs, optical=torch.full_like(inputs.optical, 2.5), std=torch.full((2, 13), 0.01))
    planes = Condition.of(cloud).planes
    assert torch.isfinite(planes).all()
    assert planes.abs().max() < 10


def test_far_from_clear_ground_a_part_of_the_estimate_is_kept_whatever_its_size(patches: Patches) -> None:
    inputs = patches()
    white = replace(inputs, optical=torch.full_like(inputs.optical, 0.9), cover=torch.ones_like(inputs.cover))
    estimate = torch.full_like(inputs.optical, 0.3)
    blind = Condition.of(replace(white, confidence=torch.zeros_like(inputs.confidence)))
    assert_close(blind.finished(estimate), PART * estimate, rtol=0, atol=1e-6)
    sure = Condition.of(replace(white, confidence=torch.ones_like(inputs.confidence)))
    assert not torch.equal(sure.finished(estimate), estimate)
