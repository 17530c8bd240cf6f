from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    spectral_angle_mapper,
    structural_similarity_index_measure,
)
from torchmetrics.functional.regression import mean_absolute_error

from cmcr_cli.training.metrics import covered_only, detail, mae, psnr, sam, scores, ssim

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
def test_a_spectrum_of_zeros_counts_as_wholly_wrong(empty: str) -> None:
    """The published scripts get NaN for such an image, and leave it out of the mean."""
    pair = {name: np.full((13, 4, 4), 0.3, np.float32) for name in ("prediction", "target")}
    pair[empty][:, 0, :2] = 0
    assert sam(**pair) == pytest.approx(90 * 2 / 16, rel=1e-5)
    pair["prediction"][:, 0, :2] = pair["target"][:, 0, :2] = 0
    assert sam(**pair) == pytest.approx(0, abs=1e-3)


def test_only_where_it_is_asked_for() -> None:
    prediction, target = images(0.05)
    where = np.zeros(target.shape[1:], bool)
    where[10:30, 5:50] = True
    cut = prediction[:, 10:30, 5:50], target[:, 10:30, 5:50]
    assert covered_only(prediction, target, where) == pytest.approx(
        {"psnr": psnr(*cut), "sam": sam(*cut), "mae": mae(*cut)}
    )


def scene(seed: int) -> Array:
    """Ground with structure at every scale."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(13, 128, 128)), (0, 0.7, 0.7))
    return (0.3 + 0.05 * noise / noise.std()).astype(np.float32)


EVERYWHERE = np.ones((128, 128), bool)


def test_detail_of_the_truth_itself() -> None:
    assert detail(scene(0), scene(0), EVERYWHERE) == pytest.approx({"detail_db": 0, "detail_match": 1})


def test_detail_does_not_see_the_level_nor_slow_change() -> None:
    slow = np.linspace(0, 0.2, 128, dtype=np.float32)
    found = detail(scene(0) + slow, scene(0), EVERYWHERE)
    assert found["detail_db"] == pytest.approx(0, abs=0.05)
    assert found["detail_match"] > 0.99


def test_invented_detail_has_the_power_but_no_match() -> None:
    found = detail(scene(1), scene(0), EVERYWHERE)
    assert found["detail_db"] == pytest.approx(0, abs=0.3)
    assert abs(found["detail_match"]) < 0.05


def test_half_the_contrast_is_six_decibel_less() -> None:
    half = (0.3 + (scene(0) - 0.3) / 2).astype(np.float32)
    found = detail(half, scene(0), EVERYWHERE)
    assert found == pytest.approx({"detail_db": -20 * np.log10(2), "detail_match": 1}, abs=1e-3)


def test_a_blurred_image_has_less_detail() -> None:
    blurred = ndimage.gaussian_filter(scene(0), (0, 2, 2))
    assert detail(blurred, scene(0), EVERYWHERE)["detail_db"] < -10


def test_detail_only_in_windows_wholly_covered() -> None:
    where = np.zeros((128, 128), bool)
    where[32:96, 32:96] = True
    wrong = scene(1)
    wrong[:, 32:96, 32:96] = scene(0)[:, 32:96, 32:96]
    assert detail(wrong, scene(0), where)["detail_match"] == pytest.approx(1)
    where[40, 40] = False
    assert detail(wrong, scene(0), where) == {}
    assert detail(wrong[:, :32], scene(0)[:, :32], where[:32]) == {}


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
