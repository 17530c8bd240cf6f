"""PSNR, SSIM, SAM and MAE as published for SEN12MS-CR: per image, over all bands jointly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]


def psnr(prediction: Array, target: Array, where: NDArray[np.bool_] | None = None) -> float:
    """20 log10(1 / RMSE) in dB of reflectance (13, H, W); only on pixels `where` (H, W) if given."""
    difference = prediction - target if where is None else (prediction - target)[:, where]
    rmse = float(np.sqrt(np.mean(np.square(difference, dtype=np.float64))))
    return float(-20 * np.log10(max(rmse, 1e-10)))


def mae(prediction: Array, target: Array) -> float:
    """Mean absolute difference in reflectance."""
    return float(np.mean(np.abs(prediction - target), dtype=np.float64))


def sam(prediction: Array, target: Array) -> float:
    """Mean angle between spectra of (13, H, W) in degrees, without pixels whose spectrum is all zero."""
    p, t = (image.reshape(len(image), -1).astype(np.float64) for image in (prediction, target))
    norms = np.linalg.norm(p, axis=0) * np.linalg.norm(t, axis=0)
    cosine = np.clip((p * t).sum(axis=0)[norms > 0] / norms[norms > 0], -1, 1)
    return float(np.degrees(np.arccos(cosine)).mean())


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
