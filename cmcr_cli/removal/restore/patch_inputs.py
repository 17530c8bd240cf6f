"""What the network is given of the patches of a row, made on its device from the integers of the scene.

The arithmetic is that of `scene`, which does it for strips in numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from cmcr_cli.ground.cirrus import B10, GROUND, SPECTRUM, WHITE, thickest
from cmcr_cli.ground.context import MARGIN, SceneContext
from cmcr_cli.ground.unmixing import LEVELS
from cmcr_cli.model.condition import VEILED, PatchInputs
from cmcr_cli.removal.restore.radiometry import reflectance
from cmcr_cli.removal.restore.strips import Array, Row
from cmcr_cli.removal.survey.cloud_map import CELL
from cmcr_cli.runtime.device import placed
from cmcr_cli.scene.bands import BANDS, RADAR_FLOOR_DB, present
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import PATCH, cut, reflected

COVER = np.array([0, VEILED, 1], np.float32)
"""What the network is told of a pixel that is clear, under VEIL, under CLOUD."""


@dataclass(frozen=True, slots=True)
class InputMaker:
    """Makes the inputs of patches of one scene, given what the survey found out about it."""

    optical: Optical
    context: SceneContext
    visible: np.float32
    unmixing: Array

    def blocks(self, row: Row, left: int) -> Array:
        """The scene's context at the patch at column `left`, as `SceneContext.blocks` gives it."""
        grid = self.optical.grid
        top, start = (n + origin % CELL for n, origin in zip((row.top, left), grid.origin, strict=True))
        if row.radar is None or row.radar_valid is None:
            return self.context.blocks(top, start, PATCH, PATCH, None, None)
        lines = reflected(row.top - MARGIN, PATCH + 2 * MARGIN, grid.height) - row.radar_first
        wide = reflected(left - MARGIN, PATCH + 2 * MARGIN, grid.width)
        radar, valid = cut(row.radar, lines, wide), cut(row.radar_valid, lines, wide)
        return self.context.blocks(top, start, PATCH, PATCH, radar, valid)

    def make(self, row: Row, lefts: Sequence[int], blocks: Tensor) -> tuple[Tensor, PatchInputs]:
        """The patches at columns `lefts` as they were observed (B, 13, H, W), and their inputs.

        `blocks` are those of each patch, on the device on which all is made.
        """
        device, grid = blocks.device, self.optical.grid
        strips = row.on(device)
        lines = reflected(row.top, PATCH, grid.height)
        columns = [reflected(left, PATCH, grid.width) for left in lefts]

        def cuts(strip: Tensor, first: int) -> Tensor:
            return torch.stack([_cut(strip, lines - first, each) for each in columns])

        dn = cuts(strips.dn, row.first)
        observed, valid = self._reflectance(dn), self._valid(dn)
        spectrum, confidence = _enlarged(blocks)
        cover = placed(COVER, device)[cuts(strips.cover, row.first).int()][:, None]
        # Where there is no measurement the patch shows its context, and says that it is covered.
        if not valid.all():
            observed, cover = torch.where(valid, observed, spectrum), torch.where(valid, cover, 1.0)
        if strips.radar is None or strips.radar_valid is None:
            radar, radar_valid = torch.zeros_like(observed[:, :2]), torch.zeros_like(cover)
        else:
            radar = _scaled_radar(cuts(strips.radar, row.radar_first))
            radar_valid = cuts(strips.radar_valid, row.radar_first)[:, None].float()
        image = _without_cirrus(observed, float(self.visible))
        names = present(self.optical.names).astype(np.float32)
        vectors = (self.context.spread, names, LEVELS, self.unmixing)
        shared = (placed(vector, device).expand(len(lefts), *vector.shape) for vector in vectors)
        return observed, PatchInputs(image, spectrum, confidence, cover, radar, radar_valid, *shared)

    def _reflectance(self, dn: Tensor) -> Tensor:
        """DN (B, bands, H, W), their bits as int16, to the 13 bands, absent ones 0, channels_last."""
        values = reflectance(dn, self.optical, torch.channels_last)
        if self.optical.names == BANDS:
            return values
        found = values.new_zeros(len(BANDS), *values.permute(1, 0, 2, 3).shape[1:])
        found[[BANDS.index(name) for name in self.optical.names]] = values.permute(1, 0, 2, 3)
        return found.permute(1, 0, 2, 3)

    def _valid(self, dn: Tensor) -> Tensor:
        """Where DN (B, bands, H, W), their bits as int16, hold a measurement, (B, 1, H, W)."""
        empty, limits = self.optical.nodata or 0, np.iinfo(self.optical.dtype)
        if not (limits.min <= empty <= limits.max and empty == int(empty)):  # what no DN can be
            return torch.ones_like(dn[:, :1], dtype=torch.bool)
        bits = int(np.array(int(empty), self.optical.dtype).view(np.int16))
        valid = torch.zeros_like(dn[:, :1], dtype=torch.bool)
        for index, name in enumerate(self.optical.names):
            if name != "B10":
                valid |= dn[:, index : index + 1] != bits
                if valid.all():
                    break
        return valid


def _cut(strip: Tensor, lines: NDArray[np.intp], columns: NDArray[np.intp]) -> Tensor:
    """As `scene.patches.cut`."""
    top, left = int(lines.min()), int(columns.min())
    strip = strip[..., top : int(lines.max()) + 1, left : int(columns.max()) + 1]
    for axis, pixels in ((-2, lines - top), (-1, columns - left)):
        if (np.diff(pixels) != 1).any():
            strip = strip.index_select(axis, placed(pixels, strip.device))
    return strip


def _enlarged(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """As `ground.context.enlarged`: spectrum (B, 13, H, W) and confidence (B, 1, H, W)."""
    parts = (part.contiguous(memory_format=torch.channels_last) for part in (blocks[:, :-1], blocks[:, -1:]))
    spectrum, confidence = (
        F.interpolate(part, scale_factor=2, mode="bilinear", align_corners=False)[..., 2:-2, 2:-2]
        for part in parts
    )
    return spectrum, confidence


def _scaled_radar(db: Tensor) -> Tensor:
    """As `scene.bands.scaled_radar`, (B, 2, H, W)."""
    floor = placed(RADAR_FLOOR_DB, db.device)[:, None, None]
    return 1 - 2 * torch.maximum(db.nan_to_num(nan=-99.0), floor).clamp(max=0) / floor


def _without_cirrus(image: Tensor, visible: float) -> Tensor:
    """As `ground.cirrus.without_cirrus`, (B, 13, H, W)."""
    veil = (image[:, B10 : B10 + 1] - float(GROUND)).clamp(0, thickest(visible)) * visible
    if not veil.any():
        return image
    added = placed(SPECTRUM, image.device)[:, None, None] * veil
    cleared = image - added
    return cleared.div_(added.div_(-float(WHITE)).add_(1)).clamp_(min=0)
