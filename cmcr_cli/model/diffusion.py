"""The diffusion process: noise levels, scalings and the denoiser (Karras et al. 2022, with a shifted mean).

    x_sigma = x0 + sigma * (eps + alpha * mu)
    dx/dsigma = (x - D(x, sigma)) / sigma              the probability-flow ODE

x0 is the clear image and mu the trusted part of the cloudy image, both in scene units (`condition.py`).
alpha = 0 is plain EDM. alpha > 0 starts the trajectory at the observation, as mean-reverting diffusions do.
The method is that of CM-CR (teacher: SCSBD). We could read only its abstract; the constants are our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cmcr_cli.model.condition import Condition
from cmcr_cli.model.network import ConditionEncoder, Features, NetworkConfig, StepNetwork


@dataclass(frozen=True, slots=True)
class DiffusionConfig:
    """Constants of the diffusion.

    Attributes:
        sigma_min: Lowest noise level, scene units.
        sigma_max: Highest noise level.
        rho: Exponent of the spacing of noise levels.
        alpha: Weight of the trusted image in the noise.
        sigma_data: Standard deviation of x0 that the scalings assume.
        sigma_mean: Standard deviation of mu that the scalings assume.
    """

    sigma_min: float = 0.002
    sigma_max: float = 20.0
    rho: float = 7.0
    alpha: float = 1.0
    sigma_data: float = 0.8
    sigma_mean: float = 0.25


class Denoiser(nn.Module):
    """D(x, sigma | condition): the teacher, and also the consistency function of the student.

    The scalings use sigma - sigma_min, so that D(x, sigma_min) = x by construction. This is the boundary
    condition of a consistency function (Song et al. 2023, section 3), and does no harm to a denoiser.

    Args:
        network: The architecture.
        diffusion: Noise levels and scalings.
    """

    def __init__(self, network: NetworkConfig, diffusion: DiffusionConfig) -> None:
        super().__init__()
        self.network_config = network
        self.diffusion = diffusion
        self.encoder = ConditionEncoder(network)
        self.step = StepNetwork(network)

    def encode(self, condition: Condition) -> Features:
        """Compute the features of a condition. They do not depend on sigma, so once per patch is enough.

        Args:
            condition: Inputs of the denoiser.

        Returns:
            A feature map for each level of the network.
        """
        features: Features = self.encoder(condition.planes, condition.vector)
        return features

    def forward(self, x: Tensor, sigma: Tensor, features: Features, condition: Condition) -> Tensor:
        """Estimate the clear image.

        Args:
            x: Noisy image in scene units, (B, 13, H, W).
            sigma: Noise levels (B,).
            features: Features of `condition`, from `encode`.
            condition: Inputs of the denoiser.

        Returns:
            Estimate in scene units, (B, 13, H, W).
        """
        c_skip, c_out, c_in = scalings(sigma, self.diffusion)
        shown = condition.residual, condition.detail, condition.ground
        output: Tensor = self.step(c_in * x, sigma.log() / 4, features, shown)
        estimate: Tensor = torch.addcmul(c_skip * x, c_out, output)
        return estimate


def scalings(sigma: Tensor, config: DiffusionConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Scalings of the denoiser, from the variances of x0 and mu, which are assumed to be uncorrelated.

    With s = sigma - sigma_min, k = alpha * s and v = s^2 + sd^2 + k^2 sm^2: c_skip = sd^2 / v and c_out^2 =
    sd^2 (1 - c_skip), so that the target of the network has unit variance (Karras et al. 2022, table 1).
    Unlike there, c_in is v^-1/2 times the share of x that is image, sd / (s^2 + sd^2)^1/2, and fades to 0 at
    sigma_max. There x is pure noise, and a network that sees it passes noise on to its answer. The first step
    is therefore a plain regression, and equal for every seed except for the term c_skip x.

    Args:
        sigma: Noise levels (B,).
        config: Constants of the diffusion.

    Returns:
        c_skip, c_out and c_in, each (B, 1, 1, 1).
    """
    s = (sigma - config.sigma_min).clamp(min=0)[:, None, None, None]
    data, mean = config.sigma_data**2, config.sigma_mean**2
    v = s**2 + data + (config.alpha * s) ** 2 * mean
    c_skip = data / v
    c_out = config.sigma_data * (1 - c_skip).clamp(min=0).sqrt()
    fading = (1 - (s / config.sigma_max) ** 2).clamp(min=0)
    return c_skip, c_out, fading * v.rsqrt() * config.sigma_data * (s**2 + data).rsqrt()


def karras_sigmas(count: int, config: DiffusionConfig) -> Tensor:
    """Spread noise levels as Karras et al. (2022), equation 5, do: evenly in sigma to the power of 1 / rho.

    Args:
        count: How many.
        config: Constants of the diffusion.

    Returns:
        Levels (count,), ascending from sigma_min to sigma_max.
    """
    ramp = torch.linspace(0, 1, count, dtype=torch.float64)
    low, high = config.sigma_min ** (1 / config.rho), config.sigma_max ** (1 / config.rho)
    sigmas: Tensor = (low + ramp * (high - low)) ** config.rho
    return sigmas.float()


def diffuse(x0: Tensor, sigma: Tensor, noise: Tensor, mean: Tensor, config: DiffusionConfig) -> Tensor:
    """Add noise to images: x_sigma = x0 + sigma (noise + alpha mean).

    Args:
        x0: Clear images in scene units (B, 13, H, W).
        sigma: Noise levels (B,).
        noise: Of mean 0 and std 1 (B, 13, H, W).
        mean: Of the noise (B, 13, H, W).
        config: Constants of the diffusion, alpha among them.

    Returns:
        Noisy images (B, 13, H, W).
    """
    return torch.addcmul(x0, sigma[:, None, None, None], torch.add(noise, mean, alpha=config.alpha))


def heun_step(teacher: Denoiser, x: Tensor, high: Tensor, low: Tensor, condition: Condition) -> Tensor:
    """Take one second-order (Heun) step of the probability-flow ODE.

    Args:
        teacher: The denoiser that defines the ODE.
        x: Noisy image at `high`, (B, 13, H, W).
        high: Noise levels to start from (B,).
        low: Noise levels to reach (B,).
        condition: Inputs of the denoiser.

    Returns:
        Noisy image at `low`, (B, 13, H, W).
    """
    features = teacher.encode(condition)
    shape = (-1, 1, 1, 1)
    slope = (x - teacher(x, high, features, condition)) / high.view(shape)
    stride = (low - high).view(shape)
    predicted = x + stride * slope
    corrected = (predicted - teacher(predicted, low, features, condition)) / low.view(shape)
    end: Tensor = x + stride * 0.5 * (slope + corrected)
    return end
