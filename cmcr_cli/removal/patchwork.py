"""Patches of one row of the lattice: cut, conditioned, and taken one step further."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmcr_cli.model.condition import VEILED, Condition, PatchInputs, to_reflectance
from cmcr_cli.model.network import Features
from cmcr_cli.model.noise import ground_noise
from cmcr_cli.model.pdmsr import resample, step_sigmas
from cmcr_cli.removal.composite import harmonise
from cmcr_cli.removal.cover import CELL, Cover
from cmcr_cli.removal.lanes import Lane
from cmcr_cli.removal.shelf import Arrays, Shelf
from cmcr_cli.scene.bands import BANDS, canonical, present, scaled_radar
from cmcr_cli.scene.cirrus import without_cirrus
from cmcr_cli.scene.context import MARGIN, SceneContext, enlarged
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import PATCH, cut, reflected
from cmcr_cli.scene.radar import Radar
from cmcr_cli.scene.raster import Lines
from cmcr_cli.scene.unmixing import LEVELS

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

COVER = np.array([0, VEILED, 1], np.float32)
"""What the network is told of a pixel that is clear, under VEIL, under CLOUD."""

LARGEST = 4096.0
"""Spreads; an estimate beyond is no image, but must fit the 16-bit floats in which it waits."""

SAMPLE_STRIDE = 4096
"""Samples are steps of the same noise far apart, so that sample 0 is the image without sampling."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one row of patches reads from the scene, full-width; floats are made patch by patch.

    dn (bands, n, W) and cover (n, W), 0, VEIL or CLOUD, are the scene's lines from `first`; radar (2, m, W)
    dB and radar_valid (m, W) those from `radar_first`, with MARGIN more above and below. `top` is the row's
    first line in the scene, which may be negative: what lies beyond the scene's edges is reflected.
    """

    top: int
    first: int
    dn: NDArray[np.generic]
    cover: NDArray[np.uint8]
    radar_first: int
    radar: Array | None
    radar_valid: Mask | None

    @property
    def arrays(self) -> Arrays:
        """All that takes up room."""
        return [each for each in (self.dn, self.cover, self.radar, self.radar_valid) if each is not None]

    def on_shelf(self) -> Row:
        """The row without its arrays."""
        nothing = self.dn[:0].copy(), self.cover[:0].copy()
        return Row(self.top, self.first, *nothing, self.radar_first, None, None)

    def off_shelf(self, arrays: Arrays) -> Row:
        """The row with its arrays again."""
        dn, cover, *radar = arrays
        return Row(self.top, self.first, dn, cover, self.radar_first, *(radar or (None, None)))


class RowReader:
    """Reads the rows of patches of a scene, from the top down."""

    def __init__(self, optical: Optical, radar: Radar | None, cover: Cover, tops: Sequence[int]) -> None:
        self._cover, self._tops, self._height = cover, tops, optical.grid.height
        self._dn = Lines(lambda top, rows: (optical.read(top, rows),))
        self._radar = None if radar is None else Lines(radar.read)

    def load(self, index: int) -> Row:
        """Row `index` of the lattice, also the lines that its patches show by reflection."""
        top, *below = self._tops[index : index + 2]
        first, stop = self._lines(top, PATCH)
        (dn,) = self._dn.window(first, stop, self._lines(below[0], PATCH)[0] if below else stop)
        cover = self._cover.pixels(first, stop - first)
        if self._radar is None:
            return Row(top, first, dn, cover, 0, None, None)
        wider = PATCH + 2 * MARGIN
        start, end = self._lines(top - MARGIN, wider)
        following = self._lines(below[0] - MARGIN, wider)[0] if below else end
        return Row(top, first, dn, cover, start, *self._radar.window(start, end, following))

    def _lines(self, top: int, count: int) -> tuple[int, int]:
        lines = reflected(top, count, self._height)
        return int(lines.min()), int(lines.max()) + 1


@dataclass(frozen=True, slots=True)
class Conditioned:
    """A batch as the network is told about it; `observed` (B, 13, H, W) still has its cirrus.

    `told` is what took long to find out and does not change with the steps, for each patch: the blocks of the
    scene's context, and the features, of 16 bits, if there is more than one step.
    """

    observed: Tensor
    inputs: PatchInputs
    condition: Condition
    features: Features
    told: list[Arrays]


@dataclass(frozen=True, slots=True)
class Restorer:
    """The network at work on one scene."""

    context: SceneContext
    visible: np.float32
    unmixing: Array
    optical: Optical
    steps: int
    samples: int
    seed: int
    harmonised: bool
    shelf: Shelf

    @torch.inference_mode()
    def advance(
        self, lane: Lane, row: Row, lefts: Sequence[int], step: int, estimates: Array | None
    ) -> list[Array]:
        """Take the patches at `lefts` through one step; each comes back as (layers, PATCH, PATCH).

        `estimates` (B, samples * 13, PATCH, PATCH) are those of the last step in scene units, as are the
        results; after the first step, which all samples share, 13 bands. The results of the last step are
        reflectance, and with several samples their mean and deviation.
        """
        told = [self.shelf.get((row.top, left)) for left in lefts] if step else None
        batch = self._conditioned(lane, row, lefts, told)
        level = step_sigmas(self.steps, lane.denoiser.diffusion)[step]
        images = []
        for last in self._noisy(lane, row.top, lefts, step, estimates):
            lane.check()
            with _precision(lane.device):
                image = resample(lane.denoiser, batch.condition, batch.features, level, last)
            images.append(image.float())
        if step == self.steps - 1:
            found = _patches(self._finished(images, batch))
            # Not before: a GPU whose memory is short has the batch done again.
            for left in lefts:
                self.shelf.drop((row.top, left))
            return found
        if told is None:
            for left, each in zip(lefts, batch.told, strict=True):
                self.shelf.put((row.top, left), each)
        return _patches(torch.cat(images, 1).clamp(-LARGEST, LARGEST))

    def _noisy(
        self, lane: Lane, top: int, lefts: Sequence[int], step: int, estimates: Array | None
    ) -> Iterator[tuple[Tensor, Tensor] | None]:
        """For each sample its last estimate, and the noise to add to it; None for the first step of all."""
        if estimates is None:
            yield None
            return
        last = _batch(estimates).to(lane.device).chunk(estimates.shape[1] // len(BANDS), dim=1)
        row0, col0 = self.optical.grid.origin
        for index in range(self.samples):
            seed = self.seed, step + SAMPLE_STRIDE * index
            noise = [ground_noise(*seed, row0 + top, col0 + left, PATCH, PATCH) for left in lefts]
            yield last[index % len(last)], _batch(noise).to(lane.device)

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
        self, lane: Lane, row: Row, lefts: Sequence[int], told: list[Arrays] | None
    ) -> Conditioned:
        """Tell the network about a batch; what it was `told` before need not be found out again."""
        contexts = [each[0] for each in told] if told else [self._context(row, left) for left in lefts]
        patches = [self._inputs(row, *each) for each in zip(lefts, contexts, strict=True)]
        observed, *images = (_batch(each).to(lane.device) for each in zip(*patches, strict=True))
        names = present(self.optical.names).astype(np.float32)
        vectors = (self.context.spread, names, LEVELS, self.unmixing)
        shared = (torch.from_numpy(vector).to(lane.device) for vector in vectors)
        inputs = PatchInputs(*images, *(vector.expand(len(lefts), *vector.shape) for vector in shared))
        condition = Condition.of(inputs, encoded=told is not None)
        if told is None:
            with _precision(lane.device):
                features = lane.denoiser.encode(condition)
            condition = replace(condition, planes=torch.empty(0))  # large, and done with
            if self.steps == 1:
                return Conditioned(observed, inputs, condition, features, [])
            # Of 16 bits from the first step on, so that all see the same.
            halves = [_by_pixel(each.half()) for each in features]
            told = [[context, *(half[n] for half in halves)] for n, context in enumerate(contexts)]
        maps = zip(*(each[1:] for each in told), strict=True)
        features = [_by_band(halves).to(lane.device).float() for halves in maps]
        return Conditioned(observed, inputs, condition, features, told)

    def _inputs(self, row: Row, left: int, context: Array) -> tuple[Array, ...]:
        """The patch at column `left` as it was observed, then the images of `PatchInputs` in order."""
        optical, grid = self.optical, self.optical.grid
        lines = reflected(row.top, PATCH, grid.height) - row.first
        cols = reflected(left, PATCH, grid.width)
        dn = cut(row.dn, lines, cols)
        valid = optical.valid(dn)
        spectrum, confidence = enlarged(context)
        observed = canonical(optical.radiometry.reflectance(dn), optical.names)
        cover = COVER[cut(row.cover, lines, cols)]
        # Where there is no measurement the patch shows its context, and says that it is covered.
        if not valid.all():
            observed, cover = np.where(valid, observed, spectrum), np.where(valid, cover, np.float32(1))
        image = without_cirrus(observed, self.visible)
        return observed, image, spectrum, confidence[None], cover[None], *self._radar(row, lines, cols)

    def _radar(self, row: Row, lines: NDArray[np.intp], cols: NDArray[np.intp]) -> tuple[Array, Array]:
        """Radar scaled to [-1, 1], and 1 where it is valid, at lines of the row's DN."""
        if row.radar is None or row.radar_valid is None:
            return np.zeros((2, PATCH, PATCH), np.float32), np.zeros((1, PATCH, PATCH), np.float32)
        lines = lines + row.first - row.radar_first
        valid = cut(row.radar_valid, lines, cols)
        return scaled_radar(cut(row.radar, lines, cols)), valid[None].astype(np.float32)

    def _context(self, row: Row, left: int) -> Array:
        """The scene's context at one patch, in blocks."""
        grid = self.optical.grid
        top, start = (n + origin % CELL for n, origin in zip((row.top, left), grid.origin, strict=True))
        if row.radar is None or row.radar_valid is None:
            return self.context.blocks(top, start, PATCH, PATCH, None, None)
        lines = reflected(row.top - MARGIN, PATCH + 2 * MARGIN, grid.height) - row.radar_first
        wide = reflected(left - MARGIN, PATCH + 2 * MARGIN, grid.width)
        radar, valid = cut(row.radar, lines, wide), cut(row.radar_valid, lines, wide)
        return self.context.blocks(top, start, PATCH, PATCH, radar, valid)


def _batch(images: Sequence[Array] | Array) -> Tensor:
    """Images (C, H, W) as one batch, in the layout in which convolutions are fast."""
    batch = torch.empty((len(images), *images[0].shape), memory_format=torch.channels_last)
    for target, image in zip(batch, images, strict=True):
        target.copy_(torch.from_numpy(image))
    return batch


def _patches(batch: Tensor) -> list[Array]:
    """The images of a batch, each band in one piece, as rasters are."""
    return list(batch.cpu().contiguous().numpy())


def _by_pixel(batch: Tensor) -> NDArray[np.float16]:
    """Features (B, C, H, W) as (B, H, W, C): as they lie in memory."""
    found: NDArray[np.float16] = batch.cpu().permute(0, 2, 3, 1).contiguous().numpy()
    return found


def _by_band(patches: Sequence[NDArray[np.float16]]) -> Tensor:
    """The batch (B, C, H, W) of features (H, W, C)."""
    return torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2)


def _precision(device: torch.device) -> torch.autocast:
    """The network's own: bfloat16 on CUDA; on most CPUs that would be hundreds of times slower."""
    return torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda")


def batches(items: Sequence[int], size: int) -> list[Sequence[int]]:
    """Consecutive slices of at most `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]
