"""PSNR, SSIM, SAM and MAE as published for SEN12MS-CR, per image over all bands jointly; and sharpness."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.scene.bands import BANDS

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

TEN_METRES = [BANDS.index(name) for name in ("B02", "B03", "B04", "B08")]
"""The bands that have detail at 10 m; the others are enlarged."""

WINDOW, STRIDE = 64, 32
"""Pixels along the side of a window whose detail is compared, and from one window to the next."""

FINE = 1 / 8
"""Cycles per pixel from which on structure counts as detail: 80 m and smaller."""


def psnr(prediction: Array, target: Array, where: Mask | None = None) -> float:
    """20 log10(1 / RMSE) in dB of reflectance (13, H, W); only on pixels `where` (H, W) if given."""
    difference = _pixels(prediction, where) - _pixels(target, where)
    rmse = float(np.sqrt(np.mean(np.square(difference, dtype=np.float64))))
    return float(-20 * np.log10(max(rmse, 1e-10)))


def mae(prediction: Array, target: Array, where: Mask | None = None) -> float:
    """Mean absolute difference in reflectance."""
    return float(np.mean(np.abs(_pixels(prediction, where) - _pixels(target, where)), dtype=np.float64))


def sam(prediction: Array, target: Array, where: Mask | None = None) -> float:
    """Mean angle between the spectra of (13, H, W) in degrees.

    A spectrum of zeros has no direction. It counts as 0 degrees against another of zeros and as 90 against
    any other, so that no pixel and no image drops out of a mean unnoticed.
    """
    p, t = (_pixels(image, where).astype(np.float64) for image in (prediction, target))
    long_p, long_t = np.linalg.norm(p, axis=0), np.linalg.norm(t, axis=0)
    norms = long_p * long_t
    cosine = np.where(norms > 0, (p * t).sum(axis=0) / np.where(norms > 0, norms, 1), long_p == long_t)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())


def _pixels(image: Array, where: Mask | None) -> Array:
    """(13, N): the pixels `where`, or all of them."""
    return image.reshape(len(image), -1) if where is None else image[:, where]


def ssim(prediction: Array, target: Array) -> float:
    """Structural similarity of (13, H, W), mean over bands: 11x11 Gaussian, 1.5 px, zero-padded, range 1."""

    def blur(image: NDArray[np.float64]) -> NDArray[np.float64]:
        # truncate 3.34 * 1.5 px rounds to a radius of 5, hence 11x11
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
    """All four on one image; both are clipped to [0, 1] first."""
    p, t = np.clip(prediction, 0, 1), np.clip(target, 0, 1)
    return {"psnr": psnr(p, t), "ssim": ssim(p, t), "sam": sam(p, t), "mae": mae(p, t)}


def covered_only(prediction: Array, target: Array, where: Mask) -> dict[str, float]:
    """PSNR, SAM and MAE on the pixels `where` (H, W); both images are clipped to [0, 1] first."""
    p, t = np.clip(prediction, 0, 1), np.clip(target, 0, 1)
    return {"psnr": psnr(p, t, where), "sam": sam(p, t, where), "mae": mae(p, t, where)}


def detail(prediction: Array, target: Array, where: Mask) -> dict[str, float]:
    """How much detail there is beside the truth's, and how much of it is the truth's.

    In every WINDOW of `where` (H, W) that is wholly True, each of TEN_METRES is taken less its mean under a
    Hann window; P and T are the Fourier transforms at FINE and above, summed over windows and bands:

        detail_db       10 log10(sum |P|^2 / sum |T|^2), 0 for as much detail as the truth has
        detail_match    sum Re(P T*) / sqrt(sum |P|^2 sum |T|^2), 1 for the same, 0 for invented detail

    Empty where there is no such window.
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
    """Fourier coefficients at FINE and above of the windows marked in `whole`."""
    bands = image[TEN_METRES].astype(np.float64)
    windows = sliding_window_view(bands, (WINDOW, WINDOW), axis=(1, 2))[:, ::STRIDE, ::STRIDE][:, whole]
    taper = np.hanning(WINDOW)
    spectrum = np.fft.fft2((windows - windows.mean(axis=(2, 3), keepdims=True)) * np.outer(taper, taper))
    frequency = np.fft.fftfreq(WINDOW)
    fine = np.hypot(frequency[:, None], frequency) >= FINE
    return np.asarray(spectrum[:, :, fine])
