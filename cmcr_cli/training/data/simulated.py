"""Simulated scenes as training data, generated on access; a first training needs no download."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from cmcr_cli.simulate import simulate_window
from cmcr_cli.training.data.images import ClearImage, Pair, opacity
from cmcr_cli.training.data.lazy import LazyMapping, LazySequence

NAME = "simulated"
"""The word that stands for simulated data instead of a folder."""

SIDE = 256

SCENES = {"train": range(1000), "val": range(1000, 1004), "test": range(2000, 2016)}
"""Seeds of the scenes of each split."""


def training_images() -> tuple[Sequence[Sequence[ClearImage]], Sequence[Pair]]:
    """Open the simulated training images; they are made on access.

    Returns:
        Places, of one clear image each, and pairs.
    """
    places = [LazySequence([seed], _clear) for seed in SCENES["train"]]
    return places, LazySequence(SCENES["train"], _pair)


def pairs_of(split: str) -> LazyMapping[int, Pair]:
    """Open the pairs of a split; they are made on access.

    Args:
        split: train, val or test.

    Returns:
        Pairs by name.
    """
    return LazyMapping({f"{NAME} {seed}": seed for seed in SCENES[split]}, _pair)


_window = partial(simulate_window, top=0, left=0, height=SIDE, width=SIDE)


def _clear(seed: int) -> ClearImage:
    window = _window(seed)
    return ClearImage(window.truth, np.ones(13, bool), window.radar)


def _pair(seed: int) -> Pair:
    window = _window(seed, cloud_cover=0.5)
    return Pair(window.cloudy, window.truth, opacity(window.cloudy, window.truth), window.radar)
