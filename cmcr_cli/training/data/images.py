"""Training images: clear ground, and pairs of a cloudy and a clear date."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from scipy import ndimage

from cmcr_cli.errors import InputError
from cmcr_cli.ground.cirrus import without_cirrus
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.radiometry import QUANTIFICATION
from cmcr_cli.scene.raster import open_raster

Array = NDArray[np.float32]

_BLUE, _GREEN, _RED, _CIRRUS, _SWIR = (BANDS.index(name) for name in ("B02", "B03", "B04", "B10", "B11"))
_VISIBLE = [BANDS.index(name) for name in ("B02", "B03", "B04")]

_WHITISH = 0.7
"""Brightening in the blue, as a part of that in the red, below which it is no cloud: 41 % of what brightened
in a pair where a salt lake dried, and at most 6 % in pairs with clouds."""


@dataclass(frozen=True, slots=True)
class ClearImage:
    """An image of clear ground.

    Attributes:
        optical: Reflectance (13, H, W).
        present: Bands that the image has (13,).
        radar: VV and VH in dB (2, H, W), NaN where invalid; None: no radar.
        place: Name of the place, as in `labels`; may be empty.
    """

    optical: Array
    present: NDArray[np.bool_]
    radar: Array | None
    place: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A cloudy image and a clear image of the same place on another date.

    A pair is equal only to itself, so that results derived from it can be cached.

    Attributes:
        cloudy: Reflectance (13, H, W).
        clear: Reflectance (13, H, W).
        opacity: Opacity of the cloud, 0 to 1, (H, W).
        radar: VV and VH in dB (2, H, W), NaN where invalid; None: no radar.
        lifted: Whether the clear image is only good enough to extract clouds, not to learn the ground from it
            (for example, because cirrus was subtracted from it).
        place: Name of the place, as in `ClearImage`.
    """

    cloudy: Array
    clear: Array
    opacity: Array
    radar: Array | None
    lifted: bool = False
    place: str = ""


def read_pair(cloudy: Path, clear: Path, radar: Path | None) -> Pair:
    """Read a pair.

    Args:
        cloudy: File of 13 bands, DN.
        clear: File of 13 bands, DN.
        radar: File of VV and VH in dB, where exactly 0 is invalid; None: no radar.

    Returns:
        The pair.

    Raises:
        InputError: A file cannot be read, or has an unexpected size or number of bands.
    """
    images = read_stack(cloudy, 13), read_stack(clear, 13)
    db = None if radar is None else read_raster(radar, 2)
    if db is not None:
        db[(db == 0) | ~np.isfinite(db)] = np.nan
    sizes = {image.shape[1:] for image in (*images, db) if image is not None}
    if len(sizes) > 1:
        raise InputError(f"{clear.parent}: found sizes {sorted(sizes)}; expected one for all of a pair")
    return Pair(*images, opacity(*images), db)


def read_stack(path: Path, bands: int) -> Array:
    """Read an image.

    Args:
        path: File of DN without offset.
        bands: Expected number of bands.

    Returns:
        Reflectance (bands, H, W).

    Raises:
        InputError: The file is damaged or has another number of bands.
    """
    return read_raster(path, bands) / np.float32(QUANTIFICATION)


def read_raster(path: Path, bands: int) -> Array:
    """Read all pixels of a file.

    Args:
        path: The file.
        bands: Expected number of bands.

    Returns:
        Values (bands, H, W), float32.

    Raises:
        InputError: The file is damaged or has another number of bands.
    """
    with open_raster(path, f"{bands} bands") as file:
        if file.count != bands:
            raise InputError(f"{path}: found {file.count} bands; expected {bands}")
        try:
            return np.asarray(file.read(), dtype=np.float32)
        except RasterioError as error:
            raise InputError(
                f"{path}: cannot be read ({error}); expected a complete raster file. "
                "`cmcr data check --full` lists all that are damaged."
            ) from error


