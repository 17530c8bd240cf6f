"""One row of patches after another: cut, condition, restore in batches, hand back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmcr_cli.model.condition import VEILED, Condition, PatchInputs, to_reflectance, to_scene_units
from cmcr_cli.model.noise import ground_noise
from cmcr_cli.model.pdmsr import sample
from cmcr_cli.model.weights import Weights
from cmcr_cli.removal.composite import harmonise
from cmcr_cli.removal.cover import CELL
from cmcr_cli.scene.bands import present, scaled_radar
from cmcr_cli.scene.cirrus import without_cirrus
from cmcr_cli.scene.context import MARGIN, SceneContext
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import PATCH, reflected
from cmcr_cli.scene.unmixing import LEVELS

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

COVER = np.array([0, VEILED, 1], np.float32)
"""What the network is told of a pixel that is clear, under VEIL, under CLOUD."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one row of patches reads from the scene: full-width rows, the radar with MARGIN more on each side.

    optical (13, PATCH, W) reflectance, valid and cover (PATCH, W), the latter 0, VEIL or CLOUD, radar
    (2, PATCH + 2 MARGIN, W) dB. `top` is the row's first line in the scene, which may be negative; edges are
    reflected already.
    """

    top: int
    optical: Array
    valid: Mask
    cover: NDArray[np.uint8]
    radar: Array | None
    radar_valid: Mask | None


@dataclass(frozen=True, slots=True)
class Restorer:
    """The network at work on one scene."""

    weights: Weights
    context: SceneContext
    visible: np.float32
    unmixing: Array
    optical: Optical
    steps: int
    samples: int
    seed: int
    harmonised: bool
    device: torch.device

    @torch.inference_mode()
    def restore(self, row: Row, lefts: Sequence[int]) -> Iterator[tuple[int, Array]]:
        """Yield (left, reflectance (13, PATCH, PATCH)) for the patches of one batch.

        With several samples the deviation per band follows in another 13 bands.
        """
        patches = [self._inputs(row, left) for left in lefts]
        observed, *planes = (torch.stack(each).to(self.device) for each in zip(*patches, strict=True))
        inputs = PatchInputs(*planes)
        condition = Condition.of(inputs)
        known = to_scene_units(inputs.optical, inputs)
        images = []
        for index in range(self.samples):
            z = sample(
                self.weights.denoiser,
                condition,
                self.steps,
                lambda step, index=index: self._noise(row.top, lefts, step, index),  # type: ignore[misc]
                known,
                inputs.cover,
            )
            image = to_reflectance(z, inputs)
            clear = (inputs.cover == 0).float()
            images.append(harmonise(image, observed, clear) if self.harmonised else image)
        stack = torch.stack(images)
        result = stack.mean(0)
        if self.samples > 1:
            result = torch.cat([result, stack.std(0)], dim=1)
        yield from zip(lefts, result.cpu().numpy(), strict=True)

    def _noise(self, top: int, lefts: Sequence[int], step: int, index: int) -> Tensor:
        row0, col0 = self.optical.grid.origin
        # Samples are steps of the same generator far apart, so that sample 0 is the image without sampling.
        step += index * 4096
        fields = [ground_noise(self.seed, step, row0 + top, col0 + left, PATCH, PATCH) for left in lefts]
        return torch.from_numpy(np.stack(fields)).to(self.device)

    def _inputs(self, row: Row, left: int) -> tuple[Tensor, ...]:
        """The patch at column `left` as it was observed, then the fields of `PatchInputs` in order."""
        width = self.optical.grid.width
        cols = reflected(left, PATCH, width)
        wide = reflected(left - MARGIN, PATCH + 2 * MARGIN, width)
        radar = None if row.radar is None else row.radar[:, :, wide]
        radar_valid = None if row.radar_valid is None else row.radar_valid[:, wide]
        phase = (n % CELL for n in self.optical.grid.origin)
        top, start = (n + p for n, p in zip((row.top, left), phase, strict=True))
        spectrum, confidence = self.context.evaluate(top, start, PATCH, PATCH, radar, radar_valid)
        valid = row.valid[:, cols]
        # Where there is no measurement the patch shows its context, and says that it is covered.
        observed = np.where(valid, row.optical[:, :, cols], spectrum)
        cover = np.where(valid, COVER[row.cover[:, cols]], 1)
        core = slice(MARGIN, -MARGIN)
        db = np.zeros((2, PATCH, PATCH), np.float32) if radar is None else scaled_radar(radar[:, core, core])
        seen = np.zeros((PATCH, PATCH), bool) if radar_valid is None else radar_valid[core, core]
        image = without_cirrus(observed, self.visible)
        planes = (observed, image, spectrum, confidence[None], cover[None], db, seen[None])
        vectors = (self.context.spread, present(self.optical.names), LEVELS, self.unmixing)
        return tuple(torch.from_numpy(np.asarray(a, dtype=np.float32)) for a in (*planes, *vectors))


def batches(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Consecutive slices of at most `size`."""
    for index in range(math.ceil(len(items) / size)):
        yield items[index * size : (index + 1) * size]
