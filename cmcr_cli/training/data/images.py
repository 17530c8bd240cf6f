"""What training is fed with: clear ground, and pairs of a cloudy and a clear date with the clouds in them."""

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

_BLUE, _GREEN, _CIRRUS, _SWIR = (BANDS.index(name) for name in ("B02", "B03", "B10", "B11"))
_VISIBLE = [BANDS.index(name) for name in ("B02", "B03", "B04")]


@dataclass(frozen=True, slots=True)
class ClearImage:
    """Clear ground: reflectance (13, H, W), bands present (13,), radar dB (2, H, W) with NaN, or None.

    `place` is the ground that it shows, as in `labels`, or empty where nobody has to know.
    """

    optical: Array
    present: NDArray[np.bool_]
    radar: Array | None
    place: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A cloudy image and a clear one of the same place on another date, with the cloud's opacity (H, W).

    `lifted`: the clear image lay under thin cirrus, which was subtracted; good enough to cut clouds out
    against, not good enough to learn the ground from. `place` is as in ClearImage. A pair is equal to itself
    alone, so that what follows from it can be kept.
    """

    cloudy: Array
    clear: Array
    opacity: Array
    radar: Array | None
    lifted: bool = False
    place: str = ""


def read_pair(cloudy: Path, clear: Path, radar: Path | None) -> Pair:
    """A pair as its files show it: 13 bands of DN, and VV and VH in dB, where exactly 0 becomes NaN.

    Raises InputError when a file cannot be read, or has other bands or another size than expected.
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
    """Reflectance (bands, H, W) of a file of DN without offset."""
    return read_raster(path, bands) / np.float32(QUANTIFICATION)


def read_raster(path: Path, bands: int) -> Array:
    """All pixels of a file as float32 (bands, H, W); InputError when it is damaged or has other bands."""
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
    """How much of the light in the visible is the cloud's, 0..1 (H, W), from the brightening against `clear`.

    Uses the darkest of the three visible bands' brightening, so that a red field that turned bare between the
    dates is not taken for cloud, and drops what is too small to be one.
    """
    white = max(float(np.percentile(cloudy[_VISIBLE], 99)), 0.45)
    share = (cloudy[_VISIBLE] - clear[_VISIBLE]) / np.maximum(white - clear[_VISIBLE], 0.1)
    alpha = ndimage.gaussian_filter(np.clip(share.min(axis=0), 0, 1), 1.0)
    return np.asarray(np.where(alpha > 0.06, alpha, 0), dtype=np.float32)


def has_cloud(pair: Pair) -> bool:
    """Whether a pair has enough thick cloud to cut out: over more than 5 % of it, and no fresh snow."""
    if float((pair.opacity > 0.3).mean()) <= 0.05:
        return False
    brighter = pair.opacity > 0.1
    green, swir = pair.cloudy[_GREEN][brighter], pair.cloudy[_SWIR][brighter]
    snow = green - swir > 0.4 * (green + swir)  # the normalised difference snow index
    return float(snow.mean()) < 0.15


def unveiled(pair: Pair) -> Pair:
    """The pair with thin cirrus over its clear image subtracted, or its dates exchanged if that is the cure.

    Such a veil lies over a whole image, where neither the opacity nor anyone's eye finds it; cutting clouds
    out against it would leave them too thin.
    """
    if not is_veiled(pair.clear):
        return pair
    if not is_veiled(pair.cloudy) and _cloudless(pair.cloudy, pair.clear):
        swapped = opacity(pair.clear, pair.cloudy)
        return replace(pair, cloudy=pair.clear, clear=pair.cloudy, opacity=swapped)
    clear = without_cirrus(pair.clear)
    return replace(pair, clear=clear, opacity=opacity(pair.cloudy, clear), lifted=True)


def ground_of(pair: Pair) -> Iterator[ClearImage]:
    """What a pair shows of the ground: the clear image, and the cloudy one where it is not cloudy at all."""
    if not pair.lifted:
        yield clear_of(pair)
        if not is_veiled(pair.cloudy) and _cloudless(pair.cloudy, pair.clear):
            yield replace(clear_of(pair), optical=pair.cloudy)


def clear_of(pair: Pair) -> ClearImage:
    """The clear date of a pair, which has all bands."""
    return ClearImage(pair.clear, np.ones(13, bool), pair.radar, pair.place)


def is_veiled(image: Array) -> bool:
    """Whether thin cirrus lies over all of a clear image. Clear ground is near 0.001 in B10, snow higher."""
    blue, cirrus = np.median(image[_BLUE]), np.median(image[_CIRRUS])
    return bool(cirrus > 0.004 + 0.01 * blue)


def _cloudless(cloudy: Array, clear: Array) -> bool:
    """Whether the cloudy image of a pair shows hardly any cloud, nor anything as bright as one."""
    bright = np.percentile(cloudy[_BLUE], 99) > max(0.25, 1.3 * np.percentile(clear[_BLUE], 99))
    return not bright and float((opacity(cloudy, clear) > 0).mean()) < 0.1
