"""Whether the pixels of an open Sentinel-2 image can be what its bands, units and nodata say."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.errors import InputError, RadiometryError
from cmcr_cli.scene.layers.brightness import (
    SCALE_CURE,
    TAGS_CURE,
    check_brightness,
    check_offset,
    check_range,
)
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.radiometry import QUANTIFICATION, Radiometry
from cmcr_cli.warning_kinds import RadiometryWarning

MEAN_REFLECTANCE = (-0.05, 1.6)
"""No scene's mean is outside: below is dark ground with an offset too many, above brighter than cloud."""

CUT_BANDS, CUT_SHARE = 3, 0.01
"""Bands that end at one DN, and share of the pixels of each that hold it, where DN were clipped."""

ODD_SHARE = 0.005
"""Of valid pixels, in which a band is 0 or saturated: more than dark and bright pixels here and there."""

REFERENCE_SIDE = 3
"""A sample of a reference is 3 x 3 windows: of a product in JPEG 2000, each window takes a second."""


def check_radiometry(optical: Optical, *, reference: bool = False) -> tuple[RadiometryWarning, ...]:
    """Look at a sample of the pixels.

    Args:
        optical: The scene, or a reference.
        reference: Whether it is a reference. It has no options of its own, may show little of the scene, and
            less of it is looked at.

    Returns:
        Warnings of what is odd about them.

    Raises:
        InputError: The whole scene is nodata.
        RadiometryError: Its reflectance is impossible.
    """
    dn = optical.source.sample(REFERENCE_SIDE) if reference else optical.source.sample()
    dn = dn[:, optical.valid(dn)]
    if dn.shape[1] == 0:
        if not reference and not any(optical.valid(strip).any() for strip in optical.source.strips()):
            raise InputError(
                f"{optical.path}: every pixel is nodata ({optical.nodata or 0:g} in all bands); expected "
                "measurements. Check the nodata tag and that this is the right file."
            )
        return ()
    reflectance = optical.radiometry.reflectance(dn)
    mean = float(reflectance.mean())
    low, high = MEAN_REFLECTANCE
    stated = optical.original.radiometry if optical.original else optical.radiometry
    if not low <= mean <= high:
        raise RadiometryError(
            f"{optical.path}: the mean reflectance is {mean:.2f} with offset {stated.offset:g} "
            f"({optical.offset_source}); expected {low} to {high} for DN = reflectance x {QUANTIFICATION}. "
            + (
                f"{TAGS_CURE}."
                if reference
                else "Give the product's own offset with --offset 0 or --offset -1000, or the reflectance of "
                "one DN with --scale."
            )
        )
    odd = () if reference else _odd_shares(optical, dn)
    if optical.scaled:
        odd += _odd_option(optical, dn, stated)
    else:
        cure = TAGS_CURE if reference else SCALE_CURE
        odd += check_range(dn, optical.radiometry, optical.names, optical.path, cure)
        odd += _other_tags(optical, dn)
    return (*_odd_offset(optical, reflectance, stated, reference), *odd)


def _odd_offset(
    optical: Optical, reflectance: NDArray[np.float32], stated: Radiometry, reference: bool
) -> tuple[RadiometryWarning, ...]:
    """A warning where another offset is likely, which is given in the numbers of the file."""
    found = check_offset(reflectance, optical.names, stated.offset / stated.quantification)
    if found is None:
        return ()
    likely, sign = found
    applied = stated.offset / stated.quantification
    if applied == 0 and likely < 0 and optical.offset_source not in ("assumed 0", "tag"):
        return ()  # somebody knows that there is none
    if reference:
        cure = f"state it in its tags with gdal_edit -offset {round(likely, 4):g}"
    else:
        cure = f"give --offset {round(likely * stated.quantification, 3):g}"
    if likely > applied:
        cure = f"if the offset was removed from the pixels already, {cure}"
    else:
        cure = f"if the product is of baseline 04.00 or later and its offset was not removed, {cure}"
    text = f"{sign} with offset {stated.offset:g} ({optical.offset_source}): {cure}"
    return (RadiometryWarning(text),)


