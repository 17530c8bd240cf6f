"""Thin cirrus, as band B10 shows it: taken off the image before anything is learnt from it.

At 1375 nm water vapour hides the ground, and what is left is the light of high, dry clouds; the other bands
hold the same light in fixed proportions (Gao, Han, Tsay and Larsen 1998, "Correction of thin cirrus path
radiances in the 0.4-1.0 um spectral region using the sensitive 1.375 um cirrus detecting channel").
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.radiometry import Numbers

Floats = NDArray[np.float32]

BLUE, B10 = BANDS.index("B02"), BANDS.index("B10")

GROUND = np.float32(0.0012)
"""Reflectance of B10 over clear ground."""

WHITE = np.float32(0.75)
"""Reflectance of cirrus if it were thick: what it adds, it takes from the ground in proportion."""

SPECTRUM: Floats = np.array([1, 1, 1, 1, 1, 1, 0.97, 0.97, 0.93, 0.6, 0, 0.9, 0.75], np.float32)
"""Reflectance that cirrus adds to each band, for 1 in the visible bands; B10 is kept as it is."""

TYPICAL_RATIO = np.float32(1.4)
"""Reflectance that cirrus adds to the visible bands for 1 in B10, unless fitted; vapour above it decides."""

THIN = np.float32(0.08)
"""Most that cirrus may add to the visible bands over ground to learn from: the ratio is uncertain."""

TILE = 256
"""Pixels along the side of the squares in which the ratio is fitted."""

FITTED = [BLUE, B10]
"""Bands in which the ratio is fitted."""

_CELL = 8  # pixels; B10 is of 60 m, and high clouds are seen some 100 m off in other bands
_LOCAL = 4  # cells; what varies more slowly than this may be the ground's as well
_ALIKE = 4  # neighbouring cells that count as one, for ground is alike
_RATIOS = (0.8, 2.4)  # beyond, it is low cloud or haze that brightens where B10 does
_PRIOR_DEVIATION = 0.3  # of the ratio between scenes
_TILE_DEVIATION = 0.2  # of the ratio within a scene, so that no single tile decides


def without_cirrus(image: Floats, ratio: np.float32 | float = TYPICAL_RATIO) -> Floats:
    """Subtract the thin cirrus that B10 shows.

    Args:
        image: Reflectance (13, ...).
        ratio: What cirrus adds to the visible bands for 1 in B10.

    Returns:
        Reflectance; unchanged where B10 is absent (0).
    """
    spectrum = SPECTRUM.reshape(-1, *[1] * (image.ndim - 1))
    return np.asarray(subtracted(image, image[B10 : B10 + 1], spectrum, ratio), np.float32)


def subtracted(image: Numbers, b10: Numbers, spectrum: Numbers, ratio: np.float32 | float) -> Numbers:
    """Subtract thin cirrus from reflectance, for arrays and tensors alike.

    Args:
        image: Reflectance of the 13 bands.
        b10: That of B10, of a shape that is broadcast against it.
        spectrum: SPECTRUM where `image` is, likewise.
        ratio: What cirrus adds to the visible for 1 in B10.

    Returns:
        Reflectance, at least 0; `image` itself where B10 shows no cirrus.
    """
    visible = visible_cirrus(b10, ratio)
    if not visible.any():
        return image
    added = spectrum * visible
    cleared: Numbers = ((image - added) / (1 - added / float(WHITE))).clip(0)
    return cleared


def visible_cirrus_of(image: Floats, ratio: np.float32 | float = TYPICAL_RATIO) -> Floats:
    """Compute what cirrus adds to the visible bands of an image, by its B10.

    Args:
        image: Reflectance (13, ...).
        ratio: What cirrus adds to the visible bands for 1 in B10.

    Returns:
        Reflectance (...).
    """
    return visible_cirrus(image[B10], ratio)


def visible_cirrus(b10: Numbers, ratio: np.float32 | float) -> Numbers:
    """Do the same from B10 alone, for arrays and tensors alike.

    Args:
        b10: Reflectance of B10 (...).
        ratio: What cirrus adds to the visible bands for 1 in B10.

    Returns:
        Reflectance (...).
    """
    visible: Numbers = (b10 - float(GROUND)).clip(0, thickest(ratio)) * float(ratio)
    return visible


def thickest(ratio: np.float32 | float) -> float:
    """Limit what B10 counts for: whatever is brighter is not thin cirrus.

    Args:
        ratio: What cirrus adds to the visible bands for 1 in B10.

    Returns:
        Reflectance of B10.
    """
    return 0.4 / float(ratio)


def fitted_ratio(images: Iterable[Floats]) -> np.float32:
    """Fit the ratio of a scene: what cirrus adds to the visible bands for 1 in B10.

    Ground does not show in B10. Where B02 follows B10 from cell to cell within a tile, it follows the cirrus
    (Gao et al. 1998). The slopes of all tiles and TYPICAL_RATIO are averaged by their precision.

    Args:
        images: Reflectance of parts of the scene, in FITTED (2, H, W).

    Returns:
        The ratio; TYPICAL_RATIO if the scene does not show it.
    """
    weight = 1 / _PRIOR_DEVIATION**2
    total = weight * float(TYPICAL_RATIO)
    for image in images:
        height, width = image.shape[1:]
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                ratio, deviation = _ratio(image[:, top : top + TILE, left : left + TILE])
                if _RATIOS[0] < ratio < _RATIOS[1]:
                    precision = 1 / (deviation**2 + _TILE_DEVIATION**2)
                    total += precision * ratio
                    weight += precision
    return np.float32(total / weight)


def _ratio(image: Floats) -> tuple[float, float]:
    """Rise of B02 for 1 in B10 in one tile (2, H, W), and its standard error; (0, inf) if unknown."""
    height, width = (size // _CELL for size in image.shape[1:])
    cells = image[:, : height * _CELL, : width * _CELL]
    blue, high = cells.reshape(2, height, _CELL, width, _CELL).mean(axis=(2, 4), dtype=np.float64)
    seen = ((high > 0) & (high < 0.06) & (blue < 0.3)).astype(np.float64)  # not thick, and no nodata
    count = seen.sum()
    if count < 16 * _ALIKE:
        return 0.0, np.inf
    nearby = ndimage.gaussian_filter(seen, _LOCAL) + 1e-6
    blue_part, high_part = (
        seen * (band - ndimage.gaussian_filter(seen * band, _LOCAL) / nearby) for band in (blue, high)
    )
    power = float(np.square(high_part).sum())
    if power == 0:
        return 0.0, np.inf
    slope = float((blue_part * high_part).sum()) / power
    noise = float(np.square(blue_part - slope * high_part).sum())
    ground = float((seen * blue).sum() / count)
    kept = 1 - min(ground / float(WHITE), 0.6)  # cirrus takes from the ground what it adds, in proportion
    return slope / kept, float(np.sqrt(noise / power / (count / _ALIKE))) / kept
