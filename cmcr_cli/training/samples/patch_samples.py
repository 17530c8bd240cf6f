"""Training samples of the denoiser: a cloudy image, its context, and the ground below the clouds."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cmcr_cli.errors import InputError
from cmcr_cli.ground.cirrus import FITTED, THIN, TYPICAL_RATIO, WHITE, fitted_ratio, without_cirrus
from cmcr_cli.ground.context import fit_context
from cmcr_cli.ground.radar_basis import MARGIN
from cmcr_cli.ground.unmixing import LEVELS, NOTHING, Unmixing
from cmcr_cli.model.condition import UNDER_CIRRUS, PatchInputs
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.radiometry import scaled_radar
from cmcr_cli.simulate.noise import Window
from cmcr_cli.simulate.surface import simulate_ground
from cmcr_cli.training.data.images import Array, ClearImage, clear_of
from cmcr_cli.training.data.library import Library
from cmcr_cli.training.recipe import DataConfig, Mix
from cmcr_cli.training.samples.synthesis import (
    cover_mask,
    draw_faintest,
    draw_haze,
    flooded,
    jittered_radar,
    mistaken,
    pseudo_radar,
    recoloured,
    transplant,
    under_deck,
    under_sky,
)

Mask = NDArray[np.bool_]
Item = TypeVar("Item")

CLEAR_WEIGHT, HIDDEN_WEIGHT = 0.1, 4.0
"""Weights in the loss: of pixels that are kept as they are, and of pixels under opaque cloud. Other covered
pixels have weight 1.

