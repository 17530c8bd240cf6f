"""The student (SCCM): consistency distillation from the teacher, anchored to the ground truth.

The student's consistency function is a `Denoiser`, whose scalings already satisfy f(x, sigma_min) = x.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cmcr_cli.model.condition import Condition
from cmcr_cli.model.diffusion import Denoiser, diffuse, heun_step
from cmcr_cli.model.local_mean import MEAN_CELL

KNEE = 0.1
"""Loss of an image, in squared scene units, above which the loss is logarithmic."""

BEND = 4.0
"""Error in scene units at which the robust loss changes from quadratic to linear."""


def pseudo_huber(difference: Tensor, weight: Tensor) -> Tensor:
    """Pseudo-Huber loss per sample: sqrt(mean(w d^2) + c^2) - c.

    The constant is c = 0.00054 sqrt(d) of Song and Dhariwal 2023. Here both the sum and c are divided by the
    number of pixels, so that the value does not depend on the size of the crop.

    Args:
        difference: d, (B, bands, H, W).
        weight: w, broadcastable to `difference`.

    Returns:
        Loss (B,).
    """
    c = 0.00054
    total = weight.expand_as(difference).flatten(1).sum(1).clamp(min=1)
    mean = (weight * difference.square()).flatten(1).sum(1) / total
    return torch.sqrt(mean + c**2) - c


def robust(difference: Tensor, weight: Tensor) -> Tensor:
    """Robust loss per sample: k log(1 + m / k), m the weighted mean of b^2 (sqrt(1 + (d / b)^2) - 1).

    Within an image, the loss is quadratic for common errors, so that its minimum is the mean and not the
    median. It is linear for outliers such as bright roofs (b = `BEND`). Across images it is logarithmic
    (k = `KNEE`), as a mean of PSNR is. Otherwise one image that cannot be restored would outweigh many smooth
    ones, on which even small errors are visible.

    Args:
        difference: d in scene units, (B, bands, H, W).
        weight: Weight of each value, broadcastable to `difference`.

    Returns:
        Loss (B,).
    """
    total = weight.expand_as(difference).flatten(1).sum(1).clamp(min=1)
    value = BEND**2 * (torch.sqrt(1 + (difference / BEND).square()) - 1)
    mean = (weight * value).flatten(1).sum(1) / total
    return KNEE * torch.log1p(mean / KNEE)


def pattern(difference: Tensor, weight: Tensor) -> Tensor:
    """Power per sample of the pattern that repeats every `MEAN_CELL` pixels.

    The down- and upsampling of a network can leave a regular pattern. It is too faint to matter in other
    losses, but visible on smooth ground. Real ground has no such period.

    Args:
        difference: Error in scene units, (B, bands, H, W); H and W are multiples of `MEAN_CELL`. Errors are
            clipped to -2 to 2.
        weight: Pixels with weight 0 are ignored; broadcastable to `difference`.

    Returns:
        Mean square of the pattern (B,).
    """
    height, width = difference.shape[2:]
    seen = (difference * (weight > 0)).clamp(-2, 2)
    cells = seen.reshape(*seen.shape[:2], height // MEAN_CELL, MEAN_CELL, width // MEAN_CELL, MEAN_CELL).mean(
        (2, 4)
    )
    uneven: Tensor = cells - cells.mean((2, 3), keepdim=True)
    return uneven.square().mean((1, 2, 3))


def denoising_loss(
    denoiser: Denoiser,
    x0: Tensor,
    condition: Condition,
    sigma: Tensor,
    noise: Tensor,
    weight: Tensor,
    periodic: float = 0.0,
) -> Tensor:
    """Loss of the teacher: robust distance of D(x_sigma) to x0, plus `periodic` times the `pattern`.

    Noise is added to x0 under cover and to the image elsewhere, as PDMSR does in use, so that the network
    also learns to handle thin cloud that the mask has missed. Errors are divided by c_out at alpha = 0, so
    that all noise levels have the same weight (Karras et al. 2022, section 5). The divisor has a lower bound
    for small sigma.

    Args:
        denoiser: The teacher.
        x0: Clear image in scene units, (B, 13, H, W).
        condition: Inputs of the denoiser.
        sigma: Noise levels (B,).
        noise: Standard normal noise (B, 13, H, W).
        weight: Weight of each value, broadcastable to `x0`.
        periodic: Weight of errors that repeat with the period of the network.

    Returns:
        Loss (B,).
    """
    config = denoiser.diffusion
    x = diffuse(condition.pasted(x0), sigma, noise, condition.mean, config)
    estimate = denoiser(x, sigma, denoiser.encode(condition), condition)
    unit = (sigma * config.sigma_data).clamp(min=0.1) / (sigma.square() + config.sigma_data**2).sqrt()
    error = estimate - x0
    loss = robust(error / unit[:, None, None, None], weight)
    return loss + periodic * pattern(error, weight) if periodic else loss


def distillation_loss(
    student: Denoiser,
    target: Denoiser,
    teacher: Denoiser,
    x0: Tensor,
    condition: Condition,
    sigmas: tuple[Tensor, Tensor],
    noise: Tensor,
    weight: Tensor,
    step_weight: Tensor,
    anchor: float,
    periodic: float = 0.0,
) -> Tensor:
    """Loss of the student: consistency distillation, plus an anchor to the ground truth, plus the `pattern`.

    The frozen teacher takes one Heun step from the high to the low noise level. The student at the high level
    must agree with its target copy at the low level (Song et al. 2023, equation 7). The anchor is the robust
    distance to the ground truth with weight sigma^2 / (1 + sigma^2). So one step at sigma_max approximates
    the posterior mean, while small noise levels are determined by consistency.

    Args:
        student: The network in training.
        target: Moving average of the student.
        teacher: Frozen teacher.
        x0: Clear image in scene units, (B, 13, H, W).
        condition: Inputs of the denoisers.
        sigmas: Neighbouring noise levels (low, high), each (B,).
        noise: Standard normal noise (B, 13, H, W).
        weight: Weight of each value, broadcastable to `x0`.
        step_weight: Weight of the pair of noise levels (B,), see `step_weights`.
        anchor: Weight of the anchor.
        periodic: Weight of errors that repeat with the period of the network.

    Returns:
        Loss (B,).
    """
    low, high = sigmas
    x_high = diffuse(condition.pasted(x0), high, noise, condition.mean, student.diffusion)
    with torch.no_grad():
        x_low = heun_step(teacher, x_high, high, low, condition)
        goal = target(x_low, low, target.encode(condition), condition)
    estimate = student(x_high, high, student.encode(condition), condition)
    consistency = pseudo_huber(estimate - goal, weight)
    pull = anchor * high.square() / (1 + high.square())
    loss = step_weight * consistency + pull * robust(estimate - x0, weight)
    return loss + periodic * pattern(estimate - x0, weight) if periodic else loss


def refinement_loss(
    student: Denoiser, x0: Tensor, condition: Condition, sigma: Tensor, noise: Tensor, weight: Tensor
) -> Tensor:
    """Loss of a second step of PDMSR that starts from the student's own first estimate.

    In distillation noise is added to the truth, but in use it is added to an estimate. A network that has
    never seen the errors of an estimate amplifies them with each step: edges along the mask, remaining noise.

    Args:
        student: The network in training.
        x0: Clear image in scene units, (B, 13, H, W).
        condition: Inputs of the denoiser.
        sigma: Noise levels of the second step (B,).
        noise: Standard normal noise (B, 13, H, W).
        weight: Weight of each value, broadcastable to `x0`.

    Returns:
        Robust distance to the truth (B,).
    """
    config = student.diffusion
    features = student.encode(condition)
    with torch.no_grad():
        highest = torch.full_like(sigma, config.sigma_max)
        first = student(config.sigma_max * config.alpha * condition.mean, highest, features, condition)
    x = diffuse(condition.pasted(first), sigma, noise, condition.mean, config)
    return robust(student(x, sigma, features, condition) - x0, weight)


def step_weights(sigmas: Tensor) -> Tensor:
    """Weights 1 / (sigma_{n+1} - sigma_n) of neighbouring noise levels, scaled to a mean of 1.

    Estimates at distant levels differ more, and would otherwise dominate the loss (Song and Dhariwal 2023).

    Args:
        sigmas: Ascending noise levels (N,).

    Returns:
        Weights (N - 1,).
    """
    weights = 1 / sigmas.diff()
    return weights / weights.mean()
