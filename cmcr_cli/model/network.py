"""The U-Net of the denoiser: an encoder that runs once per patch, and a smaller part for every step."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmcr_cli.model.condition import CHANNELS, N_BANDS, VECTOR
from cmcr_cli.model.layers import (
    PixelNorm,
    ResidualBlock,
    RowLinear,
    Upsample,
    downsample,
    fourier,
    unshuffled,
    zeroed,
)

LINES = 16
"""Rows of the head's output that are computed at once on a CPU, so that they fit its cache."""

Features = list[Tensor]
"""Features of the encoder: one map per level, at 1/2, 1/4, 1/8, ... of the patch's size."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Sizes of the U-Net. The sides of a patch must be multiples of 2 ** len(widths) pixels.

    Attributes:
        widths: Channels per level; the first level has half the resolution of the patch.
        condition_blocks: Residual blocks per level of the encoder.
        step_blocks: Residual blocks per level of the part that runs at every step.
        embedding: Channels of the embedding of the noise level.
    """

    widths: tuple[int, ...] = (32, 64, 128)
    condition_blocks: tuple[int, ...] = (1, 1, 2)
    step_blocks: tuple[int, ...] = (1, 1, 1)
    embedding: int = 128


class ConditionEncoder(nn.Module):
    """Computes features from radar, cloudy image, context and mask; sees neither noise nor sigma.

    Args:
        config: The architecture.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths = config.widths
        self.stem = nn.Conv2d(4 * CHANNELS, widths[0], 1)
        self.vector = RowLinear(VECTOR, widths[0])
        self.levels = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(count)))
            for width, count in zip(widths, config.condition_blocks, strict=True)
        )
        self.downs = nn.ModuleList(downsample(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, planes: Tensor, vector: Tensor) -> Features:
        """Compute the features of a condition.

        Args:
            planes: Images of the condition (B, CHANNELS, H, W).
            vector: Values per patch (B, VECTOR).

        Returns:
            One feature map per level, the largest first.
        """
        x = unshuffled(self.stem, planes) + self.vector(vector)[:, :, None, None]
        features = []
        for depth, level in enumerate(self.levels):
            x = level(x)
            features.append(x)
            if depth < len(self.downs):
                x = self.downs[depth](x)
        return features


class StepNetwork(nn.Module):
    """The part that runs at every step: takes the noisy image, sigma by FiLM, and adds the features.

    Args:
        config: The architecture.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths, embedding = config.widths, config.embedding
        self.frequencies = embedding // 2
        self.embed = nn.Sequential(
            RowLinear(embedding, embedding), nn.SiLU(), RowLinear(embedding, embedding)
        )
        self.stem = nn.Conv2d(4 * N_BANDS, widths[0], 1)
        self.fuse = nn.ModuleList(nn.Conv2d(width, width, 1) for width in widths)
        self.encoders = nn.ModuleList(
            nn.ModuleList(ResidualBlock(width, embedding) for _ in range(count))
            for width, count in zip(widths, config.step_blocks, strict=True)
        )
        self.downs = nn.ModuleList(downsample(a, b) for a, b in itertools.pairwise(widths))
        self.ups = nn.ModuleList(Upsample(b, a) for a, b in itertools.pairwise(widths))
        self.decoders = nn.ModuleList(ResidualBlock(width, embedding) for width in widths[:-1])
        self.norm = PixelNorm(widths[0])
        self.head = zeroed(nn.Conv2d(widths[0], 4 * 5 * N_BANDS, 3, padding=1))

    def forward(
        self, x: Tensor, c_noise: Tensor, features: Features, shown: tuple[Tensor, Tensor, Tensor]
    ) -> Tensor:
        """Compute the answer of the network, before the scalings.

        Args:
            x: Scaled noisy image (B, 13, H, W).
            c_noise: Noise level as the network takes it (B,).
            features: Features of the encoder.
            shown: Residual, detail and ground of the condition, each (B, 13, H, W).

        Returns:
            (B, 13, H, W) in scene units.
        """
        embedding = F.silu(self.embed(fourier(c_noise, self.frequencies)))
        noisy, x = x, unshuffled(self.stem, x)
        skips = []
        for depth, blocks in enumerate(self.encoders):
            x = x + self.fuse[depth](features[depth])
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, embedding)
            if depth < len(self.downs):
                skips.append(x)
                x = self.downs[depth](x)
        for depth in reversed(range(len(self.decoders))):
            x = self.decoders[depth](self.ups[depth](x) + skips[depth], embedding)
        # Four images at full resolution are too much for the narrow network. They bypass it, each with a
        # gate: the residual where ground is visible, its detail where thin cloud has shifted its level, its
        # ground part by the scene's statistics, and the noisy image, whose noise is to be removed.
        residual, detail, ground = shown
        return self._answer(F.silu(self.norm(x)), (residual, noisy, detail, ground))

    def _answer(self, x: Tensor, images: tuple[Tensor, ...]) -> Tensor:
        """Add the head's own image and `images` (B, 13, H, W), each multiplied by its gate.

        Equals the pixel_shuffle of the head's maps (B, 4 * 5 * 13, H / 2, W / 2). The channels are ordered so
        that the two pixels of a pair are adjacent as in a channels_last image, which avoids copying these
        large tensors. On a CPU, some rows are computed at a time.
        """
        parts, height = 1 + len(images), x.shape[2]
        order = torch.arange(len(self.head.weight)).view(parts, N_BANDS, 2, 2).permute(2, 0, 3, 1).flatten()
        weight = self.head.weight[order].contiguous(memory_format=torch.channels_last)
        bias = None if self.head.bias is None else self.head.bias[order]
        padded, shown = F.pad(x, (0, 0, 1, 1)), [image.permute(0, 2, 3, 1) for image in images]
        result = padded.new_empty(len(x), height, 2, x.shape[3], 2 * N_BANDS, dtype=images[0].dtype)
        count = height if torch.is_grad_enabled() or x.device.type != "cpu" else LINES
        for top in range(0, height, count):
            maps = F.conv2d(padded[:, :, top : top + count + 2], weight, bias, padding=(0, 1))
            lines = maps.permute(0, 2, 3, 1).reshape(len(x), -1, x.shape[3], 2, parts, 2 * N_BANDS)
            own, *gates = lines.transpose(2, 3).unbind(4)
            answer = result[:, top : top + count]
            answer.copy_(own)
            for gate, image in zip(gates, shown, strict=True):
                answer.addcmul_(gate, image[:, 2 * top : 2 * (top + count)].reshape(gate.shape))
        return result.view(len(x), 2 * height, 2 * x.shape[3], N_BANDS).permute(0, 3, 1, 2)


def parameters(module: nn.Module) -> int:
    """Count the parameters of a module.

    Args:
        module: The module.

    Returns:
        Their number.
    """
    return sum(p.numel() for p in module.parameters())


def to_inference(module: nn.Module, device: torch.device) -> nn.Module:
    """Prepare a module for inference: evaluation mode, no gradients, channels_last.

    Args:
        module: The module, which is changed.
        device: Where it will compute.

    Returns:
        The module.
    """
    module.requires_grad_(False)
    return module.eval().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
