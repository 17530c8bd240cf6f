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
    """Noise range and the second moments behind the scalings (deviations of x0 and mu, their covariance)."""

    sigma_min: float = 0.002
    sigma_max: float = 20.0
    rho: float = 7.0
    alpha: float = 1.0
    sigma_data: float = 0.8
    sigma_mean: float = 0.25
    covariance: float = 0.05


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
        output: Tensor = self.step(c_in * x, sigma.log() / 4, features, condition.departure)
        return c_skip * x + c_out * output


def scalings(sigma: Tensor, config: DiffusionConfig) -> tuple[Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in as (B, 1, 1, 1): unit variance in and out, given the moments of x0 and mu.

    With s = sigma - sigma_min and k = alpha * s: v = s^2 + sd^2 + k^2 sm^2 + 2 k c; c_in = v^-1/2;
    c_skip = (sd^2 + k c) / v; c_out^2 = ((s^2 + k^2 sm^2) sd^2 - k^2 c^2) / v.
    """
    s = (sigma - config.sigma_min).clamp(min=0)[:, None, None, None]
    k = config.alpha * s
    data, mean, c = config.sigma_data**2, config.sigma_mean**2, config.covariance
    v = s**2 + data + k**2 * mean + 2 * k * c
    c_out = (((s**2 + k**2 * mean) * data - k**2 * c**2).clamp(min=0) / v).sqrt()
    return (data + k * c) / v, c_out, v.rsqrt()


def karras_sigmas(count: int, config: DiffusionConfig) -> Tensor:
    """`count` levels from sigma_min up to sigma_max, spaced by rho (Karras et al. 2022, equation 5)."""
    ramp = torch.linspace(0, 1, count, dtype=torch.float64)
    low, high = config.sigma_min ** (1 / config.rho), config.sigma_max ** (1 / config.rho)
    sigmas: Tensor = (low + ramp * (high - low)) ** config.rho
    return sigmas.float()


def diffuse(x0: Tensor, sigma: Tensor, noise: Tensor, mean: Tensor, config: DiffusionConfig) -> Tensor:
    """x_sigma = x0 + sigma (eps + alpha mu)."""
    return x0 + sigma[:, None, None, None] * (noise + config.alpha * mean)


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
