"""Views of a batch: another processing level, atmosphere and light, noise, and fewer bands.

Making a sample takes much longer than training on it. So several views of each sample are made, all at once
and on the device of the training.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from cmcr_cli.scene.bands import BANDS
from cmcr_cli.training.recipe import MaskMix
from cmcr_cli.training.samples.mask_ground import AIR, B09, B10, CLEARNESS
from cmcr_cli.training.samples.synthesis import MICROMETRES

NOISE = 0.0015
"""Standard deviation of the noise in reflectance."""

LOW_SUN = 0.15
"""Share of views that are darker by up to one half, like ground on slopes and in winter."""

_SIXTY_METRES = [BANDS.index(name) for name in ("B01", "B09", "B10")]
_OPTIONAL = [BANDS.index(name) for name in BANDS if name not in ("B02", "B03", "B04", "B08")]


@dataclass(frozen=True, slots=True)
class MaskSample:
    """A sample of the cloud network, or a batch of them with one more axis in front.

    Attributes:
        optical: Reflectance in cells of 20 m (13, h, w).
        present: 1 for bands that the image has, else 0 (13,).
        sun: Position of the sun, see `model.cloud_network.CloudNetwork` (4,).
        classes: Share of each CloudClass per cell (4, h, w).
        weight: Weight in the loss, 0 where the class is unknown (h, w).
        icy: 1 where only B10 distinguishes cloud from snow (h, w).
    """

    optical: Tensor
    present: Tensor
    sun: Tensor
    classes: Tensor
    weight: Tensor
    icy: Tensor


def views(batch: MaskSample, mix: MaskMix, generator: torch.Generator) -> MaskSample:
    """Make random views of a batch.

    Args:
        batch: Batch of samples.
        mix: Number of views, and how often bands and the sun are removed.
        generator: Source of randomness, on the device of the batch.

    Returns:
        A batch of `mix.views` times as many samples, in no particular order.
    """
    parts = {f.name: getattr(batch, f.name) for f in fields(MaskSample)}
    batch = MaskSample(**{name: torch.cat([part] * mix.views) for name, part in parts.items()})
    draw = _Draw(generator, len(batch.sun))
    measured = batch.optical.amax(dim=1, keepdim=True) > 0
    optical, present = _in_other_light(batch.optical, batch.present, draw)
    measured &= ~_beyond_edges(batch.weight, mix.nodata, draw)
    noise = torch.randn(optical.shape, generator=generator, device=optical.device)
    optical = torch.where(measured & (optical > 0), optical + NOISE * noise, 0)
    present = present * _kept_bands(mix, draw)
    known = batch.weight * measured[:, 0] * (1 - batch.icy * (1 - present[:, B10, None, None]))
    told = (draw.uniform() >= mix.no_sun).float()[:, None]
    return replace(
        batch,
        optical=optical * present[:, :, None, None],
        present=present,
        weight=known,
        sun=batch.sun * told,
    )


class _Draw:
    """Random numbers, one or several for each sample."""

    def __init__(self, generator: torch.Generator, count: int) -> None:
        self._generator, self._count = generator, count

    def uniform(self, low: float = 0, high: float = 1, each: tuple[int, ...] = ()) -> Tensor:
        """Return uniform numbers (count, *each) from `low` to `high`."""
        device, shape = self._generator.device, (self._count, *each)
        return low + (high - low) * torch.rand(shape, generator=self._generator, device=device)

    def normal(self, deviation: float, each: tuple[int, ...] = ()) -> Tensor:
        """Return normal numbers (count, *each) of mean 0."""
        device, shape = self._generator.device, (self._count, *each)
        return deviation * torch.randn(shape, generator=self._generator, device=device)


def _in_other_light(x: Tensor, present: Tensor, draw: _Draw) -> tuple[Tensor, Tensor]:
    """Convert images (B, 13, h, w) to another level or atmosphere and other light; also their bands (B, 13).

    Level-1C becomes Level-2A by removing path radiance and absorption, and vice versa. So the network learns
    that neither indicates cloud.
    """
    air, clearness = (torch.from_numpy(array.reshape(1, -1)).to(x.device) for array in (AIR, CLEARNESS))
    length = torch.from_numpy((MICROMETRES / 0.49).astype(np.float32)).to(x.device)
    level1, kind = present[:, B10, None] > 0, draw.uniform(each=(1,))
    lowered, raised = level1 & (kind < 0.3), ~level1 & (kind < 0.25)
    hazed = (kind < 0.5) & ~lowered & ~raised
    strength = draw.uniform(0.5, 1.1, (1,))
    power = torch.where(raised, strength, torch.where(lowered, -strength * draw.uniform(0.7, 1.1, (1,)), 0))
    gain = clearness**power
    haze = draw.uniform(-0.02, 0.045, (1,)) * length ** -draw.uniform(1, 3.5, (1,))
    added = torch.where(raised, strength * air, torch.where(lowered, -strength * air * gain, hazed * haze))
    x = (x * gain[:, :, None, None] + added[:, :, None, None]).clamp(min=0)
    # Correction for water vapour, which darkens B09.
    corrected = lowered & (draw.uniform(each=(1,)) < 0.5)
    vapour = x[:, B09 - 1] * draw.uniform(0.9, 1.05, (1, 1))
    x[:, B09] = torch.where(corrected[:, :, None], vapour, x[:, B09])
    light = torch.exp(draw.normal(0.12, (1,)) + draw.normal(0.025, (len(BANDS),)))
    low_sun = draw.uniform(each=(1,)) < LOW_SUN
    light = torch.where(low_sun, light * draw.uniform(0.45, 1, (1,)), light)
    present = present.clone()
    present[:, B10] *= ~lowered[:, 0]
    return x * light[:, :, None, None], present


def _beyond_edges(weight: Tensor, share: float, draw: _Draw) -> Tensor:
    """Random nodata areas of samples with weights (B, h, w), (B, 1, h, w)."""
    rows, columns = (torch.linspace(-1, 1, size, device=weight.device) for size in weight.shape[1:])
    slope = draw.normal(1, (1, 1)) * rows[:, None] + draw.normal(1, (1, 1)) * columns
    some = draw.uniform(each=(1, 1)) < share
    return ((slope > draw.uniform(0.2, 1.2, (1, 1))) & some)[:, None]


def _kept_bands(mix: MaskMix, draw: _Draw) -> Tensor:
    """1 for bands that are kept, else 0 (B, 13); B02, B03, B04 and B08 are always kept."""
    kind, counts = draw.uniform(each=(1,)), torch.floor(draw.uniform(2, 8, (1,)))
    optional = torch.zeros(len(BANDS), device=kind.device)
    optional[_OPTIONAL] = 1
    # Rank of each optional band in a random order, 0 to 8; other bands rank last.
    order = (draw.uniform(each=(len(BANDS),)) + 2 * (1 - optional)).argsort(dim=1).argsort(dim=1)
    cirrus, sixty = torch.zeros_like(optional), torch.zeros_like(optional)
    cirrus[B10], sixty[_SIXTY_METRES] = 1, 1
    kept = torch.ones_like(order, dtype=torch.float32)
    for share, lost in (
        (mix.no_cirrus, cirrus > 0),
        (mix.no_sixty_metre, sixty > 0),
        (mix.no_band, order < 1),
        (mix.four_bands, optional > 0),
        (mix.some_bands, order < counts),
    ):
        kept = torch.where((kind >= 0) & (kind < share) & lost, 0, kept)
        kind = kind - share
    return kept
