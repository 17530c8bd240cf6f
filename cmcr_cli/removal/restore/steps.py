"""Patches of one row of the lattice: conditioned, and taken one step further."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cmcr_cli.errors import WeightsError
from cmcr_cli.model.condition import Condition, PatchInputs, to_reflectance
from cmcr_cli.model.locked_noise import ground_noise
from cmcr_cli.model.network import Features
from cmcr_cli.model.pdmsr import resample, step_sigmas
from cmcr_cli.removal.restore.composite import harmonise
from cmcr_cli.removal.restore.patch_inputs import InputMaker
from cmcr_cli.removal.restore.strips import Row
from cmcr_cli.runtime.device import placed, settle
from cmcr_cli.runtime.spill import Shelf, Tensors
from cmcr_cli.runtime.workers import Lane
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.patches import PATCH

log = logging.getLogger("cmcr")

LARGEST = 4096.0
"""Spreads; an estimate beyond is no image, but must fit the 16-bit floats in which it waits."""

SAMPLE_STRIDE = 4096
"""Samples are steps of the same noise far apart, so that sample 0 is the image without sampling."""


@dataclass(frozen=True, slots=True)
class Conditioned:
    """A batch as the network is told about it; `observed` (B, 13, H, W) still has its cirrus.

    `told` is what took long to find out and does not change with the steps, for each patch: the blocks of the
    scene's context, and the features, of 16 bits, as they lie in memory (H, W, C), if there is more than one
    step.
    """

    observed: Tensor
    inputs: PatchInputs
    condition: Condition
    features: Features
    told: list[Tensors]


@dataclass(frozen=True, slots=True)
class Restorer:
    """The network at work on one scene."""

    maker: InputMaker
    steps: int
    samples: int
    seed: int
    harmonised: bool
    shelf: Shelf
    weights: str = "in use"  # their name, for messages

    @torch.inference_mode()
    def advance(
        self, lane: Lane, row: Row, lefts: Sequence[int], step: int, estimates: Tensor | None
    ) -> list[Tensor]:
        """Take the patches at `lefts` through one step; each comes back as (layers, PATCH, PATCH).

        `estimates` (B, samples * 13, PATCH, PATCH) are those of the last step in scene units, as are the
        results; after the first step, which all samples share, 13 bands. The results of the last step are
        reflectance, and with several samples their mean and deviation. They are on the lane's device.
        """
        told = [self.shelf.get((row.top, left)) for left in lefts] if step else None
        batch = self._conditioned(lane, row, lefts, told)
        found = self._stepped(lane, row, lefts, step, estimates, batch)
        for index in range(len(lefts)) if not _finite(found) else ():
            if not _finite(found[index]):
                found[index] = self._in_32_bits(lane, row, lefts, index, step, estimates, told)
        if step == self.steps - 1:
            # Not before: a GPU whose memory is short has the batch done again, and one that is still at it
            # must not find other values in their place.
            settle(lane.device)
            for left in lefts:
                self.shelf.drop((row.top, left))
            return _patches(found)
        if told is None:
            for left, each in zip(lefts, batch.told, strict=True):
                self.shelf.put((row.top, left), each)
        return _patches(found.clamp(-LARGEST, LARGEST))

    def _stepped(
        self,
        lane: Lane,
        row: Row,
        lefts: Sequence[int],
        step: int,
        estimates: Tensor | None,
        batch: Conditioned,
        *,
        exact: bool = False,
    ) -> Tensor:
        """What the step makes of a batch, (B, layers, PATCH, PATCH), finite or not."""
        level = step_sigmas(self.steps, lane.denoiser.diffusion)[step]
        images = []
        for last in self._noisy(lane, row.top, lefts, step, estimates):
            lane.check()
            with _precision(lane.device, exact):
                image = resample(lane.denoiser, batch.condition, batch.features, level, last)
            images.append(image.float())
        return self._finished(images, batch) if step == self.steps - 1 else torch.cat(images, 1)

    def _in_32_bits(
        self,
        lane: Lane,
        row: Row,
        lefts: Sequence[int],
        index: int,
        step: int,
        estimates: Tensor | None,
        told: list[Tensors] | None,
    ) -> Tensor:
        """The patch at `lefts[index]` once more, without any 16-bit float, whose range may not have sufficed.

        Raises WeightsError when it is not finite then either: a pixel without a value would be stored as some
        DN, or as nodata, and pass for a reconstruction.
        """
        left, one = lefts[index], slice(index, index + 1)
        log.info("patch at row %d, column %d: not finite, is repeated in 32 bits", row.top, left)
        batch = self._conditioned(lane, row, lefts[one], None if told is None else told[one], exact=True)
        before = None if estimates is None else estimates[one]
        found = self._stepped(lane, row, lefts[one], step, before, batch, exact=True)[0]
        if not _finite(found):
            raise WeightsError(
                f"the weights {self.weights} gave NaN or infinity in the patch at row {max(row.top, 0)}, "
                f"column {max(left, 0)}, also in 32 bits; expected finite ones. They are damaged, or their "
                "training failed: choose others with --weights"
            )
        return found

    def _noisy(
        self, lane: Lane, top: int, lefts: Sequence[int], step: int, estimates: Tensor | None
    ) -> Iterator[tuple[Tensor, Tensor] | None]:
        """For each sample its last estimate, and the noise to add to it; None for the first step of all."""
        if estimates is None:
            yield None
            return
        last = estimates.to(lane.device).contiguous(memory_format=torch.channels_last)
        known = last.chunk(estimates.shape[1] // len(BANDS), dim=1)
        row0, col0 = self.maker.optical.grid.origin
        corners = [(row0 + top, col0 + left) for left in lefts]
        for index in range(self.samples):
            drawn = step + SAMPLE_STRIDE * index
            yield known[index % len(known)], ground_noise(self.seed, drawn, corners, PATCH, lane.device)

    def _finished(self, images: Sequence[Tensor], batch: Conditioned) -> Tensor:
        """Reflectance of the last estimates; with several samples their mean and standard deviation."""
        found = [to_reflectance(batch.condition.finished(z), batch.inputs) for z in images]
        if self.harmonised:
            clear = (batch.inputs.cover == 0).float()
            found = [harmonise(image, batch.observed, clear) for image in found]
        if len(found) == 1:
            return found[0]
        stack = torch.stack(found)
        return torch.cat([stack.mean(0), stack.std(0)], dim=1)

    def _conditioned(
        self,
        lane: Lane,
        row: Row,
        lefts: Sequence[int],
        told: list[Tensors] | None,
        *,
        exact: bool = False,
    ) -> Conditioned:
        """Tell the network about a batch; what it was `told` before need not be found out again.

        Where it must be `exact` the features are made again, and stay as they are.
        """
        if told is None:
            blocks = placed(np.stack([self.maker.blocks(row, left) for left in lefts]), lane.device)
        else:
            blocks = _together(0, told, lane.device)
        observed, inputs = self.maker.make(row, lefts, blocks)
        condition = Condition.of(inputs, encoded=told is not None and not exact)
        if told is None or exact:
            with _precision(lane.device, exact):
                features = lane.denoiser.encode(condition)
            condition = replace(condition, planes=torch.empty(0))  # large, and done with
            if self.steps == 1 or exact:
                return Conditioned(observed, inputs, condition, features, [])
            # Of 16 bits from the first step on, so that all see the same.
            halves = [each.half().permute(0, 2, 3, 1).contiguous() for each in features]
            told = [[*each] for each in zip(blocks, *halves, strict=True)]
        else:
            halves = [_together(n, told, lane.device) for n in range(1, len(told[0]))]
        features = [half.permute(0, 3, 1, 2).float() for half in halves]
        return Conditioned(observed, inputs, condition, features, told)


def _patches(batch: Tensor) -> list[Tensor]:
    """The images of a batch, each band in one piece, as rasters are."""
    return list(batch.contiguous())


def _together(index: int, told: Sequence[Tensors], device: torch.device) -> Tensor:
    """A batch of what each patch was told."""
    return torch.stack([each[index].to(device) for each in told])


def _finite(values: Tensor) -> bool:
    """Whether none of them is NaN or infinite."""
    return bool(torch.isfinite(values).all())


def _precision(device: torch.device, exact: bool) -> torch.autocast:
    """The network's own: bfloat16 on CUDA, unless it must be `exact`.

    On most CPUs that would be hundreds of times slower.
    """
    return torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda" and not exact)


def batches(items: Sequence[int], size: int) -> list[Sequence[int]]:
    """Consecutive slices of at most `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]