def _odd_option(optical: Optical, dn: NDArray[Any], stated: Radiometry) -> tuple[RadiometryWarning, ...]:
    """A warning where --scale makes valid pixels (bands, n) odd, or other units fit them as well.

    Nothing is refused: the user knows better.
    """
    scale = f"{1 / stated.quantification:g}"
    try:
        reflectance = optical.radiometry.reflectance(dn)
        cure = f"Check --scale {scale}"
        check_brightness(reflectance, optical.names, stated, optical.path, cure)
    except RadiometryError as error:
        return (RadiometryWarning(str(error)),)
    return _usual_fits(optical, dn, f"--scale {scale} is used")


def _other_tags(optical: Optical, dn: NDArray[Any]) -> tuple[RadiometryWarning, ...]:
    if optical.offset_source not in ("tag", "option"):
        return ()
    return _usual_fits(optical, dn, f"the file's tags say a scale of {optical.scales[0]:g}")


def _usual_fits(optical: Optical, dn: NDArray[Any], text: str) -> tuple[RadiometryWarning, ...]:
    """A warning where another scale than 1 / 10 000 is stated of DN, and the usual one fits them as well."""
    radiometry = optical.radiometry
    if optical.original is not None or radiometry.quantification == QUANTIFICATION:
        return ()
    usual = Radiometry(radiometry.offset)
    try:
        if check_range(dn, usual, optical.names, optical.path):
            return ()
    except RadiometryError:
        return ()
    return (RadiometryWarning(f"{text}, but the DN look like reflectance x {QUANTIFICATION} as well"),)


def _odd_shares(optical: Optical, dn: NDArray[Any]) -> tuple[RadiometryWarning, ...]:
    """Warnings of single bands in valid pixels (bands, n) that often hold what may be no measurement."""
    found = []
    for value in (optical.empty, float(np.iinfo(optical.dtype).max)):
        shares = {
            name: float((band == value).mean())
            for name, band in zip(optical.names, dn, strict=True)
            if name != "B10"
        }
        odd = [f"{name} ({share:.1%})" for name, share in shares.items() if share >= ODD_SHARE]
        if odd:
            found.append(
                RadiometryWarning(
                    f"DN is {value:g} in {', '.join(odd)} where other bands hold measurements, and is taken "
                    "as one; if it is nodata, set it in all bands, or leave out a band that is empty"
                )
            )
    return (*found, *_one_value(optical, dn), *_cut_off(optical, dn))


def _cut_off(optical: Optical, dn: NDArray[Any]) -> tuple[RadiometryWarning, ...]:
    """A warning where several bands of valid pixels (bands, n) end at one DN, which many pixels have."""
    tops = dn.max(axis=1)
    dn, tops = dn[tops != optical.empty], tops[tops != optical.empty]
    if not len(tops):
        return ()
    values, counts = np.unique(tops, return_counts=True)
    cap = values[counts.argmax()]
    shares = (dn[tops == cap] == cap).mean(axis=1)
    if counts.max() < CUT_BANDS or cap >= np.iinfo(optical.dtype).max or (shares < CUT_SHARE).any():
        return ()
    text = (
        f"{counts.max()} bands end at DN {cap:g}, which up to {shares.max():.1%} of their pixels hold: what "
        "is brighter was cut off. Give an image that was not clipped"
    )
    return (RadiometryWarning(text),)


def _one_value(optical: Optical, dn: NDArray[Any]) -> tuple[RadiometryWarning, ...]:
    """A warning where many valid pixels (bands, n) hold one value in all bands, which no ground does."""
    bands = dn[[name != "B10" for name in optical.names]]
    values, counts = np.unique(bands[0, (bands == bands[0]).all(axis=0)], return_counts=True)
    share = counts.max(initial=0) / dn.shape[1]
    if share < ODD_SHARE:
        return ()
    text = (
        f"{share:.1%} of the pixels hold {values[counts.argmax()]:g} in all bands, and are taken as "
        "measured; if it is nodata, state it with gdal_edit -a_nodata"
    )
    return (RadiometryWarning(text),)
