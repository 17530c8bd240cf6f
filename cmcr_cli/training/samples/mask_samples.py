"""Training samples of the cloud network: images in cells of 20 m and the class of each cell.

Real images have labels from another network or from the eye. Clear images also get varied ground and added
clouds with exact masks. `mask_views` then varies level, atmosphere and light, and removes bands.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from cmcr_cli.errors import InputError
from cmcr_cli.model.cloud_network import N_CLASSES, sun_input
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.masks.mask_codes import CLEAR, SHADOW, THICK, THIN
from cmcr_cli.scene.sun import towards
from cmcr_cli.training.data.images import Pair
from cmcr_cli.training.data.suns import Suns
from cmcr_cli.training.recipe import MaskMix
from cmcr_cli.training.samples.mask_clouds import (
    SKY_SIDE,
    CloudLayer,
    Clouds,
    fitted,
    in_shadow,
    is_like_snow,
    random_sun,
    turned,
)
from cmcr_cli.training.samples.mask_ground import B09, B10, Array, Noise, varied
from cmcr_cli.training.samples.mask_views import MaskSample
from cmcr_cli.training.samples.synthesis import dihedral

CELL = 2
"""Side of a cell in pixels."""

DEVIATION = 4.0
"""Standard deviation of the position of the sun, in degrees: it is known by the day and the latitude."""

POOL, POOLED = 32, 64
"""Images of a sequence that is read on access that are used together, and for how many batches."""

LARGEST = 256
"""Side in cells beyond which a larger image is not drawn more often."""

CLEAR_BELOW, THIN_FROM, THICK_FROM = 0.02, 0.06, 0.5
"""Opacity: upper limit of clear ground, lower limits of thin and thick cloud."""

LIT_BELOW, SHADOW_FROM = 0.08, 0.22
"""Darkness: upper limit of lit ground, lower limit of shadow."""

_INFRARED, _SHORTWAVE = BANDS.index("B08"), BANDS.index("B11")


@dataclass(frozen=True, slots=True)
class MaskImage:
    """A real image with the classes of its cells.

    Attributes:
        place: Name of the place.
        source: Data set.
        cells: Reflectance in cells of 20 m (13, h, w).
        present: Bands that the image has (13,).
        classes: Share of each CloudClass per cell (4, h, w).
        weight: Share of the cell that is known (h, w), 0 to 1.
        suns: Where the sun may have been; nothing if that is unknown.
    """

    place: str
    source: str
    cells: Array
    present: NDArray[np.bool_]
    classes: NDArray[np.floating]
    weight: Array
    suns: Suns = ()


@dataclass(frozen=True, slots=True)
class MaskLibrary:
    """Images that samples are made from.

    From lists, which are in memory, images of small sources are drawn more often. Other sequences may read an
    image on every access.

    Attributes:
        covered: Images with clouds or shadows.
        clear: Images without; ground may be varied and clouds added.
        pairs: Pairs from which clouds are extracted.
    """

    covered: Sequence[MaskImage]
    clear: Sequence[MaskImage]
    pairs: Sequence[Pair]


class MaskSamples(Dataset[MaskSample]):
    """An endless sequence of batches; each is a pure function of seed, rank and its number."""

    def __init__(
        self,
        library: MaskLibrary,
        mix: MaskMix,
        crop: int,
        count: int,
        seed: int,
        rank: int,
    ) -> None:
        """Make batches of samples.

        Batches that consist only of added clouds have samples of 1.5 times the side, because shadows fall far
        away, and therefore fewer samples.

        Args:
            library: Images that samples are made from.
            mix: How often each kind is drawn.
            crop: Side of a sample in pixels, a multiple of 32.
            count: Samples per batch, before views.
            seed: Seed of the training.
            rank: Number of the process.

        Raises:
            InputError: The library has no image.
        """
        side = crop // CELL
        self._sides = side, min(side * 3 // 2, SKY_SIDE)
        self._images = library.covered, library.clear
        if not any(map(len, self._images)):
            raise InputError(
                "no image to train the cloud network on; expected labelled images or clear ones. See cmcr "
                "data check."
            )
        self._odds = [_odds(part) if isinstance(part, list) else None for part in self._images]
        self._noise = Noise()
        self._clouds = Clouds(library.pairs, self._noise)
        self._mix, self._count, self._key = mix, count, (seed, rank)
        self._number = 0

    def __getitem__(self, number: int) -> MaskSample:
        """Make batch `number`; every third batch consists only of added clouds, if there is clear ground."""
        clear = len(self._images[1]) > 0
        made = number % 3 == 0 and clear
        side, self._number = self._sides[made], number
        count = max(self._count * self._sides[0] ** 2 // side**2, 1)
        rngs = [np.random.default_rng([*self._key, number, index]) for index in range(count)]
        drawn = [
            self.over_ground(side, rng)
            if made or (clear and rng.random() < self._mix.made)
            else self.real(side, rng)
            for rng in rngs
        ]
        return MaskSample(
            **{f.name: torch.stack([getattr(each, f.name) for each in drawn]) for f in fields(MaskSample)}
        )

    def real(self, side: int, rng: np.random.Generator) -> MaskSample:
        """Make a sample of an observed image: a clear one may get varied ground, others more clouds.

        Args:
            side: Side in cells.
            rng: Source of randomness.

        Returns:
            The sample.
        """
        covered, bare = (len(images) > 0 for images in self._images)
        clear = bare and (not covered or rng.random() < self._mix.clear)
        image = self._any(rng, clear=clear)
        stack = np.concatenate([image.cells, image.classes.astype(np.float32), image.weight[None]])
        turn = int(rng.integers(8))
        stack = fitted(dihedral(stack, turn), side, rng)
        # Without shadows any sun fits. A network that knew the sun of added clouds only would see two worlds.
        sun = random_sun(rng) if clear else _sun_of(image, turn, rng)
        bands = len(BANDS)
        x, classes, weight = stack[:bands], stack[bands:-1], stack[-1]
        if clear and rng.random() < self._mix.varied:
            x = varied(x, self._noise, rng)
        if clear and rng.random() < self._mix.cloudless_shade:
            shade = self._clouds.real(side, rng).shadow
            x = in_shadow(x, shade, rng, level2=not image.present[B10])
        if not clear and rng.random() < self._mix.crowded:
            return self._clouded(x, image.present, classes, weight, rng, sun)
        return _sample(x, image.present, sun, classes, weight, np.zeros_like(weight))

    def over_ground(self, side: int, rng: np.random.Generator) -> MaskSample:
        """Make a sample of clear ground with added clouds and shadows.

        Args:
            side: Side of the sample in cells of 20 m.
            rng: Random numbers.

        Returns:
            The sample.
        """
        image = self._any(rng, clear=True)
        x = fitted(dihedral(image.cells, int(rng.integers(8))), side, rng)
        classes = np.zeros((N_CLASSES, side, side), np.float32)
        classes[CLEAR] = 1
        x = varied(x, self._noise, rng)
        return self._clouded(x, image.present, classes, np.ones((side, side), np.float32), rng)

    def _clouded(
        self,
        x: Array,
        present: NDArray[np.bool_],
        classes: Array,
        weight: Array,
        rng: np.random.Generator,
        sun: Array | None = None,
    ) -> MaskSample:
        """Add clouds and shadows to an image (13, h, w), given its classes, weight, and sun if it has any."""
        x, side, level2 = x.copy(), len(weight), not present[B10]
        if not present[B09]:
            x[B09] = x[B09 - 1] * rng.uniform(0.3, 0.9)
        if level2:
            x[B10] = rng.uniform(0.0008, 0.003)
        # Shadows cannot be seen on ground that is already dark.
        dark = (x[_INFRARED] < 0.055) | ((x[_SHORTWAVE] < 0.03) & present[_SHORTWAVE])
        layers, known, icy = self._layers(side, rng, sun, cirrus=bool(present[B10]))
        opacity, shadow = np.zeros((side, side), np.float32), np.zeros((side, side), np.float32)
        for layer in layers:
            x = in_shadow(x, layer.shadow, rng, level2=level2) if layer.shadow.any() else x
            x = x * layer.gain + layer.light
            opacity, shadow = np.maximum(opacity, layer.opacity), np.maximum(shadow, layer.shadow)
        laid, before = _classes(opacity, shadow, dark), classes[CLEAR] < 0.5
        classes = np.where(laid[CLEAR] | (before & ~laid[THICK]), classes, laid)
        weight = weight * (classes.any(axis=0) & (known | before | (opacity >= THICK_FROM)))
        if sun is None:
            sun = next((layer.sun for layer in layers if layer.sun[0]), random_sun(rng))
        return _sample(x, present, sun, classes, weight, icy)

    def _layers(
        self, side: int, rng: np.random.Generator, sun: Array | None, *, cirrus: bool
    ) -> tuple[list[CloudLayer], NDArray[np.bool_], NDArray[np.bool_]]:
        """Draw clouds from low to high; procedural ones, which have a sun of their own, only if any sun fits.

        Returns:
            The layers; where it is certain whether thin cloud counts as cloud (h, w); where only B10
            distinguishes an ice cloud from snow (h, w).
        """
        sun = None if sun is None or not sun[0] else sun
        layers, kind = [], rng.random()
        icy = np.zeros((side, side), np.bool_)
        if kind < 0.3 and sun is None:
            layers.append(self._clouds.procedural(side, rng))
        elif kind < 0.88:
            layers.append(self._clouds.real(side, rng, sun))
            if rng.random() < 0.3:  # many clouds with little ground between them
                layers.append(self._clouds.real(side, rng, layers[0].sun))
        if kind >= 0.8:
            layers.append(self._clouds.deck(side, rng))
            icy = is_like_snow(layers[-1])
        known = np.ones((side, side), np.bool_)
        if rng.random() < self._mix.veiled:
            haze, added, high = self._clouds.haze(side, rng)
            # B10 shows faint cirrus. Without B10, faint cloud looks like another state of the atmosphere.
            least, sure = (0.006, 0.018) if high and cirrus else (0.012, 0.04)
            known = (added <= least) | (added > sure)
            opacity = np.where(added > sure, np.maximum(haze.opacity, THIN_FROM), 0)
            layers.append(CloudLayer(haze.light, haze.gain, opacity, haze.shadow, haze.sun))
        return layers, known, icy

    def _any(self, rng: np.random.Generator, *, clear: bool) -> MaskImage:
        images, odds = self._images[clear], self._odds[clear]
        if odds is not None:
            return images[int(rng.choice(len(images), p=odds))]
        pool = np.random.default_rng([*self._key, self._number // POOLED, 1])
        return images[int(rng.choice(pool.integers(len(images), size=POOL)))]


def _sun_of(image: MaskImage, turn: int, rng: np.random.Generator) -> Array:
    """Sun (4,) of an image that is flipped or rotated, about as well as it is known."""
    if not image.suns:
        return np.zeros(4, np.float32)
    sun = image.suns[int(rng.integers(len(image.suns)))]
    azimuth, elevation = (value + DEVIATION * rng.standard_normal() for value in (sun.azimuth, sun.elevation))
    return sun_input(*turned(*towards(azimuth), turn), elevation)


def _sample(optical: Array, present: NDArray[np.bool_], sun: Array, *others: NDArray[Any]) -> MaskSample:
    """Convert a sample to tensors, with 0 in absent bands."""
    x = np.maximum(optical, 0) * present[:, None, None]
    arrays = x, present, sun, *others
    return MaskSample(*(torch.from_numpy(np.asarray(array, np.float32)) for array in arrays))


def mask_batches(samples: MaskSamples, workers: int, first: int = 0) -> Iterator[MaskSample]:
    """Make batches of samples, ahead of time in other processes.

    Args:
        samples: Sequence of batches.
        workers: Processes that make batches; 0: this process.
        first: Number of the first batch.

    Returns:
        The batches, without end.
    """
    prefetched = 8 if workers else None
    numbers = itertools.count(first)
    return iter(
        DataLoader(samples, batch_size=None, sampler=numbers, num_workers=workers, prefetch_factor=prefetched)
    )


def _odds(images: Sequence[MaskImage]) -> NDArray[np.float64]:
    """Probability of each image: images of large sources and small images are drawn less often."""
    counts = Counter(image.source for image in images)
    odds = np.array([counts[image.source] ** -0.5 * min(image.cells.shape[1], LARGEST) for image in images])
    return np.asarray(odds / odds.sum())


def _classes(opacity: Array, shadow: Array, dark: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """CloudClass of each cell, one-hot (4, h, w); all False where it is uncertain."""
    classes = np.zeros((N_CLASSES, *opacity.shape), np.bool_)
    classes[THICK] = opacity >= THICK_FROM
    classes[THIN] = (opacity >= THIN_FROM) & ~classes[THICK]
    below = opacity < THIN_FROM
    classes[SHADOW] = below & (shadow > SHADOW_FROM) & ~dark
    classes[CLEAR] = (opacity < CLEAR_BELOW) & (shadow < np.where(dark, SHADOW_FROM, LIT_BELOW))
    return classes
