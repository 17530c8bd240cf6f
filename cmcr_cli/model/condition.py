"""What the network is told about a patch, and the space in which it predicts.

The network works in units of the scene: z = (reflectance - context) / spread, where the context is the
expected spectrum at the pixel and the spread the scene's own deviation per band. Predicting zero is
predicting the context, so an untrained network already does as well as its context.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cmcr_cli.model import shrinkage
from cmcr_cli.model.local_mean import level

N_BANDS = 13
CHANNELS = 3 + 3 * N_BANDS + 2
"""Radar and its validity, the image's departure from its context, what of that is ground, the context, its
confidence, the cover."""

VECTOR = 2 * N_BANDS
"""Which bands are there, and the spread of each."""

VISIBLE = slice(1, 4)
"""B02, B03 and B04."""

VEILED = 0.5
"""Cover of ground that shows through cirrus which was taken off: restored, but half trusted."""

LIMIT = 4.0
"""Departures are kept within this many spreads: how bright a thick cloud is says nothing of the ground."""


@dataclass(frozen=True, slots=True)
class PatchInputs:
    """A batch of patches in physical units; all tensors float32 on one device.

    optical, context: (B, 13, H, W) reflectance. confidence, cover, radar_valid: (B, 1, H, W) in [0, 1];
    cover is 1 under cloud or shadow, VEILED under thin cirrus. radar: (B, 2, H, W), VV and VH scaled to
    [-1, 1]. spread, present: (B, 13); present is 1 for bands that the product has. levels (B, K) and unmixing
    (B, K, 13, 13): the ground's part of a departure is the matrix times the departure, for K mean departures
    of the visible bands in ascending order, and linear between them.
    """

    optical: Tensor
    context: Tensor
    confidence: Tensor
    cover: Tensor
    radar: Tensor
    radar_valid: Tensor
    spread: Tensor
    present: Tensor
    levels: Tensor
    unmixing: Tensor

    def channels_last(self) -> PatchInputs:
        """The same with its images in the layout in which convolutions are fast."""
        images = ("optical", "context", "confidence", "cover", "radar", "radar_valid")
        return replace(self, **{name: _channels_last(getattr(self, name)) for name in images})


@dataclass(frozen=True, slots=True)
class Condition:
    """What the network is given, all in scene units.

    planes (B, CHANNELS, H, W) and vector (B, VECTOR) go through the encoder. departure (B, 13, H, W) is what
    the image shows, within LIMIT; detail is the same less its local mean, which thin cloud hides far less;
    ground is the part of it that the scene's statistics take for ground and not for cloud; mean, mu of the
    diffusion, is the part of the departure that is trusted. cover is that of the inputs; hidden
    (B, 1, H, W) and unexplained (B, 1, H / 8, W / 8) are those of `shrinkage`.
    """

    planes: Tensor
    vector: Tensor
    departure: Tensor
    detail: Tensor
    ground: Tensor
    mean: Tensor
    cover: Tensor
    hidden: Tensor
    unexplained: Tensor

    def pasted(self, estimate: Tensor) -> Tensor:
        """The `estimate` (B, 13, H, W) with what is trusted of the image in its place."""
        return torch.addcmul(self.mean, self.cover, estimate)

    @classmethod
    def of(cls, inputs: PatchInputs, *, encoded: bool = False) -> Condition:
        """Bring a batch into the form in which the network reads it, channels_last as it computes.

        The planes are left out of what the encoder has seen already.
        """
        inputs = inputs.channels_last()
        departure = to_scene_units(inputs.optical.clamp(0, 1), inputs)
        seen = (inputs.optical - inputs.context).mul_(inputs.present[:, :, None, None])
        brightness = seen[:, VISIBLE].mean(1, keepdim=True)
        ground = _ground(seen, brightness, inputs).clamp_(-LIMIT, LIMIT)
        planes = departure[:0] if encoded else _planes(inputs, departure, ground)
        vector = torch.cat([inputs.present, torch.log10(inputs.spread) + 1], dim=1)
        limited = departure.clamp(-LIMIT, LIMIT)
        return cls(
            planes=planes,
            vector=vector,
            departure=limited,
            detail=_detail(departure),
            ground=ground,
            mean=(1 - inputs.cover) * limited,
            cover=inputs.cover,
            hidden=shrinkage.hidden(brightness, inputs.cover, inputs.confidence),
            unexplained=shrinkage.unexplained(limited, inputs.cover),
        )

    def finished(self, estimate: Tensor) -> Tensor:
        """The last estimate (B, 13, H, W) as it leaves the scene's units."""
        return shrinkage.shrunk(estimate, self.hidden, self.unexplained)


def _planes(inputs: PatchInputs, departure: Tensor, ground: Tensor) -> Tensor:
    """What the encoder sees, (B, CHANNELS, H, W)."""
    parts = [
        inputs.radar * inputs.radar_valid,
        inputs.radar_valid,
        # asinh keeps the ground under thin cloud legible without letting thick cloud saturate; by its
        # formula, since torch.asinh takes ten times as long on a CPU
        departure.square().add_(1).sqrt_().add_(departure.abs()).log_().copysign_(departure),
        ground,
        (2 * inputs.context).sub_(1),
        inputs.confidence,
        inputs.cover,
    ]
    # Put together pixel by pixel: what torch makes of images of one channel would be in another layout.
    return torch.cat([part.permute(0, 2, 3, 1) for part in parts], dim=-1).permute(0, 3, 1, 2)


def _channels_last(values: Tensor) -> Tensor:
    return values.contiguous(memory_format=torch.channels_last)


def _ground(departure: Tensor, brightness: Tensor, inputs: PatchInputs) -> Tensor:
    """The ground's part of a departure (B, 13, H, W) in reflectance, by the scene's unmixing matrices.

    In spreads. `brightness` (B, 1, H, W) is the mean departure of the visible bands.
    """
    pixels = departure.permute(0, 2, 3, 1).flatten(1, 2)
    matrices = (inputs.unmixing / inputs.spread[:, None, :, None]).transpose(2, 3).unbind(1)
    nodes = inputs.levels[:, :, None, None].unbind(1)
    seen = brightness.flatten(1)[:, :, None]
    found = pixels @ matrices[0]
    for index in range(1, len(nodes)):
        # What each level changes of the one before, as far as the brightness has come.
        share = ((seen - nodes[index - 1]) / (nodes[index] - nodes[index - 1])).clamp(0, 1)
        if not share.any():  # nor does anything reach the levels above
            break
        found = torch.addcmul(found, share, pixels @ (matrices[index] - matrices[index - 1]))
    height, width = departure.shape[2:]
    return found.view(-1, height, width, N_BANDS).permute(0, 3, 1, 2)


def _detail(departure: Tensor) -> Tensor:
    """What is left of a departure without its local mean, within LIMIT."""
    bounded = departure.clamp(-4 * LIMIT, 4 * LIMIT)
    return (bounded - level(bounded)).clamp_(-LIMIT, LIMIT)


def to_scene_units(reflectance: Tensor, inputs: PatchInputs) -> Tensor:
    """Reflectance (B, 13, H, W) to departures from the context in spreads; absent bands are 0."""
    scale = inputs.present / inputs.spread
    return (reflectance - inputs.context).mul_(scale[:, :, None, None])


def to_reflectance(z: Tensor, inputs: PatchInputs) -> Tensor:
    """The inverse of `to_scene_units` on the bands that are present."""
    return inputs.context + z * (inputs.spread * inputs.present)[:, :, None, None]
