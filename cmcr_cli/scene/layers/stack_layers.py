"""Which layers of a stack are which bands of Sentinel-2, and which are something else."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.errors import RadiometryError
from cmcr_cli.scene.bands import BANDS, L2A_BANDS, SCENE_NEEDS, band_name, check_names
from cmcr_cli.scene.layers.band_pixels import looks_like_codes, misfits, sample_windows
from cmcr_cli.scene.layers.layer_texts import days_of, is_other_layer, names_of_texts, says_nothing, texts_of
from cmcr_cli.scene.pixels.masks_of_files import mask_bands
from cmcr_cli.warning_kinds import BandWarning

log = logging.getLogger("cmcr")

LEFT_OUT = "-"
"""Stands in `--bands` for a layer that is no band."""

ACCEPTED = (
    "names such as B02, B8A or Band 8A, blue, rededge1, nir, nir08 or swir16, or wavelengths such as 490 nm"
)

BY_COUNT = {len(BANDS): BANDS, len(L2A_BANDS): L2A_BANDS}

DARK_GROUND = 0.05
"""Reflectance of water at most."""

LEAST_DN = 20
"""Values above are DN, below they are reflectance."""


@dataclass(frozen=True, slots=True)
class Layers:
    """What the layers of a file are.

    Attributes:
        names: Of the bands, as in BANDS, in file order.
        indexes: Of these bands in the file, from 1.
        guessed: Whether nothing but their number and order names them.
        scl: Index of a scene classification among the layers.
        warnings: What a user should know of it.
    """

    names: tuple[str, ...]
    indexes: tuple[int, ...]
    guessed: bool = False
    scl: int | None = None
    warnings: tuple[BandWarning, ...] = ()


def find_layers(
    dataset: Any,
    path: str,
    *,
    bands: tuple[str, ...] | None = None,
    needs: tuple[tuple[str, ...], ...] = SCENE_NEEDS,
    certain: bool = False,
) -> Layers:
    """Find the bands of Sentinel-2 among the layers of a file.

    Args:
        dataset: The open file.
        path: Its path, for messages.
        bands: What the layers are by `--bands`: names of bands, or LEFT_OUT or the name of another layer.
        needs: Sets of bands, as `check_names` takes them.
        certain: Whether names are those of a product, which pixels need not confirm.

    Returns:
        The layers.

    Raises:
        RadiometryError: Names are unknown, missing or occur twice, or the pixels contradict the order of
            bands that have no names.
    """
    masks = mask_bands(dataset)
    if bands is not None:
        return _as_said(dataset, path, bands, masks, needs)
    texts = texts_of(dataset)
    named = names_of_texts(texts)
    # A layer such as std_B02 or B04_mask has the name of a band and is none.
    others = tuple(
        index
        for index, text, name in zip(dataset.indexes, texts, named, strict=True)
        if index not in masks and is_other_layer(text)
    )
    indexes = tuple(index for index in dataset.indexes if index not in (*masks, *others))
    rest = [texts[index - 1] for index in indexes]
    if not indexes:
        raise RadiometryError(
            f"{path}: none of its layers ({', '.join(texts)}) is reflectance; expected bands of Sentinel-2. "
            "Check that this is the image, or name its bands in file order with --bands."
        )
    warnings = (*_left_out(texts, others), *_of_days(dataset))
    scl = next((index for index in others if texts[index - 1].upper().startswith("SCL")), None)
    if says_nothing(rest):
        names = _by_order(dataset, path, indexes, needs)
        text = (
            f"its bands have no names; by their number and order they are taken for {' '.join(names)}. If "
            "that is wrong, name them with --bands"
        )
        return Layers(names, indexes, True, scl, (*warnings, BandWarning(text)))
    names = _by_texts(path, rest, [named[index - 1] for index in indexes], needs)
    if "B8A" not in names and "B05" in names:  # others number their bands as well, but have no 8A
        _check_pixels(dataset, path, indexes, names)
    elif needs is SCENE_NEEDS and not certain:
        warnings += _doubts(dataset, indexes, names)
    return Layers(names, indexes, False, scl, warnings)


def _doubts(dataset: Any, indexes: tuple[int, ...], names: tuple[str, ...]) -> tuple[BandWarning, ...]:
    """A warning where pixels contradict the names that the file gives to its bands."""
    reflectance, _ = _reflectance(dataset, indexes, sample_windows(dataset, indexes))
    why = misfits(reflectance, names)
    if not why:
        return ()
    text = (
        f"the bands are named {' '.join(names)}, but the pixels do not look like these ({why[0]}). If the "
        "names are in another order than the bands, or some bands have other units, correct the file, or "
        "name its bands with --bands"
    )
    return (BandWarning(text),)


def _as_said(
    dataset: Any,
    path: str,
    bands: tuple[str, ...],
    masks: tuple[int, ...],
    needs: tuple[tuple[str, ...], ...],
) -> Layers:
    """The layers by the option, which may leave out masks that the file itself marks as such."""
    counted = tuple(dataset.indexes)
    if len(bands) == dataset.count - len(masks):
        counted = tuple(index for index in counted if index not in masks)
    if len(bands) != len(counted):
        raise RadiometryError(
            f"{path}: has {dataset.count} bands, but --bands names {len(bands)}; expected one name each, and "
            f"{LEFT_OUT} for a layer that is not a band of Sentinel-2."
        )
    chosen = {
        index: text
        for index, text in zip(counted, bands, strict=True)
        if text != LEFT_OUT and not is_other_layer(text) and index not in masks
    }
    names = tuple(band_name(text) or text for text in chosen.values())
    check_names(names, path, needs, tuple(chosen.values()))
    scl = next((i for i, text in zip(counted, bands, strict=True) if text.upper().startswith("SCL")), None)
    return Layers(names, tuple(chosen), scl=scl)


def _left_out(texts: Sequence[str], others: Sequence[int]) -> tuple[BandWarning, ...]:
    if not others:
        return ()
    called = [texts[index - 1] for index in others]
    text = f"{', '.join(map(repr, called))} in its layers: not a band of Sentinel-2, left out of the image"
    if any(name.upper().startswith("SCL") for name in called):
        text += "; --mask scl uses the scene classification"
    return (BandWarning(text),)


def _of_days(dataset: Any) -> tuple[BandWarning, ...]:
    days = days_of(dataset)
    if len(days) < 2:
        return ()
    text = (
        f"the layers are of several dates ({', '.join(days)}), by their names; expected one image. Give the "
        "bands of one date, and other dates as --reference"
    )
    return (BandWarning(text),)


def _by_texts(
    path: str, texts: Sequence[str], named: Sequence[str | None], needs: tuple[tuple[str, ...], ...]
) -> tuple[str, ...]:
    """Names from texts, of which each must name a band."""
    if None in named:
        unknown = [text or "nothing" for text, name in zip(texts, named, strict=True) if name is None]
        raise RadiometryError(
            f"{path}: names its bands {', '.join(text or 'nothing' for text in texts)}, of which "
            f"{', '.join(map(repr, unknown))} is not known as a band of Sentinel-2, or means another one "
            f"than its number; expected {ACCEPTED}. Name all in file order with --bands, with {LEFT_OUT} for "
            "a layer that is not a band."
        )
    names = tuple(name for name in named if name is not None)
    check_names(names, path, needs, tuple(texts))
    return names


def _by_order(
    dataset: Any, path: str, indexes: tuple[int, ...], needs: tuple[tuple[str, ...], ...]
) -> tuple[str, ...]:
    """Names of bands without any: by their number, if their pixels fit."""
    names = BY_COUNT.get(len(indexes))
    if names is None:
        raise RadiometryError(
            f"{path}: has {len(indexes)} bands without names; expected {len(BANDS)} (L1C), {len(L2A_BANDS)} "
            "(L2A, no B10), or descriptions such as B04. "
            + (
                "Name the bands in file order with --bands."
                if needs is SCENE_NEEDS
                else "Describe its bands."
            )
        )
    _check_pixels(dataset, path, indexes, names)
    return names


def _check_pixels(dataset: Any, path: str, indexes: tuple[int, ...], names: tuple[str, ...]) -> None:
    """Raise RadiometryError where pixels contradict the names of their bands."""
    pixels = sample_windows(dataset, indexes)
    reflectance, codes = _reflectance(dataset, indexes, pixels)
    why = misfits(reflectance, names)
    # Dark water and B10 have as few values as classes have.
    codes = [place for place in codes if names[place] != "B10"]
    if why or (codes and np.median(reflectance) > DARK_GROUND):
        why = [*(f"layer {indexes[place]} seems to hold flags or classes" for place in codes), *why]
        log.info("%s: %s", path, "; ".join(why))
        raise RadiometryError(
            f"{path}: its {len(names)} bands have no names that tell what they show, and in the order "
            f"{' '.join(names)} the pixels do not fit ({why[0]}); expected this order, or names. Name the "
            f"bands in file order with --bands, as in --bands B01,B02,B03,..., with {LEFT_OUT} for a layer "
            "that is not a band."
        )


def _reflectance(
    dataset: Any, indexes: Sequence[int], pixels: NDArray[Any]
) -> tuple[NDArray[np.float64], list[int]]:
    """Reflectance of the valid pixels (bands, n), about; and places of layers that look like codes."""
    values = pixels.astype(np.float64)
    nodata = dataset.nodata if dataset.nodata is not None else 0
    valid = np.isfinite(values).all(axis=0) & (values != nodata).any(axis=0)
    values = values[:, valid]
    if not values.size:
        return values, []
    bright = np.percentile(values, 99) > LEAST_DN
    codes = [place for place, band in enumerate(values) if bright and looks_like_codes(band)]
    scales, offsets = (
        np.array(tags)[np.array(indexes) - 1, None] for tags in (dataset.scales, dataset.offsets)
    )
    tagged = not (scales == 1).all()
    return values * scales + offsets if tagged else values / (10_000 if bright else 1), codes
