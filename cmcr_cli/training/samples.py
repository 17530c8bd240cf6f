"""Training samples: a cloudy image, its context as it would be at scene scale, and the ground beneath."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from cmcr_cli.model.condition import PatchInputs
from cmcr_cli.scene.bands import BANDS, scaled_radar
from cmcr_cli.scene.context import MARGIN, constant_context, fit_context
from cmcr_cli.simulate import add_clouds, simulate_window
from cmcr_cli.training.library import Array, ClearImage, Library
from cmcr_cli.training.synthesis import cover_mask, flooded, jittered_radar, pseudo_radar, transplant

Mask = NDArray[np.bool_]

CLEAR_WEIGHT = 0.1
"""Weight of a clear pixel in the loss: it is pasted over in the end, but must not drift."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How often each kind of sample is drawn, and what is taken away from it."""

    simulated: float = 0.2  # ground that was simulated, not photographed
    gain: tuple[float, float] = (0.93, 1.07)  # brightness of the ground, for other suns and skies
    cloudless: float = 0.0  # nothing over the ground at all
    flooded: float = 0.15  # of the photographed ground: part of it laid under water
    other_date: float = 0.12  # a real pair: real clouds, but the target is another day
    procedural: float = 0.4  # of the rest: procedural clouds instead of transplanted real ones
    no_radar: float = 0.12
    no_context: float = 0.08  # a constant colour and no confidence, as with --no-context
    no_cirrus: float = 0.35  # no B10, as in Level-2A
    no_sixty_metre: float = 0.1  # no B01, B09 and B10
    overcast_again: float = 0.85  # an image with hardly any clear ground is drawn anew: scenes are larger


@dataclass(frozen=True, slots=True)
class Sample:
    """The fields of `PatchInputs` without the batch axis, the truth, and what was done; float16 on the CPU.

    target (13, H, W) reflectance; weight, opacity, shadow (1, H, W), the weight being that in the loss.
    """

    optical: Tensor
    context: Tensor
    confidence: Tensor
    cover: Tensor
    radar: Tensor
    radar_valid: Tensor
    spread: Tensor
    present: Tensor
    target: Tensor
    weight: Tensor
    opacity: Tensor
    shadow: Tensor


@dataclass(frozen=True, slots=True)
class Clouded:
    """Ground with clouds over it: images (13, H, W), opacity and shadow (H, W) in 0..1."""

    ground: ClearImage
    cloudy: Array
    opacity: Array
    shadow: Array
    same_date: bool


def draw(library: Library, mix: Mix, rng: np.random.Generator) -> Clouded:
    """Draw ground and put clouds over it, or take a real pair as it is."""
    pair = library.pairs[rng.integers(len(library.pairs))]
    if rng.random() < mix.other_date:
        ground = ClearImage(pair.clear, np.ones(13, bool), pair.radar)
        return Clouded(ground, pair.cloudy, pair.opacity, np.zeros_like(pair.opacity), False)
    ground = _ground(library, mix, rng)
    if rng.random() < mix.cloudless:
        nothing = np.zeros(ground.optical.shape[1:], np.float32)
        return Clouded(ground, ground.optical, nothing, nothing, True)
    if rng.random() < mix.procedural:
        sky, amount = int(rng.integers(2**31)), float(rng.uniform(0.1, 0.8))
        return Clouded(ground, *add_clouds(ground.optical, sky, amount)[:3], True)
    return Clouded(ground, *transplant(ground.optical, pair, rng), True)


def _ground(library: Library, mix: Mix, rng: np.random.Generator) -> ClearImage:
    if rng.random() < mix.simulated:
        window = simulate_window(int(rng.integers(2**31)), 0, 0, 256, 256)
        return ClearImage(window.truth, np.ones(13, bool), window.radar)
    # The root keeps a place of many dates from drowning the others, and still shows more of it.
    odds = np.sqrt([len(images) for images in library.places])
    images = library.places[rng.choice(len(odds), p=odds / odds.sum())]
    image = images[rng.integers(len(images))]
    optical, radar = image.optical * np.float32(rng.uniform(*mix.gain)), image.radar
    if rng.random() < mix.flooded:
        known = pseudo_radar(optical, image.present, rng) if radar is None else radar
        optical, radar = flooded(optical, known, rng)
    return ClearImage(optical, image.present, radar)


def make_sample(library: Library, mix: Mix, rng: np.random.Generator) -> Sample:
    """One complete sample, its context fitted to what its mask leaves clear."""
    scene = draw(library, mix, rng)
    while _overcast(scene) and rng.random() < mix.overcast_again:
        scene = draw(library, mix, rng)
    radar = None if rng.random() < mix.no_radar else _radar(scene.ground, rng)
    present = scene.ground.present.copy()
    if rng.random() < mix.no_cirrus:
        present[BANDS.index("B10")] = False
    if rng.random() < mix.no_sixty_metre:
        present[[BANDS.index(name) for name in ("B01", "B09", "B10")]] = False
    covered = cover_mask(scene.opacity, scene.shadow, rng)
    return assemble(scene, covered, present, radar, context=rng.random() >= mix.no_context)


