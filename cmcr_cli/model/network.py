"""The U-Net: a condition encoder that runs once per patch, and a lighter part that runs per step."""

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
"""Of the head's maps that are made at once on a CPU: the gates find them in its cache."""

Features = list[Tensor]
"""One map per level, at 1/2, 1/4, 1/8, ... of the patch's size."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Sizes of the U-Net; `widths` has one entry per level, the first at half the patch's resolution.

    A patch must measure a multiple of 2 ** len(widths) pixels.
    """

    widths: tuple[int, ...] = (32, 64, 128)
    condition_blocks: tuple[int, ...] = (1, 1, 2)
    step_blocks: tuple[int, ...] = (1, 1, 1)
    embedding: int = 128


class ConditionEncoder(nn.Module):
    """Radar, cloudy image, context and mask to feature maps; sees neither noise nor sigma."""

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
        """(B, CHANNELS, H, W) and (B, VECTOR) to one map per level."""
        x = unshuffled(self.stem, planes) + self.vector(vector)[:, :, None, None]
        features = []
        for depth, level in enumerate(self.levels):
            x = level(x)
            features.append(x)
            if depth < len(self.downs):
                x = self.downs[depth](x)
        return features


class StepNetwork(nn.Module):
    """The part that runs at every step: noisy image, sigma by FiLM, the encoder's features by addition."""

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
        """Noisy image (B, 13, H, W), c_noise (B,), the features and what the image shows to (B, 13, H, W).

        `shown` are the condition's departure, detail and ground.
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
        # Four images at full resolution are too much to carry through the narrow network, so they pass by
        # it, each under a gate: the ground where it shows through, its detail where a veil has shifted its
        # level, what the scene's statistics part from the cloud, and the noise, to be taken out again.
        departure, detail, ground = shown
        return self._answer(F.silu(self.norm(x)), (departure, noisy, detail, ground))

    def _answer(self, x: Tensor, images: tuple[Tensor, ...]) -> Tensor:
        """The head's own image plus `images` (B, 13, H, W), each times its gate.

        As the pixel_shuffle of the head's maps (B, 4 * 5 * 13, H/2, W/2) would give it. The maps are made in
        an order in which two neighbouring pixels lie as they do in a channels_last image, so that none of
        these large tensors needs to be moved; and on a CPU some lines at once.
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
    """Number of trainable values."""
    return sum(p.numel() for p in module.parameters())


def to_inference(module: nn.Module, device: torch.device) -> nn.Module:
    """Evaluation mode, channels_last (the fast layout of plain convolutions on CPU and GPU), on `device`."""
    module.requires_grad_(False)
    return module.eval().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
