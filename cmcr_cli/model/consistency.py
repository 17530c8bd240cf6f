"""The student (SCCM): consistency distillation from the teacher, anchored to the ground truth.

The student's consistency function is a `Denoiser`, whose scalings already satisfy f(x, sigma_min) = x.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cmcr_cli.model.condition import Condition
from cmcr_cli.model.diffusion import Denoiser, diffuse, heun_step
from cmcr_cli.model.local_mean import CELL

KNEE = 0.1
"""Loss of an image, in squared spreads, above which only ratios of losses matter."""

BEND = 4.0
"""Error, in spreads of the scene, at which the robust loss turns from square to linear."""


def pseudo_huber(difference: Tensor, weight: Tensor) -> Tensor:
    """Per-sample sqrt(mean w d^2 + c^2) - c, (B,); c = 0.00054 sqrt(d) of Song and Dhariwal 2023.

    The mean over pixels, and c scaled alike, keep the value independent of the crop's size.
    """
    c = 0.00054
    total = weight.expand_as(difference).flatten(1).sum(1).clamp(min=1)
    mean = (weight * difference.square()).flatten(1).sum(1) / total
    return torch.sqrt(mean + c**2) - c


def robust(difference: Tensor, weight: Tensor) -> Tensor:
    """Per-sample k log(1 + m / k), k = `KNEE`, m the weighted mean of b^2 (sqrt(1 + (d / b)^2) - 1), (B,).

    Within an image square for usual errors, so that it finds the mean and not the median; linear for a bright
    roof (b = `BEND`). Between images logarithmic, as a mean of PSNR is: otherwise a hopeless image outweighs
    many a calm sea, on which an error that is small elsewhere can be seen.
    """
    total = weight.expand_as(difference).flatten(1).sum(1).clamp(min=1)
    value = BEND**2 * (torch.sqrt(1 + (difference / BEND).square()) - 1)
    mean = (weight * value).flatten(1).sum(1) / total
    return KNEE * torch.log1p(mean / KNEE)


def pattern(difference: Tensor, weight: Tensor) -> Tensor:
    """Per-sample mean square of what repeats every CELL pixels in a difference (B, bands, H, W), (B,).

    Ground knows nothing of the grids on which a network takes images apart and puts them together. What it
    leaves of them is too faint to count as an error, and is seen all the same where the ground is smooth.
    Sides are multiples of CELL; what is beyond 2 spreads counts as 2.
    """
    height, width = difference.shape[2:]
    seen = (difference * (weight > 0)).clamp(-2, 2)
    cells = seen.reshape(*seen.shape[:2], height // CELL, CELL, width // CELL, CELL).mean((2, 4))
    uneven: Tensor = cells - cells.mean((2, 3), keepdim=True)
    return uneven.square().mean((1, 2, 3))


def denoising_loss(
    denoiser: Denoiser,
    x0: Tensor,
    condition: Condition,
    sigma: Tensor,
    noise: Tensor,
    weight: Tensor,
    weave: float = 0.0,
) -> Tensor:
    """The teacher's loss: the robust distance of D(x_sigma) to x0, and `weave` times its `pattern`, (B,).

    What is noised is x0 under cover and the image elsewhere, as in PDMSR: a wisp that the mask missed is then
    nothing new there. Differences are taken in units of c_out as it is at alpha = 0, so that all noise levels
    weigh alike (Karras et al. 2022, section 5); the unit is bounded where sigma is small.
    """
    config = denoiser.diffusion
    x = diffuse(condition.pasted(x0), sigma, noise, condition.mean, config)
    estimate = denoiser(x, sigma, denoiser.encode(condition), condition)
    unit = (sigma * config.sigma_data).clamp(min=0.1) / (sigma.square() + config.sigma_data**2).sqrt()
    error = estimate - x0
    loss = robust(error / unit[:, None, None, None], weight)
    return loss + weave * pattern(error, weight) if weave else loss


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
    weave: float = 0.0,
) -> Tensor:
    """Consistency distillation plus anchor, per sample (B,), with `weave` times the `pattern` of the error.

    `sigmas` are neighbours (low, high) of the grid, `step_weight` (B,) is theirs. The frozen teacher takes
    one Heun step from high to low; the student at high must agree with the target copy at low (Song et al.
    2023, equation 7). The anchor pulls towards the ground truth with weight sigma^2 / (1 + sigma^2), so that
    one step at sigma_max approximates the posterior mean, while small sigmas stay free to be consistent.
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
    return loss + weave * pattern(estimate - x0, weight) if weave else loss


def step_weights(sigmas: Tensor) -> Tensor:
    """1 / (sigma_{n+1} - sigma_n) for an ascending grid, scaled to a mean of 1, (N - 1,).

    Neighbours far apart disagree more, and would otherwise be all that is learnt (Song and Dhariwal 2023).
    """
    weights = 1 / sigmas.diff()
    return weights / weights.mean()
