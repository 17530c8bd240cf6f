"""The diffusion of SCSBD: sigma grid, scalings and the Denoiser (Karras et al. 2022, with a shifted mean).

    x_sigma = x0 + sigma * (eps + alpha * mu)
    dx/dsigma = (x - D(x, sigma)) / sigma              the probability-flow ODE

x0 is the clear image and mu the known part of the cloudy one, both in scene units (`condition.py`).
alpha = 0 is plain EDM; alpha > 0 starts the trajectory at the observation, as mean-reverting diffusions do.
CM-CR's own constants are not public; the ones here are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cmcr_cli.model.condition import Condition
from cmcr_cli.model.network import ConditionEncoder, Features, NetworkConfig, StepNetwork


@dataclass(frozen=True, slots=True)
class DiffusionConfig:
    """Noise range, and the deviations of x0 and mu behind the scalings."""

    sigma_min: float = 0.002
    sigma_max: float = 20.0
    rho: float = 7.0
    alpha: float = 1.0
    sigma_data: float = 0.8
    sigma_mean: float = 0.25


class Denoiser(nn.Module):
    """D(x, sigma | condition): the teacher as it is, and the student's consistency function.

    The scalings use sigma - sigma_min, so D(x, sigma_min) = x by construction, which is the boundary
    condition of a consistency function (Song et al. 2023, section 3) and no loss for a denoiser.
    """

    def __init__(self, network: NetworkConfig, diffusion: DiffusionConfig) -> None:
        super().__init__()
        self.network_config = network
        self.diffusion = diffusion
        self.encoder = ConditionEncoder(network)
        self.step = StepNetwork(network)

    def encode(self, condition: Condition) -> Features:
        """The part that does not see sigma: once per patch."""
        features: Features = self.encoder(condition.planes, condition.vector)
        return features

    def forward(self, x: Tensor, sigma: Tensor, features: Features, condition: Condition) -> Tensor:
        """Noisy image (B, 13, H, W) at sigma (B,) to the estimate of the clear one, in scene units.

        `features` are what `encode` made of `condition`.
        """
        c_skip, c_out, c_in = scalings(sigma, self.diffusion)
        shown = condition.departure, condition.detail, condition.ground
        output: Tensor = self.step(c_in * x, sigma.log() / 4, features, shown)
        estimate: Tensor = torch.addcmul(c_skip * x, c_out, output)
        return estimate


def scalings(sigma: Tensor, config: DiffusionConfig) -> tuple[Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in as (B, 1, 1, 1), given the moments of x0 and mu, which are taken as uncorrelated.

    With s = sigma - sigma_min, k = alpha * s and v = s^2 + sd^2 + k^2 sm^2: c_skip = sd^2 / v and
    c_out^2 = sd^2 (1 - c_skip), so the network's target has unit variance (Karras et al. 2022, table 1).
    Unlike there, c_in is v^-1/2 times the share of x that is image, sd / (s^2 + sd^2)^1/2, and fades to 0 at
    sigma_max: there x is nothing but noise, and a network that is shown it answers with noise. The first
    step is thus a plain regression, and the same for every seed but for c_skip x.
    """
    s = (sigma - config.sigma_min).clamp(min=0)[:, None, None, None]
    data, mean = config.sigma_data**2, config.sigma_mean**2
    v = s**2 + data + (config.alpha * s) ** 2 * mean
    c_skip = data / v
    c_out = config.sigma_data * (1 - c_skip).clamp(min=0).sqrt()
    fading = (1 - (s / config.sigma_max) ** 2).clamp(min=0)
    return c_skip, c_out, fading * v.rsqrt() * config.sigma_data * (s**2 + data).rsqrt()


def karras_sigmas(count: int, config: DiffusionConfig) -> Tensor:
    """`count` levels from sigma_min up to sigma_max, spaced by rho (Karras et al. 2022, equation 5)."""
    ramp = torch.linspace(0, 1, count, dtype=torch.float64)
    low, high = config.sigma_min ** (1 / config.rho), config.sigma_max ** (1 / config.rho)
    sigmas: Tensor = (low + ramp * (high - low)) ** config.rho
    return sigmas.float()


def diffuse(x0: Tensor, sigma: Tensor, noise: Tensor, mean: Tensor, config: DiffusionConfig) -> Tensor:
    """x_sigma = x0 + sigma (eps + alpha mu)."""
    return torch.addcmul(x0, sigma[:, None, None, None], torch.add(noise, mean, alpha=config.alpha))


def heun_step(teacher: Denoiser, x: Tensor, high: Tensor, low: Tensor, condition: Condition) -> Tensor:
    """One step of the probability-flow ODE from sigma `high` to `low`, second order."""
    features = teacher.encode(condition)
    shape = (-1, 1, 1, 1)
    slope = (x - teacher(x, high, features, condition)) / high.view(shape)
    stride = (low - high).view(shape)
    predicted = x + stride * slope
    corrected = (predicted - teacher(predicted, low, features, condition)) / low.view(shape)
    end: Tensor = x + stride * 0.5 * (slope + corrected)
    return end