def _overcast(scene: Clouded) -> bool:
    return float(((scene.opacity > 0.05) | (scene.shadow > 0.1)).mean()) > 0.85


def _radar(ground: ClearImage, rng: np.random.Generator) -> Array:
    if ground.radar is None:
        return pseudo_radar(ground.optical, ground.present, rng)
    return jittered_radar(ground.radar, rng)


def assemble(scene: Clouded, covered: Mask, present: Mask, radar: Array | None, *, context: bool) -> Sample:
    """Fit the context and bring everything into the form in which the network reads it."""
    height, width = covered.shape
    optical = scene.cloudy * present[:, None, None]
    valid = None if radar is None else np.asarray(np.isfinite(radar).all(axis=0))
    fitted = fit_context(optical, ~covered, radar, valid, present) if context else constant_context(present)
    spectrum, confidence = fitted.evaluate(0, 0, height, width, *_reflected(radar, valid))
    if radar is None or valid is None:
        radar, valid = np.zeros((2, height, width), np.float32), np.zeros((height, width), bool)
    target = scene.ground.optical * present[:, None, None]
    weight = covered if not scene.same_date else np.where(covered, 1, CLEAR_WEIGHT)

    def plane(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.array(array, dtype=np.float16, ndmin=3))

    return Sample(
        optical=plane(optical), context=plane(spectrum), confidence=plane(confidence), cover=plane(covered),
        radar=plane(scaled_radar(radar)), radar_valid=plane(valid),
        spread=torch.from_numpy(fitted.spread), present=torch.from_numpy(present.astype(np.float32)),
        target=plane(target), weight=plane(weight), opacity=plane(scene.opacity), shadow=plane(scene.shadow),
    )  # fmt: skip


def _reflected(radar: Array | None, valid: Mask | None) -> tuple[Array | None, Mask | None]:
    if radar is None or valid is None:
        return None, None
    pad = [(MARGIN, MARGIN), (MARGIN, MARGIN)]
    return np.pad(radar, [(0, 0), *pad], mode="reflect"), np.pad(valid, pad, mode="reflect")


class SampleStream(IterableDataset[Sample]):
    """An endless stream of samples, the same for the same seed."""

    def __init__(self, library: Library, mix: Mix, seed: int) -> None:
        self.library, self.mix, self.seed = library, mix, seed

    def __iter__(self) -> Iterator[Sample]:
        """Yield samples for ever."""
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        torch.set_num_threads(1)
        while True:
            yield make_sample(self.library, self.mix, rng)


class CropBuffer:
    """Keeps the latest samples and cuts many random crops from each: a sample costs more than a crop."""

    def __init__(
        self, stream: SampleStream, *, size: int = 96, crops_per_sample: int = 12, seed: int = 0
    ) -> None:
        self.source = iter(DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=8))
        self.crops_per_sample = crops_per_sample
        self.rng = np.random.default_rng(seed)
        self.samples = [next(self.source) for _ in range(size)]
        self.debt = 0.0

    def batch(self, count: int, crop: int) -> Sample:
        """`count` crops of `crop` px, turned and flipped, as one float32 `Sample` with a batch axis."""
        self.debt += count / self.crops_per_sample
        while self.debt >= 1:
            self.samples[self.rng.integers(len(self.samples))] = next(self.source)
            self.debt -= 1
        crops = [self._crop(crop) for _ in range(count)]
        return Sample(
            **{f.name: torch.stack([getattr(c, f.name) for c in crops]).float() for f in fields(Sample)}
        )

    def _crop(self, crop: int) -> Sample:
        sample = self.samples[self.rng.integers(len(self.samples))]
        rows, cols = (n - crop for n in sample.cover.shape[1:])
        for _ in range(3):  # a crop without cloud teaches little: look for a better one a few times
            top, left = 2 * self.rng.integers(rows // 2 + 1), 2 * self.rng.integers(cols // 2 + 1)
            window = (slice(None), slice(top, top + crop), slice(left, left + crop))
            if sample.cover[window].mean() > 0.1:
                break
        turn = int(self.rng.integers(8))

        def cut(value: Tensor) -> Tensor:
            if value.ndim == 1:
                return value
            turned = torch.rot90(value[window], turn % 4, dims=(1, 2))
            return turned.flip(2) if turn >= 4 else turned

        return Sample(**{f.name: cut(getattr(sample, f.name)) for f in fields(Sample)})


def patch_inputs(batch: Sample) -> PatchInputs:
    """The part of a batch that the network may see."""
    return PatchInputs(**{f.name: getattr(batch, f.name) for f in fields(PatchInputs)})
