"""Inputs of the denoiser for a batch of patches, and the units in which it predicts.

The denoiser works in scene units: z = (reflectance - context) / std. The context is the expected spectrum at
the pixel, std the standard deviation of the scene's clear ground per band. Predicting zero is predicting the
context, so an untrained network is already as good as its context.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cmcr_cli.model import shrinkage, weave
from cmcr_cli.model.local_mean import level

N_BANDS = 13
CHANNELS = 3 + 3 * N_BANDS + 2
"""Input planes of the encoder: radar (2) and its validity, residual of the image (13), its ground part (13),
context (13), confidence, cover."""

VECTOR = 2 * N_BANDS
"""Inputs of the encoder per patch: presence and standard deviation of each band."""

VISIBLE = slice(1, 4)
"""B02, B03 and B04."""

UNDER_CIRRUS = 0.5
"""Cover of ground that is visible once its cirrus is subtracted: restored, but half trusted."""

LIMIT = 4.0
"""Largest absolute residual in scene units: the brightness of a thick cloud says nothing about the ground."""


@dataclass(frozen=True, slots=True)
class PatchInputs:
    """A batch of patches in physical units; all tensors are float32 on one device.

    Attributes:
        optical: (B, 13, H, W) reflectance of the image, thin cirrus subtracted.
        context: (B, 13, H, W) expected reflectance.
        confidence: (B, 1, H, W) confidence of the context, 0 to 1.
        cover: (B, 1, H, W): 1 under cloud or shadow, UNDER_CIRRUS under subtracted cirrus, else 0.
        radar: (B, 2, H, W) VV and VH, scaled to -1 to 1.
        radar_valid: (B, 1, H, W): 1 where the radar is valid, else 0.
        std: (B, 13) standard deviation of clear ground, reflectance.
        present: (B, 13): 1 for bands that the product has, else 0.
        levels: (B, K) mean residuals of the visible bands, ascending, for which there is a matrix.
        unmixing: (B, K, 13, 13) matrices. Matrix times residual is the part of the residual that is ground;
            between two levels the result is interpolated.
        doubt: (B, 1, H, W) expected square error of the context as a part of that of a context as the
            network knows it, 0 to 1; see `shrinkage.kept`.
    """

    optical: Tensor
    context: Tensor
    confidence: Tensor
    cover: Tensor
    radar: Tensor
    radar_valid: Tensor
    std: Tensor
    present: Tensor
    levels: Tensor
    unmixing: Tensor
    doubt: Tensor

    def channels_last(self) -> PatchInputs:
        """Arrange the images in channels_last, in which convolutions are fast.

        Returns:
            The same batch.
        """
        images = ("optical", "context", "confidence", "cover", "radar", "radar_valid", "doubt")
        return replace(self, **{name: _channels_last(getattr(self, name)) for name in images})


@dataclass(frozen=True, slots=True)
class Condition:
    """Inputs of the denoiser, all in scene units.

    Attributes:
        planes: (B, CHANNELS, H, W) planes for the encoder.
        vector: (B, VECTOR) per-patch inputs for the encoder.
        residual: (B, 13, H, W) residual of the image, within LIMIT.
        detail: (B, 13, H, W) residual without its local mean, which thin cloud affects much less.
        ground: (B, 13, H, W) part of the residual that is ground and not cloud, by the scene's statistics.
        mean: (B, 13, H, W) trusted part of the residual; mu of the diffusion.
        cover: (B, 1, H, W) cover of the inputs.
        hidden: (B, 1, H, W), see `shrinkage.hidden`.
        unexplained: (B, 1, H / 8, W / 8), see `shrinkage.unexplained`.
        kept: (B, 1, H, W), see `shrinkage.kept` and `shrinkage.supported`.
        woven: (B, 1, H, W), see `weave.woven`.
    """

    planes: Tensor
    vector: Tensor
    residual: Tensor
    detail: Tensor
    ground: Tensor
    mean: Tensor
    cover: Tensor
    hidden: Tensor
    unexplained: Tensor
    kept: Tensor
    woven: Tensor

    def pasted(self, estimate: Tensor) -> Tensor:
        """Insert what is trusted of the image into an estimate (data consistency).

        Args:
            estimate: Scene units (B, 13, H, W).

        Returns:
            The same where pixels are covered, the image elsewhere.
        """
        return torch.addcmul(self.mean, self.cover, estimate)

    @classmethod
    def of(cls, inputs: PatchInputs, *, encoded: bool = False) -> Condition:
        """Convert a batch to scene units, in channels_last.

        Args:
            inputs: The batch in physical units.
            encoded: Whether the features of the batch are known already; `planes` is then left empty.

        Returns:
            The inputs of the denoiser.
        """
        inputs = inputs.channels_last()
        residual = to_scene_units(inputs.optical.clamp(0, 1), inputs)
        seen = (inputs.optical - inputs.context).mul_(inputs.present[:, :, None, None])
        brightness = seen[:, VISIBLE].mean(1, keepdim=True)
        ground = _ground(seen, brightness, inputs).clamp_(-LIMIT, LIMIT)
        planes = residual[:0] if encoded else _planes(inputs, residual, ground)
        vector = torch.cat([inputs.present, torch.log10(inputs.std) + 1], dim=1)
        limited = residual.clamp(-LIMIT, LIMIT)
        return cls(
            planes=planes,
            vector=vector,
            residual=limited,
            detail=_detail(residual),
            ground=ground,
            mean=(1 - inputs.cover) * limited,
            cover=inputs.cover,
            hidden=shrinkage.hidden(brightness, inputs.cover, inputs.confidence),
            unexplained=shrinkage.unexplained(limited, inputs.cover),
            kept=shrinkage.kept(inputs.doubt)
            * shrinkage.supported(brightness, inputs.cover, inputs.confidence),
            woven=weave.woven(brightness, inputs.cover),
        )

    def finished(self, estimate: Tensor) -> Tensor:
        """Finish the last estimate: remove its weave, and shrink it where the context is likely to be better.

        Args:
            estimate: Scene units (B, 13, H, W).

        Returns:
            Scene units (B, 13, H, W).
        """
        smooth = weave.without_weave(estimate, self.woven)
        return shrinkage.shrunk(smooth, self.hidden, self.unexplained) * self.kept


def _planes(inputs: PatchInputs, residual: Tensor, ground: Tensor) -> Tensor:
    """Stack the planes of the encoder, (B, CHANNELS, H, W)."""
    parts = [
        inputs.radar * inputs.radar_valid,
        inputs.radar_valid,
        # asinh keeps the contrast of ground under thin cloud and compresses thick cloud. It is written as a
        # formula because torch.asinh takes ten times as long on a CPU.
        residual.square().add_(1).sqrt_().add_(residual.abs()).log_().copysign_(residual),
        ground,
        (2 * inputs.context).sub_(1),
        inputs.confidence,
        inputs.cover,
    ]
    # Concatenated as NHWC: torch would return another layout because some parts have a single channel.
    return torch.cat([part.permute(0, 2, 3, 1) for part in parts], dim=-1).permute(0, 3, 1, 2)


def _channels_last(values: Tensor) -> Tensor:
    return values.contiguous(memory_format=torch.channels_last)


def _ground(residual: Tensor, brightness: Tensor, inputs: PatchInputs) -> Tensor:
    """Ground part, in scene units, of a residual (B, 13, H, W) in reflectance, by the unmixing matrices.

    `brightness` (B, 1, H, W) is the mean residual of the visible bands, reflectance.
    """
    pixels = residual.permute(0, 2, 3, 1).flatten(1, 2)
    matrices = (inputs.unmixing / inputs.std[:, None, :, None]).transpose(2, 3).unbind(1)
    nodes = inputs.levels[:, :, None, None].unbind(1)
    seen = brightness.flatten(1)[:, :, None]
    found = pixels @ matrices[0]
    for index in range(1, len(nodes)):
        # Interpolate between this level and the one before.
        share = ((seen - nodes[index - 1]) / (nodes[index] - nodes[index - 1])).clamp(0, 1)
        if not share.any():  # no pixel reaches this level, so none reaches the levels above
            break
        found = torch.addcmul(found, share, pixels @ (matrices[index] - matrices[index - 1]))
    height, width = residual.shape[2:]
    return found.view(-1, height, width, N_BANDS).permute(0, 3, 1, 2)


def _detail(residual: Tensor) -> Tensor:
    """Residual without its local mean, within LIMIT."""
    bounded = residual.clamp(-4 * LIMIT, 4 * LIMIT)
    return (bounded - level(bounded)).clamp_(-LIMIT, LIMIT)


def to_scene_units(reflectance: Tensor, inputs: PatchInputs) -> Tensor:
    """Convert reflectance to scene units: (reflectance - context) / std.

    Args:
        reflectance: Of a batch (B, 13, H, W).
        inputs: The batch.

    Returns:
        Scene units (B, 13, H, W); absent bands are 0.
    """
    scale = inputs.present / inputs.std
    return (reflectance - inputs.context).mul_(scale[:, :, None, None])


def to_reflectance(z: Tensor, inputs: PatchInputs) -> Tensor:
    """Convert scene units to reflectance.

    Args:
        z: Scene units (B, 13, H, W).
        inputs: The batch.

    Returns:
        Reflectance (B, 13, H, W); absent bands have that of the context.
    """
    return inputs.context + z * (inputs.std * inputs.present)[:, :, None, None]
