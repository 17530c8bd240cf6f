"""The inputs of the network for patches of a strip, made on its device from the integers of the scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from cmcr_cli.ground.cirrus import B10, SPECTRUM, subtracted
from cmcr_cli.ground.ground import Ground
from cmcr_cli.ground.radar_basis import MARGIN
from cmcr_cli.ground.unmixing import LEVELS
from cmcr_cli.model.condition import UNDER_CIRRUS, PatchInputs
from cmcr_cli.removal.restore.stored_bits import reflectance
from cmcr_cli.removal.restore.strips import Array, Strip
from cmcr_cli.removal.survey.cloud_map import CELL
from cmcr_cli.runtime.device import to_device
from cmcr_cli.scene.bands import canonical, present
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import PATCH, crop, reflected
from cmcr_cli.scene.radiometry import RADAR_FLOOR_DB, measured, scaled_radar

COVER = np.array([0, UNDER_CIRRUS, 1], np.float32)
"""Cover, as the network takes it, of pixels that are clear, under CIRRUS, under CLOUD."""


@dataclass(frozen=True, slots=True)
class InputMaker:
    """Makes the inputs of patches of one scene.

    Attributes:
        optical: The scene.
        ground: What the first pass has learnt about its ground.
    """

    optical: Optical
    ground: Ground

    def blocks(self, strip: Strip, left: int) -> Array:
        """Evaluate the context at a patch.

        Args:
            strip: The strip of the patch.
            left: First column of the patch.

        Returns:
            Blocks as `SceneContext.blocks` returns them; empty if the strip has what references predict.
        """
        if strip.expected is not None:
            return np.zeros(0, np.float32)
        grid = self.optical.grid
        top, start = (n + origin % CELL for n, origin in zip((strip.top, left), grid.origin, strict=True))
        if strip.radar is None or strip.radar_valid is None:
            return self.ground.context.blocks(top, start, PATCH, PATCH, None, None)
        lines = reflected(strip.top - MARGIN, PATCH + 2 * MARGIN, grid.height) - strip.radar_first
        wide = reflected(left - MARGIN, PATCH + 2 * MARGIN, grid.width)
        radar, valid = crop(strip.radar, lines, wide), crop(strip.radar_valid, lines, wide)
        return self.ground.context.blocks(top, start, PATCH, PATCH, radar, valid)

    def make(self, strip: Strip, lefts: Sequence[int], blocks: Tensor) -> tuple[Tensor, PatchInputs]:
        """Make the inputs of patches.

        Args:
            strip: The strip of the patches.
            lefts: First columns of the patches.
            blocks: Context of each patch, on the device on which the inputs are made.

        Returns:
            Observed reflectance (B, 13, H, W), and the inputs.
        """
        device, grid = blocks.device, self.optical.grid
        sent = strip.on(device)
        lines = reflected(strip.top, PATCH, grid.height)
        columns = [reflected(left, PATCH, grid.width) for left in lefts]

        def crops(values: Tensor, first: int) -> Tensor:
            return torch.stack([crop(values, lines - first, each, _take) for each in columns])

        dn = crops(sent.dn, strip.first)
        observed, valid = self._reflectance(dn), self._valid(dn)
        if sent.expected is None:
            spectrum, confidence = _upsampled(blocks)
            doubt = torch.ones_like(confidence)
        else:
            expected = crops(sent.expected, strip.first).float()
            spectrum, confidence, doubt = expected[:, :-2], expected[:, -2:-1], expected[:, -1:]
        cover = to_device(COVER, device)[crops(sent.cover, strip.first).int()][:, None]
        # Where there is no measurement the patch shows its context, and says that it is covered.
        if not valid.all():
            observed, cover = torch.where(valid, observed, spectrum), torch.where(valid, cover, 1.0)
        if sent.radar is None or sent.radar_valid is None:
            radar, radar_valid = torch.zeros_like(observed[:, :2]), torch.zeros_like(cover)
        else:
            floor = to_device(RADAR_FLOOR_DB, device)[:, None, None]
            radar = scaled_radar(crops(sent.radar, strip.radar_first), floor)
            radar_valid = crops(sent.radar_valid, strip.radar_first)[:, None].float()
        spectrum_of_cirrus = to_device(SPECTRUM, device)[:, None, None]
        b10 = observed[:, B10 : B10 + 1]
        image = subtracted(observed, b10, spectrum_of_cirrus, self.ground.cirrus_ratio)
        names = present(self.optical.names).astype(np.float32)
        known = (self.ground.context.std, names, LEVELS, self.ground.unmixing)
        std, bands, levels, unmixing = (
            to_device(vector, device).expand(len(lefts), *vector.shape) for vector in known
        )
        planes = image, spectrum, confidence, cover, radar, radar_valid
        return observed, PatchInputs(*planes, std, bands, levels, unmixing, doubt)

    def _reflectance(self, dn: Tensor) -> Tensor:
        """DN (B, bands, H, W), their bits as int16, to the 13 bands, absent ones 0, channels_last."""
        values = reflectance(dn, self.optical, torch.channels_last).permute(1, 0, 2, 3)
        found: Tensor = canonical(values, self.optical.names, values.new_zeros)
        return found.permute(1, 0, 2, 3)

    def _valid(self, dn: Tensor) -> Tensor:
        """Where DN (B, bands, H, W), their bits as int16, hold a measurement, (B, 1, H, W)."""
        bits = int(np.array(int(self.optical.empty), self.optical.dtype).view(np.int16))
        bands = (dn[:, band : band + 1] for band in range(dn.shape[1]))
        return measured(bands, self.optical.names, bits)


def _take(values: Tensor, pixels: NDArray[np.intp], axis: int) -> Tensor:
    """Take positions of an axis of a tensor, as `numpy.take` does."""
    return values.index_select(axis, to_device(pixels, values.device))


def _upsampled(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Do on a device what `ground.context.upsampled` does in numpy.

    Returns:
        Spectrum (B, 13, H, W) and confidence (B, 1, H, W).
    """
    parts = (part.contiguous(memory_format=torch.channels_last) for part in (blocks[:, :-1], blocks[:, -1:]))
    spectrum, confidence = (
        F.interpolate(part, scale_factor=2, mode="bilinear", align_corners=False)[..., 2:-2, 2:-2]
        for part in parts
    )
    return spectrum, confidence
