"""What the network is told about a patch, and the space in which it predicts.

The network works in units of the scene: z = (reflectance - context) / spread, where the context is the
expected spectrum at the pixel and the spread the scene's own deviation per band. Predicting zero is
predicting the context, so an untrained network already does as well as its context.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

N_BANDS = 13
CHANNELS = 3 + N_BANDS + N_BANDS + 2
"""Radar and its validity, the image's departure from its context, the context, its confidence, the cover."""

VECTOR = 2 * N_BANDS
"""Which bands are there, and the spread of each."""

CELL = 8
"""Pixels along the side of the cells over which the image is averaged to tell its detail from its level."""

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
    the image shows, within LIMIT; detail is the same less its local mean, which thin cloud hides far less;
    mean, mu of the diffusion, is the part of the departure that is trusted.
    """

    planes: Tensor
    vector: Tensor
    departure: Tensor
    detail: Tensor
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
        images = (planes, limited, _detail(departure), (1 - inputs.cover) * limited)
        planes, limited, detail, mean = (i.contiguous(memory_format=torch.channels_last) for i in images)
        return cls(planes, vector, limited, detail, mean)


def _detail(departure: Tensor) -> Tensor:
    """What is left of a departure without its mean over about 3 x 3 cells, within LIMIT."""
    bounded = departure.clamp(-4 * LIMIT, 4 * LIMIT)
    cells = F.avg_pool2d(F.avg_pool2d(bounded, CELL), 3, 1, 1, count_include_pad=False)
    level = F.interpolate(cells, scale_factor=CELL, mode="bilinear", align_corners=False)
    return (bounded - level).clamp(-LIMIT, LIMIT)


def to_scene_units(reflectance: Tensor, inputs: PatchInputs) -> Tensor:
    """Reflectance (B, 13, H, W) to departures from the context in spreads; absent bands are 0."""
    scale = inputs.present / inputs.spread
    return (reflectance - inputs.context) * scale[:, :, None, None]


def to_reflectance(z: Tensor, inputs: PatchInputs) -> Tensor:
    """The inverse of `to_scene_units` on the bands that are present."""
    return inputs.context + z * (inputs.spread * inputs.present)[:, :, None, None]
