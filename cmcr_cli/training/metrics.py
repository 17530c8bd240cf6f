"""PSNR, SSIM, SAM and MAE as published for SEN12MS-CR (per image, all bands jointly), and detail."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.scene.bands import BANDS

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

TEN_METRES = [BANDS.index(name) for name in ("B02", "B03", "B04", "B08")]
"""Bands with detail at 10 m; the others are upsampled."""

WINDOW, STRIDE = 64, 32
"""Side of the windows whose detail is compared, and distance between windows, in pixels."""

FINE = 1 / 8
"""Lowest spatial frequency of detail, in cycles per pixel: structures of 80 m and less."""


def psnr(prediction: Array, target: Array, where: Mask | None = None) -> float:
    """Peak signal-to-noise ratio, 20 log10(1 / RMSE).

    Args:
        prediction: Reflectance (13, H, W).
        target: Reflectance (13, H, W).
        where: Pixels to score (H, W); None: all.

    Returns:
        PSNR in dB.
    """
    difference = _pixels(prediction, where) - _pixels(target, where)
    rmse = float(np.sqrt(np.mean(np.square(difference, dtype=np.float64))))
    return float(-20 * np.log10(max(rmse, 1e-10)))


def mae(prediction: Array, target: Array, where: Mask | None = None) -> float:
    """Compute the mean absolute error.

    Args:
        prediction: Reflectance (13, H, W).
        target: Reflectance (13, H, W).
        where: Pixels that count (H, W); None: all.

    Returns:
        Reflectance.
    """
    return float(np.mean(np.abs(_pixels(prediction, where) - _pixels(target, where)), dtype=np.float64))


def sam(prediction: Array, target: Array, where: Mask | None = None) -> float:
    """Compute the spectral angle (SAM): the mean angle between the spectra of prediction and target.

    A spectrum of zeros has no direction. Its angle is 0 degrees to another spectrum of zeros and 90 degrees
    to any other spectrum, so that no pixel is silently excluded from the mean.

    Args:
        prediction: Reflectance (13, H, W).
        target: Reflectance (13, H, W).
        where: Pixels to score (H, W); None: all.

    Returns:
        Degrees, 0 to 90 for reflectance that is not negative.
    """
    p, t = (_pixels(image, where).astype(np.float64) for image in (prediction, target))
    long_p, long_t = np.linalg.norm(p, axis=0), np.linalg.norm(t, axis=0)
    norms = long_p * long_t
    cosine = np.where(norms > 0, (p * t).sum(axis=0) / np.where(norms > 0, norms, 1), long_p == long_t)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())


def _pixels(image: Array, where: Mask | None) -> Array:
    """Select the pixels `where`, or all, as (13, N)."""
    return image.reshape(len(image), -1) if where is None else image[:, where]


def ssim(prediction: Array, target: Array) -> float:
    """Compute the structural similarity (Wang et al. 2004), mean over bands.

    The window is a Gaussian of 1.5 px on 11 x 11 px, edges are padded with zeros, the range of the data is 1.

    Args:
        prediction: Reflectance (13, H, W).
        target: Reflectance (13, H, W).

    Returns:
        The similarity, 1 for equal images.
    """

    def blur(image: NDArray[np.float64]) -> NDArray[np.float64]:
        # A truncation at 3.34 * 1.5 px rounds to a radius of 5, hence 11 x 11.
        return np.asarray(ndimage.gaussian_filter(image, (0, 1.5, 1.5), truncate=3.34, mode="constant"))

    p, t = prediction.astype(np.float64), target.astype(np.float64)
    mean_p, mean_t = blur(p), blur(t)
    var_p, var_t = blur(p * p) - mean_p**2, blur(t * t) - mean_t**2
    covariance = blur(p * t) - mean_p * mean_t
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_p * mean_t + c1) / (mean_p**2 + mean_t**2 + c1)
    structure = (2 * covariance + c2) / (var_p + var_t + c2)
    return float((luminance * structure).mean())


def scores(prediction: Array, target: Array) -> dict[str, float]:
    """Score an image; both images are clipped to 0 to 1 first.

    Args:
        prediction: Reflectance (13, H, W).
        target: Reflectance (13, H, W).

    Returns:
        PSNR, SSIM, SAM and MAE by name.
    """
    p, t = np.clip(prediction, 0, 1), np.clip(target, 0, 1)
    return {"psnr": psnr(p, t), "ssim": ssim(p, t), "sam": sam(p, t), "mae": mae(p, t)}


def covered_only(prediction: Array, target: Array, where: Mask) -> dict[str, float]:
    """Score some pixels of an image; both images are clipped to 0 to 1 first.

    Args:
        prediction: Reflectance (13, H, W).
        target: Reflectance (13, H, W).
        where: The pixels (H, W).

    Returns:
        PSNR, SAM and MAE by name.
    """
    p, t = np.clip(prediction, 0, 1), np.clip(target, 0, 1)
    return {"psnr": psnr(p, t, where), "sam": sam(p, t, where), "mae": mae(p, t, where)}


def detail(prediction: Array, target: Array, where: Mask) -> dict[str, float]:
    """Compare the detail of an image with that of the truth: its amount, and its correlation.

    Only windows in which `where` is True throughout are used. In each window, the mean of each band of
    TEN_METRES is subtracted and a Hann window applied. P and T are the Fourier coefficients of prediction and
    target at frequencies of FINE and above, over all windows and bands:

        detail_db       10 log10(sum |P|^2 / sum |T|^2); 0: as much detail as the truth
        detail_match    sum Re(P T*) / sqrt(sum |P|^2 sum |T|^2); 1: the same detail, 0: unrelated detail

    Args:
        prediction: Reflectance (13, H, W).
        target: Reflectance (13, H, W).
        where: Pixels to score (H, W).

    Returns:
        Both values by name; empty if there is no such window.
    """
    if min(where.shape) < WINDOW:
        return {}
    windows = sliding_window_view(where, (WINDOW, WINDOW))[::STRIDE, ::STRIDE]
    whole: Mask = np.asarray(windows.all(axis=(2, 3)))
    if not whole.any():
        return {}
    p, t = (_fine(np.clip(image, 0, 1), whole) for image in (prediction, target))
    power_p, power_t = float((np.abs(p) ** 2).sum()), float((np.abs(t) ** 2).sum())
    if min(power_p, power_t) == 0:
        return {}
    match = float((p * t.conj()).real.sum()) / (power_p * power_t) ** 0.5
    return {"detail_db": float(10 * np.log10(power_p / power_t)), "detail_match": match}


def _fine(image: Array, whole: Mask) -> NDArray[np.complex128]:
    """Fourier coefficients at frequencies of FINE and above, of the windows marked in `whole`."""
    bands = image[TEN_METRES].astype(np.float64)
    windows = sliding_window_view(bands, (WINDOW, WINDOW), axis=(1, 2))[:, ::STRIDE, ::STRIDE][:, whole]
    taper = np.hanning(WINDOW)
    spectrum = np.fft.fft2((windows - windows.mean(axis=(2, 3), keepdims=True)) * np.outer(taper, taper))
    frequency = np.fft.fftfreq(WINDOW)
    fine = np.hypot(frequency[:, None], frequency) >= FINE
    return np.asarray(spectrum[:, :, fine])
