"""Patches of one strip: conditioned, and taken one step further."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cmcr_cli.errors import WeightsError
from cmcr_cli.model.condition import Condition, PatchInputs, to_reflectance
from cmcr_cli.model.network import Features
from cmcr_cli.model.pdmsr import resample, step_sigmas
from cmcr_cli.removal.restore.composite import match_offsets
from cmcr_cli.removal.restore.locked_noise import ground_noise
from cmcr_cli.removal.restore.patch_inputs import InputMaker
from cmcr_cli.removal.restore.strips import Strip
from cmcr_cli.runtime.device import to_device
from cmcr_cli.runtime.spill import Spilled, SpillStore, Tensors
from cmcr_cli.runtime.workers import Worker
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.patches import PATCH

log = logging.getLogger("cmcr")

LARGEST = 4096.0
"""Standard deviations; larger estimates are not images, but must fit the 16-bit floats in which they wait."""

SAMPLE_STRIDE = 4096
"""Samples are steps of the same noise far apart, so that sample 0 is the image without sampling."""


@dataclass(frozen=True, slots=True)
class Conditioned:
    """A batch, as the network takes it.

    Attributes:
        observed: The patches as they were measured (B, 13, H, W), with their cirrus.
        inputs: What is known about them.
        condition: The same as the network takes it.
        features: Of its encoder.
        cached: For each patch what is expensive to compute and does not change with the steps: the blocks of
            the scene's context, and the features in 16 bits as they are in memory (H, W, C). Empty where
            nothing is kept.
    """

    observed: Tensor
    inputs: PatchInputs
    condition: Condition
    features: Features
    cached: list[Tensors]


@dataclass(frozen=True, slots=True)
class Advanced:
    """A patch after a step.

    Attributes:
        image: (layers, PATCH, PATCH), on the worker's device. The estimates of all samples in scene units, 13
            bands after the first step, which all samples share. After the last step reflectance, and with
            several samples their mean and standard deviation.
        cached: What the next steps need again; None where there is none, or it was there before.
    """

    image: Tensor
    cached: Spilled | None


@dataclass(frozen=True, slots=True)
class Restorer:
    """The network at work on one scene.

    Attributes:
        maker: Makes the inputs of patches.
        steps: Steps per patch.
        samples: Images that are drawn and averaged.
        seed: Of the noise.
        match_offsets: Whether the result is matched to the clear ground nearby.
        spill: Keeps what the next steps need again.
        weights: Their name, for messages.
    """

    maker: InputMaker
    steps: int
    samples: int
    seed: int
    match_offsets: bool
    spill: SpillStore
    weights: str = "in use"

    @torch.inference_mode()
    def advance(
        self,
        worker: Worker,
        strip: Strip,
        lefts: Sequence[int],
        step: int,
        estimates: Tensor | None,
        cached: Sequence[Spilled] = (),
    ) -> list[Advanced]:
        """Take patches through one step.

        Args:
            worker: That computes.
            strip: From which the patches are.
            lefts: Their first columns.
            step: Number of the step, from 0.
            estimates: Blended estimates of the step before (B, samples * 13, PATCH, PATCH) in scene units;
                None for the first.
            cached: What the first step returned for each patch; empty for the first.

        Returns:
            The patches.

        Raises:
            WeightsError: The network does not give finite values.
        """
        known = [handle.load() for handle in cached] if step else None
        batch = self._conditioned(worker, strip, lefts, known)
        found = self._stepped(worker, strip, lefts, step, estimates, batch)
        for index in range(len(lefts)) if not _finite(found) else ():
            if not _finite(found[index]):
                found[index] = self._in_32_bits(worker, strip, lefts, index, step, estimates, known)
        if step == self.steps - 1:
            return [Advanced(image, None) for image in _patches(found)]
        images = _patches(found.clamp(-LARGEST, LARGEST))
        # Last, for a GPU whose memory is short has the batch computed again.
        kept = [self.spill.put(each) for each in batch.cached] if known is None else [None] * len(lefts)
        return [Advanced(image, handle) for image, handle in zip(images, kept, strict=True)]

    def _stepped(
        self,
        worker: Worker,
        strip: Strip,
        lefts: Sequence[int],
        step: int,
        estimates: Tensor | None,
        batch: Conditioned,
        *,
        exact: bool = False,
    ) -> Tensor:
        """Result of the step for a batch, (B, layers, PATCH, PATCH), finite or not."""
        level = step_sigmas(self.steps, worker.denoiser.diffusion)[step]
        images = []
        for last in self._noisy(worker, strip.top, lefts, step, estimates):
            worker.check()
            with _precision(worker.device, exact):
                image = resample(worker.denoiser, batch.condition, batch.features, level, last)
            images.append(image.float())
        return self._finished(images, batch) if step == self.steps - 1 else torch.cat(images, 1)

    def _in_32_bits(
        self,
        worker: Worker,
        strip: Strip,
        lefts: Sequence[int],
        index: int,
        step: int,
        estimates: Tensor | None,
        cached: list[Tensors] | None,
    ) -> Tensor:
        """The patch at `lefts[index]` once more, without any 16-bit float, whose range may not have sufficed.

        Raises WeightsError when it is not finite then either: a pixel without a value would be stored as some
        DN, or as nodata, and pass for a reconstruction.
        """
        left, one = lefts[index], slice(index, index + 1)
        log.info("patch at row %d, column %d: not finite; repeated in float32", strip.top, left)
        batch = self._conditioned(
            worker, strip, lefts[one], None if cached is None else cached[one], exact=True
        )
        before = None if estimates is None else estimates[one]
        found = self._stepped(worker, strip, lefts[one], step, before, batch, exact=True)[0]
        if not _finite(found):
            raise WeightsError(
                f"the weights {self.weights} gave NaN or infinity in the patch at row {max(strip.top, 0)}, "
                f"column {max(left, 0)}, also in float32; expected finite values. They are damaged, or their "
                "training failed: choose others with --weights"
            )
        return found

    def _noisy(
        self, worker: Worker, top: int, lefts: Sequence[int], step: int, estimates: Tensor | None
    ) -> Iterator[tuple[Tensor, Tensor] | None]:
        """For each sample its last estimate, and the noise to add to it; None for the first step of all."""
        if estimates is None:
            yield None
            return
        last = estimates.to(worker.device).contiguous(memory_format=torch.channels_last)
        known = last.chunk(estimates.shape[1] // len(BANDS), dim=1)
        row0, col0 = self.maker.optical.grid.origin
        corners = [(row0 + top, col0 + left) for left in lefts]
        for index in range(self.samples):
            drawn = step + SAMPLE_STRIDE * index
            yield known[index % len(known)], ground_noise(self.seed, drawn, corners, PATCH, worker.device)

    def _finished(self, images: Sequence[Tensor], batch: Conditioned) -> Tensor:
        """Reflectance of the last estimates; with several samples their mean and standard deviation."""
        found = [to_reflectance(batch.condition.finished(z), batch.inputs) for z in images]
        if self.match_offsets:
            clear = (batch.inputs.cover == 0).float()
            found = [match_offsets(image, batch.observed, clear) for image in found]
        if len(found) == 1:
            return found[0]
        stack = torch.stack(found)
        return torch.cat([stack.mean(0), stack.std(0)], dim=1)

    def _conditioned(
        self,
        worker: Worker,
        strip: Strip,
        lefts: Sequence[int],
        cached: list[Tensors] | None,
        *,
        exact: bool = False,
    ) -> Conditioned:
        """Tell the network about a batch; what is `cached` need not be found out again.

        Where it must be `exact` the features are made again, and stay as they are.
        """
        if cached is None:
            blocks = to_device(np.stack([self.maker.blocks(strip, left) for left in lefts]), worker.device)
        else:
            blocks = _together(0, cached, worker.device)
        observed, inputs = self.maker.make(strip, lefts, blocks)
        condition = Condition.of(inputs, encoded=cached is not None and not exact)
        if cached is None or exact:
            with _precision(worker.device, exact):
                features = worker.denoiser.encode(condition)
            condition = replace(condition, planes=torch.empty(0))  # large, and done with
            if self.steps == 1 or exact:
                return Conditioned(observed, inputs, condition, features, [])
            # Of 16 bits from the first step on, so that all see the same.
            halves = [each.half().permute(0, 2, 3, 1).contiguous() for each in features]
            cached = [[*each] for each in zip(blocks, *halves, strict=True)]
        else:
            halves = [_together(n, cached, worker.device) for n in range(1, len(cached[0]))]
        features = [half.permute(0, 3, 1, 2).float() for half in halves]
        return Conditioned(observed, inputs, condition, features, cached)


def _patches(batch: Tensor) -> list[Tensor]:
    """The images of a batch, each band in one piece, as rasters are."""
    return list(batch.contiguous())


def _together(index: int, cached: Sequence[Tensors], device: torch.device) -> Tensor:
    """A batch of what was cached for each patch."""
    return torch.stack([each[index].to(device) for each in cached])


def _finite(values: Tensor) -> bool:
    """Whether none of them is NaN or infinite."""
    return bool(torch.isfinite(values).all())


def _precision(device: torch.device, exact: bool) -> torch.autocast:
    """The network's own: bfloat16 on CUDA, unless it must be `exact`.

    On most CPUs that would be hundreds of times slower.
    """
    return torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda" and not exact)


def batches(items: Sequence[int], size: int) -> list[Sequence[int]]:
    """Divide items into batches.

    Args:
        items: The items.
        size: Most items of a batch.

    Returns:
        Consecutive slices.
    """
    return [items[start : start + size] for start in range(0, len(items), size)]
