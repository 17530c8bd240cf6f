from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    spectral_angle_mapper,
    structural_similarity_index_measure,
)
from torchmetrics.functional.regression import mean_absolute_error

from cmcr_cli.training.metrics import mae, psnr, sam, scores, ssim

Array = NDArray[np.float32]


def images(noise: float) -> tuple[Array, Array]:
    """A smooth image with edges, and the same with noise and an offset."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :64] / 64
    bands = np.arange(13)[:, None, None]
    target = 0.3 + 0.2 * np.sin(7 * x + bands) * np.cos(5 * y) + 0.1 * (x > 0.5)
    prediction = np.clip(target + 0.02 + noise * rng.normal(size=target.shape), 0, 1)
    return prediction.astype(np.float32), target.astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.2])
def test_the_same_as_torchmetrics(noise: float) -> None:
    prediction, target = images(noise)
    p, t = torch.from_numpy(prediction)[None].double(), torch.from_numpy(target)[None].double()
    assert psnr(prediction, target) == pytest.approx(float(peak_signal_noise_ratio(p, t, 1.0)), abs=1e-4)
    assert mae(prediction, target) == pytest.approx(float(mean_absolute_error(p, t)), rel=1e-5)
    angle = float(spectral_angle_mapper(p, t)) * 180 / np.pi
    assert sam(prediction, target) == pytest.approx(angle, abs=1e-3)


@pytest.mark.parametrize("noise", [0.02, 0.2])
def test_ssim_is_that_of_torchmetrics_away_from_the_border(noise: float) -> None:
    # torchmetrics reflects at the border; in a frame of zeros that makes no difference.
    prediction, target = (np.pad(image, ((0, 0), (10, 10), (10, 10))) for image in images(noise))
    p, t = torch.from_numpy(prediction)[None].double(), torch.from_numpy(target)[None].double()
    _, image = structural_similarity_index_measure(p, t, data_range=1.0, return_full_image=True)
    assert ssim(prediction, target) == pytest.approx(float(image.mean()), abs=1e-6)


def test_ssim_pixel_by_pixel() -> None:
    """Zero-padded 11x11 windows, written out as torch convolutions."""
    prediction, target = images(0.1)
    p, t = (torch.from_numpy(image).double()[:, None] for image in (prediction, target))
    line = torch.exp(-(torch.arange(-5, 6, dtype=torch.float64) ** 2) / (2 * 1.5**2))
    line /= line.sum()
    window = (line[:, None] * line)[None, None]

    def blur(image: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(image, window, padding=5)

    var_p, var_t = blur(p * p) - blur(p) ** 2, blur(t * t) - blur(t) ** 2
    covariance = blur(p * t) - blur(p) * blur(t)
    c1, c2 = 1e-4, 9e-4
    index = (2 * blur(p) * blur(t) + c1) * (2 * covariance + c2)
    index /= (blur(p) ** 2 + blur(t) ** 2 + c1) * (var_p + var_t + c2)
    assert ssim(prediction, target) == pytest.approx(float(index.mean()), rel=1e-9)


def test_identical_images() -> None:
    _, target = images(0)
    assert psnr(target, target) >= 100
    assert ssim(target, target) == pytest.approx(1)
    assert sam(target, target) == pytest.approx(0, abs=1e-3)
    assert mae(target, target) == 0


def test_cases_by_hand() -> None:
    target = np.zeros((13, 16, 16), np.float32)
    target[0] = 0.5
    prediction = target.copy()
    prediction[1] = 0.5
    assert sam(prediction, target) == pytest.approx(45, abs=1e-4)
    assert mae(prediction, target) == pytest.approx(0.5 / 13, rel=1e-5)
    assert psnr(target + np.float32(0.1), target) == pytest.approx(20, abs=1e-4)
    assert sam(3 * target, target) == pytest.approx(0, abs=1e-3)


def test_psnr_where() -> None:
    target = np.full((13, 16, 16), 0.2, np.float32)
    prediction = target.copy()
    where = np.zeros((16, 16), bool)
    where[:8] = True
    prediction[:, :8] += 0.01
    prediction[:, 8:] += 0.5
    assert psnr(prediction, target, where) == pytest.approx(40, abs=1e-3)
    assert psnr(prediction, target, ~where) == pytest.approx(20 * np.log10(2), abs=1e-3)


@pytest.mark.parametrize("empty", ["prediction", "target"])
def test_spectra_of_zero_are_left_out_of_sam(empty: str) -> None:
    pair = {
        "prediction": np.full((13, 4, 4), 0.3, np.float32),
        "target": np.full((13, 4, 4), 0.3, np.float32),
    }
    pair["prediction"][0] = 0.9
    whole = sam(**pair)
    pair[empty][:, 0, :2] = 0
    assert whole > 10
    assert sam(**pair) == pytest.approx(whole, rel=1e-5)


def test_scores_clip_to_legal_reflectance() -> None:
    prediction, target = images(0.05)
    wild = prediction.copy()
    prediction[:, 0], wild[:, 0] = 1, 4
    prediction[:, 1], wild[:, 1] = 0, -3
    assert scores(wild, target) == scores(prediction, target)
    assert scores(wild, target) == {
        "psnr": psnr(prediction, target), "ssim": ssim(prediction, target),
        "sam": sam(prediction, target), "mae": mae(prediction, target),
    }  # fmt: skip
