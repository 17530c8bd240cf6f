"""Patches of one row of the lattice: cut, conditioned, and taken one step further."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

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
from cmcr_cli.scene.bands import canonical, present, scaled_radar
from cmcr_cli.scene.cirrus import without_cirrus
from cmcr_cli.scene.context import MARGIN, SceneContext
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import PATCH, reflected
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


class RowReader:
    """Reads the rows of patches of a scene, from the top down."""

    def __init__(self, optical: Optical, radar: Radar | None, cover: Cover, tops: Sequence[int]) -> None:
        self._cover, self._tops, self._height = cover, tops, optical.grid.height
        self._dn = Lines(lambda top, rows: (optical.read(top, rows),))
        self._radar = None if radar is None else Lines(radar.read)

    def load(self, index: int) -> Row:
        """Row `index` of the lattice, also the lines that its patches show by reflection."""
        top = self._tops[index]
        first, stop = self._lines(top, PATCH)
        (dn,) = self._dn.window(first, stop)
        cover = self._cover.pixels(first, stop - first)
        if self._radar is None:
            return Row(top, first, dn, cover, 0, None, None)
        lines = self._lines(top - MARGIN, PATCH + 2 * MARGIN)
        return Row(top, first, dn, cover, lines[0], *self._radar.window(*lines))

    def _lines(self, top: int, count: int) -> tuple[int, int]:
        lines = reflected(top, count, self._height)
        return int(lines.min()), int(lines.max()) + 1


@dataclass(frozen=True, slots=True)
class Conditioned:
    """A batch as the network is told about it; `observed` (B, 13, H, W) still has its cirrus."""

    observed: Tensor
    inputs: PatchInputs
    condition: Condition
    features: Features

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        parts = ((part, field.name) for part in (self.inputs, self.condition) for field in fields(part))
        held = [self.observed, *self.features, *(getattr(*part) for part in parts)]
        return sum(tensor.nbytes for tensor in held)

    def slim(self) -> Conditioned:
        """The same without what only the encoder needs."""
        nothing = self.observed[:0]
        inputs = replace(self.inputs, optical=nothing, radar=nothing, radar_valid=nothing, confidence=nothing)
        return replace(self, inputs=inputs, condition=replace(self.condition, planes=nothing))


class Kept:
    """Batches that wait for their next step, as far as there is room: the others are made again."""

    def __init__(self, room: int) -> None:
        self._room = room  # bytes
        self._lock = threading.Lock()
        self._batches: dict[tuple[int, ...], Conditioned] = {}

    def put(self, key: tuple[int, ...], batch: Conditioned) -> None:
        """Keep a batch, or do nothing where there is no room for it."""
        with self._lock:
            if batch.nbytes <= self._room:
                self._room -= batch.nbytes
                self._batches[key] = batch

    def take(self, key: tuple[int, ...]) -> Conditioned | None:
        """Give back a batch, once."""
        with self._lock:
            batch = self._batches.pop(key, None)
            if batch is not None:
                self._room += batch.nbytes
            return batch


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
    kept: Kept

    @torch.inference_mode()
    def advance(
        self, lane: Lane, row: Row, lefts: Sequence[int], step: int, estimates: Array | None
    ) -> list[Array]:
        """Take the patches at `lefts` through one step; each comes back as (layers, PATCH, PATCH).

        `estimates` (B, samples * 13, PATCH, PATCH) are those of the last step in scene units, as are the
        results; those of the last step are reflectance, and with several samples their mean and deviation.
        """
        key = (row.top, *lefts)
        batch = self.kept.take(key) or self._conditioned(lane, row, lefts)
        before: Sequence[Tensor | None] = [None] * self.samples
        if estimates is not None:
            before = torch.from_numpy(estimates).to(lane.device).chunk(self.samples, dim=1)
        level = step_sigmas(self.steps, lane.denoiser.diffusion)[step]
        images = []
        for index, last in enumerate(before):
            lane.check()
            noise = self._noise(row.top, lefts, step + SAMPLE_STRIDE * index).to(lane.device)
            with _precision(lane.device):
                image = resample(lane.denoiser, batch.condition, batch.features, level, noise, last)
            images.append(image.float())
        if step == self.steps - 1:
            return list(self._finished(images, batch).cpu().numpy())
        self.kept.put(key, batch)
        return list(torch.cat(images, 1).clamp(-LARGEST, LARGEST).cpu().numpy())

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

    def _conditioned(self, lane: Lane, row: Row, lefts: Sequence[int]) -> Conditioned:
        patches = [self._inputs(row, left) for left in lefts]
        observed, *stacked = (torch.stack(each) for each in zip(*patches, strict=True))
        inputs = PatchInputs(*(each.to(lane.device) for each in stacked)).channels_last()
        condition = Condition.of(inputs)
        with _precision(lane.device):
            features = lane.denoiser.encode(condition)
        return Conditioned(observed.to(lane.device), inputs, condition, features).slim()

    def _noise(self, top: int, lefts: Sequence[int], step: int) -> Tensor:
        row0, col0 = self.optical.grid.origin
        fields = [ground_noise(self.seed, step, row0 + top, col0 + left, PATCH, PATCH) for left in lefts]
        return torch.from_numpy(np.stack(fields)).contiguous(memory_format=torch.channels_last)

    def _inputs(self, row: Row, left: int) -> tuple[Tensor, ...]:
        """The patch at column `left` as it was observed, then the fields of `PatchInputs` in order."""
        optical, grid = self.optical, self.optical.grid
        lines = reflected(row.top, PATCH, grid.height) - row.first
        cols = reflected(left, PATCH, grid.width)
        dn = _cut(row.dn, lines, cols)
        valid = optical.valid(dn)
        spectrum, confidence, radar, seen = self._expected(row, left)
        # Where there is no measurement the patch shows its context, and says that it is covered.
        observed = np.where(valid, canonical(optical.radiometry.reflectance(dn), optical.names), spectrum)
        cover = np.where(valid, COVER[_cut(row.cover, lines, cols)], 1)
        image = without_cirrus(observed, self.visible)
        planes = (observed, image, spectrum, confidence[None], cover[None], radar, seen)
        vectors = (self.context.spread, present(optical.names), LEVELS, self.unmixing)
        return tuple(torch.from_numpy(np.asarray(a, dtype=np.float32)) for a in (*planes, *vectors))

    def _expected(self, row: Row, left: int) -> tuple[Array, Array, Array, Mask]:
        """Context and its confidence at one patch; its radar scaled to [-1, 1], and where that is valid."""
        grid = self.optical.grid
        phase = (n % CELL for n in grid.origin)
        top, start = (n + p for n, p in zip((row.top, left), phase, strict=True))
        if row.radar is None or row.radar_valid is None:
            spectrum, confidence = self.context.evaluate(top, start, PATCH, PATCH, None, None)
            nothing = np.zeros((2, PATCH, PATCH), np.float32)
            return spectrum, confidence, nothing, np.zeros((1, PATCH, PATCH), bool)
        lines = reflected(row.top - MARGIN, PATCH + 2 * MARGIN, grid.height) - row.radar_first
        wide = reflected(left - MARGIN, PATCH + 2 * MARGIN, grid.width)
        radar, valid = _cut(row.radar, lines, wide), _cut(row.radar_valid, lines, wide)
        spectrum, confidence = self.context.evaluate(top, start, PATCH, PATCH, radar, valid)
        core = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
        return spectrum, confidence, scaled_radar(radar[core]), valid[core][None]


def _precision(device: torch.device) -> torch.autocast:
    """The network's own: bfloat16 on CUDA; on most CPUs that would be hundreds of times slower."""
    return torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda")


def _cut(image: NDArray[Any], lines: NDArray[np.intp], cols: NDArray[np.intp]) -> NDArray[Any]:
    """The pixels at `lines` and `cols`, as a view where neither is reflected."""
    if all((np.diff(axis) == 1).all() for axis in (lines, cols)):
        return image[..., lines[0] : lines[-1] + 1, cols[0] : cols[-1] + 1]
    return image[..., lines[:, None], cols]


def batches(items: Sequence[int], size: int) -> list[Sequence[int]]:
    """Consecutive slices of at most `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]