def opacity(cloudy: Array, clear: Array) -> Array:
    """Estimate the opacity of clouds from the brightening relative to a clear image.

    The smallest brightening of the three visible bands is used, so that a field that became bare between the
    dates does not count as cloud. Values that are too small for a cloud become 0.

    Args:
        cloudy: Reflectance (13, H, W).
        clear: Reflectance (13, H, W).

    Returns:
        Opacity, 0 to 1, (H, W).
    """
    white = max(float(np.percentile(cloudy[_VISIBLE], 99)), 0.45)
    share = (cloudy[_VISIBLE] - clear[_VISIBLE]) / np.maximum(white - clear[_VISIBLE], 0.1)
    alpha = ndimage.gaussian_filter(np.clip(share.min(axis=0), 0, 1), 1.0)
    return np.asarray(np.where(alpha > 0.06, alpha, 0), dtype=np.float32)


def has_cloud(pair: Pair) -> bool:
    """Tell whether a pair has enough cloud to extract.

    Args:
        pair: The pair.

    Returns:
        Whether thick cloud is over more than 5 %, and what became brighter is neither fresh snow (NDSI > 0.4,
        among what became much brighter) nor ground that dried, which brightens more in the red than in the
        blue.
    """
    if float((pair.opacity > 0.3).mean()) <= 0.05:
        return False
    brighter = pair.opacity > 0.1
    green, swir = pair.cloudy[_GREEN][brighter], pair.cloudy[_SWIR][brighter]
    snow = green - swir > 0.4 * (green + swir)  # the normalised difference snow index
    blue, red = (
        ndimage.gaussian_filter(pair.cloudy[band] - pair.clear[band], 1.0)[pair.opacity > 0]
        for band in (_BLUE, _RED)
    )
    dried = (red > 0) & (blue < _WHITISH * red)
    return float(snow.mean()) < 0.15 and float(dried.mean()) < 0.15


def cirrus_subtracted(pair: Pair) -> Pair:
    """Correct a pair whose clear image is under thin cirrus.

    If the other date is nearly cloudless, the dates are exchanged; otherwise the cirrus is subtracted. Such
    cirrus covers a whole image, so neither the opacity nor the eye detects it, and clouds extracted against
    it would be too thin.

    Args:
        pair: Any pair.

    Returns:
        The corrected pair, or the same pair if no correction is needed.
    """
    if not is_under_cirrus(pair.clear):
        return pair
    if not is_under_cirrus(pair.cloudy) and _cloudless(pair.cloudy, pair.clear):
        swapped = opacity(pair.clear, pair.cloudy)
        return replace(pair, cloudy=pair.clear, clear=pair.cloudy, opacity=swapped)
    clear = without_cirrus(pair.clear)
    return replace(pair, clear=clear, opacity=opacity(pair.cloudy, clear), lifted=True)


def ground_of(pair: Pair) -> Iterator[ClearImage]:
    """Take the clear images of a pair: the clear date, and the other date if it is nearly cloudless.

    Args:
        pair: The pair.

    Yields:
        None, one or two images; none where the clear date is only good enough to extract clouds.
    """
    if not pair.lifted:
        yield clear_of(pair)
        if not is_under_cirrus(pair.cloudy) and _cloudless(pair.cloudy, pair.clear):
            yield replace(clear_of(pair), optical=pair.cloudy)


def clear_of(pair: Pair) -> ClearImage:
    """Take the clear date of a pair.

    Args:
        pair: The pair.

    Returns:
        The image, with all bands and the radar of the pair.
    """
    return ClearImage(pair.clear, np.ones(13, bool), pair.radar, pair.place)


def is_under_cirrus(image: Array) -> bool:
    """Tell whether thin cirrus covers a clear image as a whole.

    Args:
        image: Reflectance (13, H, W).

    Returns:
        Whether the median of B10 is well above the 0.001 of clear ground.
    """
    blue, cirrus = np.median(image[_BLUE]), np.median(image[_CIRRUS])
    return bool(cirrus > 0.004 + 0.01 * blue)


def _cloudless(cloudy: Array, clear: Array) -> bool:
    """Whether the cloudy image of a pair shows hardly any cloud and nothing as bright as a cloud."""
    bright = np.percentile(cloudy[_BLUE], 99) > max(0.25, 1.3 * np.percentile(clear[_BLUE], 99))
    return not bright and float((opacity(cloudy, clear) > 0).mean()) < 0.1
