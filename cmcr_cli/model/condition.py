"""What the network is told about a patch, and the space in which it predicts.

The network works in units of the scene: z = (reflectance - context) / spread, where the context is the
expected spectrum at the pixel and the spread the scene's own deviation per band. Predicting zero is
predicting the context, so an untrained network already does as well as its context.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

N_BANDS = 13
CHANNELS = 3 + N_BANDS + N_BANDS + 2
"""Radar and its validity, the image's departure from its context, the context, its confidence, the cover."""

VECTOR = 2 * N_BANDS
"""Which bands are there, and the spread of each."""

LIMIT = 4.0
"""Departures are kept within this many spreads: how bright a thick cloud is says nothing of the ground."""


@dataclass(frozen=True, slots=True)
class PatchInputs:
    """A batch of patches in physical units; all tensors float32 on one device.

    optical, context: (B, 13, H, W) reflectance. confidence, cover, radar_valid: (B, 1, H, W) in [0, 1];
    cover is the probability of cloud or shadow. radar: (B, 2, H, W), VV and VH scaled to [-1, 1].
    spread, present: (B, 13); present is 1 for bands that the product has.
    """

    optical: Tensor
    context: Tensor
    confidence: Tensor
    cover: Tensor
    radar: Tensor
    radar_valid: Tensor
    spread: Tensor
    present: Tensor


@dataclass(frozen=True, slots=True)
class Condition:
    """What the network is given, all in scene units.

    planes (B, CHANNELS, H, W) and vector (B, VECTOR) go through the encoder. departure (B, 13, H, W) is what
    the image shows, within LIMIT; mean, mu of the diffusion, is the part of it that is trusted.
    """

    planes: Tensor
    vector: Tensor
    departure: Tensor
    mean: Tensor

    @classmethod
    def of(cls, inputs: PatchInputs) -> Condition:
        """Bring a batch into the form in which the network reads it."""
        departure = to_scene_units(inputs.optical.clamp(0, 1), inputs)
        planes = torch.cat(
            [
                inputs.radar * inputs.radar_valid,
                inputs.radar_valid,
                # asinh keeps the ground under thin cloud legible without letting thick cloud saturate
                torch.asinh(departure),
                2 * inputs.context - 1,
                inputs.confidence,
                inputs.cover,
            ],
            dim=1,
        )
        vector = torch.cat([inputs.present, torch.log10(inputs.spread) + 1], dim=1)
        limited = departure.clamp(-LIMIT, LIMIT)
        images = (planes, limited, (1 - inputs.cover) * limited)
        planes, limited, mean = (image.contiguous(memory_format=torch.channels_last) for image in images)
        return cls(planes, vector, limited, mean)


def to_scene_units(reflectance: Tensor, inputs: PatchInputs) -> Tensor:
    """Reflectance (B, 13, H, W) to departures from the context in spreads; absent bands are 0."""
    scale = inputs.present / inputs.spread
    return (reflectance - inputs.context) * scale[:, :, None, None]


def to_reflectance(z: Tensor, inputs: PatchInputs) -> Tensor:
    """The inverse of `to_scene_units` on the bands that are present."""
    return inputs.context + z * (inputs.spread * inputs.present)[:, :, None, None]
