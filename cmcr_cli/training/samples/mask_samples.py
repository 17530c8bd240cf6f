"""Training samples of the cloud network: images in cells of 20 m and what lies over each cell.

Real images bring labels of another network or of the eye. Clear ones also get other ground and clouds whose
mask is exact. `mask_views` then changes level, air and light, and takes bands away.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from cmcr_cli.model.cloud_network import N_CLASSES
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.masks.mask_codes import CLEAR, SHADOW, THICK, THIN
from cmcr_cli.training.data.images import Pair
from cmcr_cli.training.recipe import MaskMix
from cmcr_cli.training.samples.mask_clouds import SKY_SIDE, Clouds, Layer, fitted, in_shadow, is_like_snow
from cmcr_cli.training.samples.mask_ground import B09, B10, Array, Noise, varied
from cmcr_cli.training.samples.mask_views import MaskSample
from cmcr_cli.training.samples.synthesis import dihedral

CELL = 2
"""Pixels along the side of a cell."""

POOL, POOLED = 32, 64
"""Of a sequence that is read when asked for, so many images are drawn from for so many batches."""

LARGEST = 256
"""Cells along the side beyond which an image is drawn no more often."""

CLEAR_BELOW, THIN_FROM, THICK_FROM = 0.02, 0.06, 0.5
"""Opacity of clear ground, of thin and of thick cloud; nothing is learnt between the first two."""

LIT_BELOW, SHADOW_FROM = 0.08, 0.22
"""Darkening of lit ground and of shadow."""

_INFRARED, _SHORTWAVE = BANDS.index("B08"), BANDS.index("B11")


@dataclass(frozen=True, slots=True)
class MaskImage:
    """A real image in cells (13, h, w), the bands present (13,), and what lies over it.

    `place` is the ground that it shows, `source` the data set that it is from.
    classes (4, h, w): share of each CloudClass in a cell; weight (h, w): 0 where nobody knows.
    """

    place: str
    source: str
    cells: Array
    present: NDArray[np.bool_]
    classes: NDArray[np.floating]
    weight: Array


@dataclass(frozen=True, slots=True)
class MaskLibrary:
    """What samples are made from.

    `covered` are images with something over them. `clear` ones have nothing: other ground and clouds, cut
    from `pairs`, may be laid over them. Lists are in memory, and of these images of small sources are drawn
    more often; other sequences may be read when asked for.
    """

    covered: Sequence[MaskImage]
    clear: Sequence[MaskImage]
    pairs: Sequence[Pair]


class MaskSamples(Dataset[MaskSample]):
    """Batches without end; each is a pure function of seed, rank and its number."""

    def __init__(
        self,
        library: MaskLibrary,
        mix: MaskMix,
        crop: int,
        count: int,
        seed: int,
        rank: int,
    ) -> None:
        """`count` samples of `crop` pixels, a multiple of 32, make a batch; each is seen `mix.views` times.

        Samples of clouds laid over ground alone are half as large again, for their shadows fall far, and so
        there are fewer of them.
        """
        side = crop // CELL
        self._sides = side, min(side * 3 // 2, SKY_SIDE)
        self._images = library.covered, library.clear
        self._odds = [_odds(part) if isinstance(part, list) else None for part in self._images]
        self._noise = Noise()
        self._clouds = Clouds(library.pairs, self._noise)
        self._mix, self._count, self._key = mix, count, (seed, rank)
        self._number = 0

    def __getitem__(self, number: int) -> MaskSample:
        """Batch `number`: one in three is of clouds laid over ground alone."""
        made = number % 3 == 0
        side, self._number = self._sides[made], number
        count = max(self._count * self._sides[0] ** 2 // side**2, 1)
        rngs = [np.random.default_rng([*self._key, number, index]) for index in range(count)]
        drawn = [
            self.over_ground(side, rng) if made or rng.random() < self._mix.made else self.real(side, rng)
            for rng in rngs
        ]
        return MaskSample(
            **{f.name: torch.stack([getattr(each, f.name) for each in drawn]) for f in fields(MaskSample)}
        )

    def real(self, side: int, rng: np.random.Generator) -> MaskSample:
        """An image as it was observed; a clear one perhaps with other ground, others with more clouds."""
        clear = not self._images[0] or rng.random() < self._mix.clear
        image = self._any(rng, clear=clear)
        stack = np.concatenate([image.cells, image.classes.astype(np.float32), image.weight[None]])
        stack = fitted(dihedral(stack, int(rng.integers(8))), side, rng)
        bands = len(BANDS)
        x, classes, weight = stack[:bands], stack[bands:-1], stack[-1]
        if clear and rng.random() < self._mix.varied:
            x = varied(x, self._noise, rng)
        if clear and rng.random() < self._mix.cloudless_shade:
            shade = self._clouds.real(side, rng).shadow
            x = in_shadow(x, shade, rng, level2=not image.present[B10])
        if not clear and rng.random() < self._mix.crowded:
            # Its own shadows are of another sun than those of the clouds that are laid over it.
            return replace(self._clouded(x, image.present, classes, weight, rng), sun=torch.zeros(4))
        return _sample(x, image.present, np.zeros(4, np.float32), classes, weight, np.zeros_like(weight))

    def over_ground(self, side: int, rng: np.random.Generator) -> MaskSample:
        """Clouds and their shadows laid over clear ground."""
        image = self._any(rng, clear=True)
        x = fitted(dihedral(image.cells, int(rng.integers(8))), side, rng)
        classes = np.zeros((N_CLASSES, side, side), np.float32)
        classes[CLEAR] = 1
        x = varied(x, self._noise, rng)
        return self._clouded(x, image.present, classes, np.ones((side, side), np.float32), rng)

    def _clouded(
        self, x: Array, present: NDArray[np.bool_], classes: Array, weight: Array, rng: np.random.Generator
    ) -> MaskSample:
        """An image (13, h, w) and what lies over it, under more clouds and their shadows."""
        x, side, level2 = x.copy(), len(weight), not present[B10]
        if not present[B09]:
            x[B09] = x[B09 - 1] * rng.uniform(0.3, 0.9)
        if level2:
            x[B10] = rng.uniform(0.0008, 0.003)
        # On what is dark anyway nobody sees a shadow.
        dark = (x[_INFRARED] < 0.055) | ((x[_SHORTWAVE] < 0.03) & present[_SHORTWAVE])
        layers, known, icy = self._layers(side, rng, cirrus=bool(present[B10]))
        opacity, shadow, sun = np.zeros((side, side), np.float32), np.zeros((side, side), np.float32), None
        for layer in layers:
            x = in_shadow(x, layer.shadow, rng, level2=level2) if layer.shadow.any() else x
            x = x * layer.gain + layer.light
            opacity, shadow = np.maximum(opacity, layer.opacity), np.maximum(shadow, layer.shadow)
            sun = layer.sun if layer.sun[0] else sun
        laid, before = _classes(opacity, shadow, dark), classes[CLEAR] < 0.5
        classes = np.where(laid[CLEAR] | (before & ~laid[THICK]), classes, laid)
        weight = weight * (classes.any(axis=0) & (known | before | (opacity >= THICK_FROM)))
        sun = np.zeros(4, np.float32) if sun is None else sun
        return _sample(x, present, sun, classes, weight, icy)

    def _layers(
        self, side: int, rng: np.random.Generator, *, cirrus: bool
    ) -> tuple[list[Layer], NDArray[np.bool_], NDArray[np.bool_]]:
        """Clouds from low to high; where it is certain whether a veil counts as one; what may be snow.

        The last is a sheet of ice cloud that nothing but B10 tells from snow.
        """
        layers, kind = [], rng.random()
        icy = np.zeros((side, side), np.bool_)
        if kind < 0.4:
            layers.append(self._clouds.procedural(side, rng))
        elif kind < 0.85:
            layers.append(self._clouds.real(side, rng))
            if rng.random() < 0.25:  # a crowd of clouds, with little ground between them
                layers.append(self._clouds.real(side, rng, layers[0].sun))
        if kind >= 0.78:
            layers.append(self._clouds.deck(side, rng))
            icy = is_like_snow(layers[-1])
        known = np.ones((side, side), np.bool_)
        if rng.random() < self._mix.veiled:
            veil, added, high = self._clouds.veil(side, rng)
            # B10 shows faint cirrus; without it a faint veil is not told from the air of another day.
            least, sure = (0.006, 0.018) if high and cirrus else (0.012, 0.04)
            known = (added <= least) | (added > sure)
            opacity = np.where(added > sure, np.maximum(veil.opacity, THIN_FROM), 0)
            layers.append(Layer(veil.light, veil.gain, opacity, veil.shadow, veil.sun))
        return layers, known, icy

    def _any(self, rng: np.random.Generator, *, clear: bool) -> MaskImage:
        images, odds = self._images[clear], self._odds[clear]
        if odds is not None:
            return images[int(rng.choice(len(images), p=odds))]
        pool = np.random.default_rng([*self._key, self._number // POOLED, 1])
        return images[int(rng.choice(pool.integers(len(images), size=POOL)))]


def _sample(optical: Array, present: NDArray[np.bool_], sun: Array, *others: NDArray[Any]) -> MaskSample:
    """A sample as tensors, with nothing in bands that are absent."""
    x = np.maximum(optical, 0) * present[:, None, None]
    arrays = x, present, sun, *others
    return MaskSample(*(torch.from_numpy(np.asarray(array, np.float32)) for array in arrays))


def mask_batches(samples: MaskSamples, workers: int, first: int = 0) -> Iterator[MaskSample]:
    """Batches `first`, `first` + 1, ..., made by `workers` processes."""
    prefetched = 8 if workers else None
    numbers = itertools.count(first)
    return iter(
        DataLoader(samples, batch_size=None, sampler=numbers, num_workers=workers, prefetch_factor=prefetched)
    )


def _odds(images: Sequence[MaskImage]) -> NDArray[np.float64]:
    """How often each image is drawn: those of large sources less than their share, small images too."""
    counts = Counter(image.source for image in images)
    odds = np.array([counts[image.source] ** -0.5 * min(image.cells.shape[1], LARGEST) for image in images])
    return np.asarray(odds / odds.sum())


def _classes(opacity: Array, shadow: Array, dark: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """CloudClass of each cell as (4, h, w); none where it is not sure."""
    classes = np.zeros((N_CLASSES, *opacity.shape), np.bool_)
    classes[THICK] = opacity >= THICK_FROM
    classes[THIN] = (opacity >= THIN_FROM) & ~classes[THICK]
    below = opacity < THIN_FROM
    classes[SHADOW] = below & (shadow > SHADOW_FROM) & ~dark
    classes[CLEAR] = (opacity < CLEAR_BELOW) & (shadow < np.where(dark, SHADOW_FROM, LIT_BELOW))
    return classes