Clear pixels are replaced by the image in the end, but must not drift. Pixels under opaque cloud are few."""

HIDING = 0.9
"""Opacity from which on a cloud hides the ground completely."""

LARGEST = 256
"""Largest side of a sample in pixels; larger images are cropped."""

UNTOLD = 0.3
"""Share of the samples without clear ground that have no statistics of the scene. The others have those of
covered pixels, as after the first pass over a scene."""

LEARNT = 16_384
"""Largest number of covered pixels for the statistics of a sample."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample, float16 on the CPU: the fields of `PatchInputs` without the batch axis, and the truth.

    Attributes:
        optical, context, confidence, cover: See `PatchInputs`.
        radar, radar_valid, std, present, levels, unmixing, doubt: See `PatchInputs`.
        target: True reflectance (13, H, W).
        weight: Weight in the loss (1, H, W).
        opacity: Opacity of the clouds, 0 to 1, (1, H, W).
        shadow: Darkness of the shadows, 0 to 1, (1, H, W).
    """

    optical: Tensor
    context: Tensor
    confidence: Tensor
    cover: Tensor
    radar: Tensor
    radar_valid: Tensor
    std: Tensor
    present: Tensor
    levels: Tensor
    unmixing: Tensor
    doubt: Tensor
    target: Tensor
    weight: Tensor
    opacity: Tensor
    shadow: Tensor


@dataclass(frozen=True, slots=True)
class Clouded:
    """Ground with clouds.

    Attributes:
        ground: The ground.
        cloudy: Reflectance with clouds (13, H, W).
        opacity: Opacity of the clouds, 0 to 1, (H, W).
        shadow: Darkness of the shadows, 0 to 1, (H, W).
        same_date: Whether ground and cloudy image are of the same date.
        source: Place that the clouds are from; empty for simulated clouds.
        hidden: Whether the clouds cover everything.
        haze: Reflectance that haze too thin for any mask adds to the ground (13, H, W); None without haze.
    """

    ground: ClearImage
    cloudy: Array
    opacity: Array
    shadow: Array
    same_date: bool
    source: str = ""
    hidden: bool = False
    haze: Array | None = None


def draw(library: Library, mix: Mix, rng: np.random.Generator) -> Clouded:
    """Draw ground with clouds, or a real pair.

    Args:
        library: Training images.
        mix: How often each kind is drawn.
        rng: Source of randomness.

    Returns:
        The scene, and its truth.
    """
    regime = rng.random()
    if regime < mix.hidden + mix.heavy:
        return _overcast_scene(library, mix, rng, 0 if regime < mix.hidden else rng.uniform(0.01, 0.15))
    if rng.random() < mix.other_date:
        pair = _any(library.pairs, rng)
        if not pair.lifted:
            ground = clear_of(pair)
            nothing = np.zeros_like(pair.opacity)
            return Clouded(ground, pair.cloudy, pair.opacity, nothing, False, pair.place)
    ground = _ground(library, mix, rng)
    if rng.random() < mix.cloudless:
        nothing = np.zeros(ground.optical.shape[1:], np.float32)
        return Clouded(ground, ground.optical, nothing, nothing, True)
    if rng.random() < mix.procedural:
        return Clouded(ground, *under_sky(ground.optical, rng), True)
    pair = _any(library.pairs, rng)
    return Clouded(ground, *transplant(ground.optical, pair, rng), True, pair.place)


def _overcast_scene(library: Library, mix: Mix, rng: np.random.Generator, gaps: float) -> Clouded:
    """Draw unchanged ground, with real radar or none, under a deck that leaves a share `gaps` of it clear.

    Such a scene does not show what ground with a given radar signature looks like, so the network must have
    learned it. Therefore colours are not changed. Often there is a real cloud below the deck.
    """
    ground = _photographed(library, mix, rng)
    image, opacity, source = ground.optical, np.zeros(ground.optical.shape[1:], np.float32), ""
    shadow = np.zeros_like(opacity)
    if rng.random() < 0.5:
        pair = _any(library.pairs, rng)
        source = pair.place
        image, opacity, shadow = transplant(image, pair, rng)
    image, deck, _ = under_deck(image, rng, gaps)
    return Clouded(ground, image, 1 - (1 - opacity) * (1 - deck), shadow, True, source, hidden=not gaps)


def _any(items: Sequence[Item], rng: np.random.Generator) -> Item:
    return items[int(rng.integers(len(items)))]


def _ground(library: Library, mix: Mix, rng: np.random.Generator) -> ClearImage:
    if rng.random() < mix.simulated:
        truth, radar = simulate_ground(int(rng.integers(2**31)), Window(0, 0, LARGEST, LARGEST))
        return ClearImage(truth, np.ones(13, bool), radar)
    image = _photographed(library, mix, rng)
    if rng.random() < mix.recoloured:
        image = replace(image, optical=recoloured(image.optical, rng))
    if image.radar is None and rng.random() < mix.pseudo_radar:
        image = replace(image, radar=pseudo_radar(image.optical, image.present, rng))
    if rng.random() < mix.flooded:
        radar = pseudo_radar(image.optical, image.present, rng) if image.radar is None else image.radar
        optical, radar = flooded(image.optical, radar, rng)
        image = replace(image, optical=optical, radar=radar)
    return image


def _photographed(library: Library, mix: Mix, rng: np.random.Generator) -> ClearImage:
    """Draw an image of the library, at most LARGEST pixels wide and high, with varied brightness."""
    # With the square root, places with many dates are drawn more often, but do not dominate.
    odds = np.sqrt([len(images) for images in library.places])
    images = library.places[int(rng.choice(len(odds), p=odds / odds.sum()))]
    image = _any(images, rng)
    top, left = (2 * int(rng.integers(max(size - LARGEST, 0) // 2 + 1)) for size in image.optical.shape[1:])
    part = (slice(None), slice(top, top + LARGEST), slice(left, left + LARGEST))
    optical = image.optical[part] * np.float32(rng.uniform(*mix.gain))
    return replace(image, optical=optical, radar=None if image.radar is None else image.radar[part])


def make_sample(library: Library, mix: Mix, rng: np.random.Generator) -> Sample:
    """Draw a complete sample: as for `draw`, and what the network sees of it.

    Args:
        library: Images that samples are made from.
        mix: How often each kind is drawn.
        rng: Random numbers.

    Returns:
        The sample.
    """
    scene = draw(library, mix, rng)
    while _overcast(scene) and not scene.hidden and rng.random() < mix.overcast_again:
        scene = draw(library, mix, rng)
    return sample_of(scene, mix, rng)


def sample_of(scene: Clouded, mix: Mix, rng: np.random.Generator) -> Sample:
    """Make a sample of a scene with a realistic mask.

    Args:
        scene: Ground with clouds.
        mix: How often radar, bands and context are removed, and masks are faulty.
        rng: Source of randomness.

    Returns:
        Inputs and target of the network.
    """
    radar = scene.ground.radar
    radar = None if radar is None or rng.random() < mix.no_radar else jittered_radar(radar, rng)
    present = scene.ground.present.copy()
    if rng.random() < mix.no_cirrus:
        present[BANDS.index("B10")] = False
    if rng.random() < mix.no_sixty_metre:
        present[[BANDS.index(name) for name in ("B01", "B09", "B10")]] = False
    if scene.hidden:
        cover = np.ones(scene.opacity.shape, np.float32)
        return assemble(scene, cover, present, radar, context=rng.random() >= UNTOLD)
    hiding, faintest = scene.opacity, draw_faintest(rng)
    if scene.same_date and rng.random() < mix.veiled:
        haze = draw_haze(scene.opacity.shape, rng)
        share, ground = haze.share, scene.ground.optical
        opacity = np.where(share > 0.004, 1 - (1 - scene.opacity) * (1 - share), scene.opacity)
        seen_through = haze.high and present[BANDS.index("B10")]
        # Haze that no mask finds surrounds covered pixels. Without it they would be restored too dark. It
        # fades out of the target from 0.75 to 1.25 times the faintest opacity that the mask finds.
        missed = np.clip((1.25 - share / faintest) / 0.5, 0, 1) * (not seen_through)
        left = missed * (haze.over(ground) - ground)
        scene = replace(scene, cloudy=haze.over(scene.cloudy), opacity=opacity, haze=left)
        hiding = np.where(share * WHITE < THIN, hiding, opacity) if seen_through else opacity
    found = cover_mask(hiding, scene.shadow, rng, faintest)
    if rng.random() < mix.mistaken:
        found = mistaken(found, hiding, scene.shadow, rng)
    cover = found.astype(np.float32)
    if hiding is not scene.opacity:
        # Cirrus that B10 shows can be subtracted well enough to learn from the ground below.
        cover = np.where(cover_mask(scene.opacity, scene.shadow, rng), np.maximum(cover, UNDER_CIRRUS), cover)
    return assemble(scene, cover, present, radar, context=rng.random() >= mix.no_context)


def _overcast(scene: Clouded) -> bool:
    return float(((scene.opacity > 0.05) | (scene.shadow > 0.1)).mean()) > 0.85


def assemble(scene: Clouded, cover: Array, present: Mask, radar: Array | None, *, context: bool) -> Sample:
    """Fit the context to a scene and assemble the sample.

    Args:
        scene: Ground with clouds.
        cover: 1 under cloud or shadow, UNDER_CIRRUS under cirrus that B10 shows, else 0, (H, W).
        present: Bands of the sample (13,).
        radar: VV and VH in dB (2, H, W); None: no radar.
        context: Whether context and statistics are fitted to the scene; else the context is that of a scene
            without clear ground, and nothing else is known.

    Returns:
        Inputs and target of the network, most of them float16.
    """
    height, width = cover.shape
    optical, covered = scene.cloudy * present[:, None, None], cover > 0
    optical = without_cirrus(optical, fitted_ratio([optical[FITTED]]) if context else TYPICAL_RATIO)
    valid = None if radar is None else np.asarray(np.isfinite(radar).all(axis=0))
    fitted = fit_context(optical, (cover < 1) & context, radar, valid, present)
    spectrum, confidence = fitted.evaluate(0, 0, height, width, *_reflected(radar, valid))
    matrices = NOTHING
    if context:
        unmixing = Unmixing()
        residual = (optical - spectrum)[:, covered]
        unmixing.add(residual[:, :: max(residual.shape[1] // LEARNT, 1)])
        matrices = unmixing.matrices(fitted.covariance)
    if radar is None or valid is None:
        radar, valid = np.zeros((2, height, width), np.float32), np.zeros((height, width), bool)
    ground = scene.ground.optical if scene.haze is None else scene.ground.optical + scene.haze
    target = np.where(covered, ground * present[:, None, None], optical)
    below = np.where(scene.opacity < HIDING, 1, HIDDEN_WEIGHT) if scene.same_date else 1
    weight = np.where(covered, below, CLEAR_WEIGHT)

    def plane(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.array(array, ndmin=3)).half()  # several times faster than in numpy

    return Sample(
        optical=plane(optical), context=plane(spectrum), confidence=plane(confidence), cover=plane(cover),
        radar=plane(scaled_radar(radar)), radar_valid=plane(valid),
        std=torch.from_numpy(fitted.std), present=torch.from_numpy(present.astype(np.float32)),
        levels=torch.from_numpy(LEVELS), unmixing=torch.from_numpy(matrices),
        doubt=plane(np.ones(cover.shape)),
        target=plane(target), weight=plane(weight), opacity=plane(scene.opacity), shadow=plane(scene.shadow),
    )  # fmt: skip


def _reflected(radar: Array | None, valid: Mask | None) -> tuple[Array | None, Mask | None]:
    if radar is None or valid is None:
        return None, None
    pad = [(MARGIN, MARGIN), (MARGIN, MARGIN)]
    return np.pad(radar, [(0, 0), *pad], mode="reflect"), np.pad(valid, pad, mode="reflect")


class SampleSequence(Dataset[Sample]):
    """The endless sequence of samples of one process; each is a pure function of seed, rank and number.

    Args:
        library: Images that samples are made from.
        mix: How often each kind is drawn.
        seed: Seed of the training.
        rank: Number of the process.
    """

    def __init__(self, library: Library, mix: Mix, seed: int, rank: int) -> None:
        self.library, self.mix, self.seed, self.rank = library, mix, seed, rank

    def __getitem__(self, number: int) -> Sample:
        """Draw sample `number`."""
        return make_sample(self.library, self.mix, np.random.default_rng([self.seed, self.rank, 0, number]))


def crop_batches(
    samples: SampleSequence, config: DataConfig, count: int, crop: int, first: int = 0
) -> Iterator[Sample]:
    """Make batches of crops, rotated and flipped.

    A batch is cropped from a buffer of `config.buffer` samples, in which one sample is replaced for every
    `config.crops_per_sample` crops. It is a pure function of the samples and its number, so that a continued
    run sees the same batches.

    Args:
        samples: Sequence of samples.
        config: Size of the buffer, crops per sample, and worker processes.
        count: Crops per batch.
        crop: Side of a crop in pixels.
        first: Number of the first batch.

    Yields:
        Batches of `count` crops, float32, without end.

    Raises:
        InputError: A sample is smaller than a crop.
    """
    number = first * count // config.crops_per_sample
    drawn = iter(
        DataLoader(
            samples,
            batch_size=None,
            sampler=itertools.count(number),
            num_workers=config.workers,
            prefetch_factor=8 if config.workers else None,
        )
    )
    window: deque[Sample] = deque(maxlen=config.buffer)
    for batch in itertools.count(first):
        end = batch * count // config.crops_per_sample + config.buffer
        while number < end:
            window.append(next(drawn))
            number += 1
        rng = np.random.default_rng([samples.seed, samples.rank, 1, batch])
        crops = [_crop(window[rng.integers(len(window))], crop, rng) for _ in range(count)]
        yield Sample(
            **{f.name: torch.stack([getattr(c, f.name) for c in crops]).float() for f in fields(Sample)}
        )


def _crop(sample: Sample, crop: int, rng: np.random.Generator) -> Sample:
    """Crop at random even pixels, rotated or flipped; InputError if the sample is smaller."""
    height, width = sample.cover.shape[1:]
    rows, cols = height - crop, width - crop
    if min(rows, cols) < 0:
        raise InputError(
            f"found a training image of {width} x {height} px; expected at least the size of a crop, "
            f"{crop} px; see --crop"
        )
    for _ in range(3):  # a crop without cloud is of little use: try again a few times
        top, left = 2 * rng.integers(rows // 2 + 1), 2 * rng.integers(cols // 2 + 1)
        window = (slice(None), slice(top, top + crop), slice(left, left + crop))
        if sample.cover[window].mean() > 0.1:
            break
    turn = int(rng.integers(8))

    def cropped(value: Tensor) -> Tensor:
        if value.shape[-2:] != (height, width):
            return value
        turned = torch.rot90(value[window], turn % 4, dims=(1, 2))
        return turned.flip(2) if turn >= 4 else turned

    return Sample(**{f.name: cropped(getattr(sample, f.name)) for f in fields(Sample)})


def on_device(batch: Sample, device: torch.device) -> Sample:
    """Copy a batch to a device.

    Args:
        batch: The batch.
        device: The device.

    Returns:
        The batch on the device.
    """
    return Sample(**{f.name: getattr(batch, f.name).to(device, non_blocking=True) for f in fields(Sample)})


def patch_inputs(batch: Sample) -> PatchInputs:
    """Choose the inputs of the network from a batch.

    Args:
        batch: The batch.

    Returns:
        The inputs.
    """
    return PatchInputs(**{f.name: getattr(batch, f.name) for f in fields(PatchInputs)})
