"""DN of a scene to reflectance and back, on any device; DN are the bits of the stored integers as int16."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cmcr_cli.scene.optical import Optical


def reflectance(
    dn: Tensor, optical: Optical, memory_format: torch.memory_format = torch.preserve_format
) -> Tensor:
    """DN of any shape as float32 reflectance, not clipped, as `Radiometry.reflectance` makes it."""
    values = dn.view(_integers(optical)).to(torch.float32, memory_format=memory_format)
    return values.add_(optical.radiometry.offset).div_(optical.radiometry.quantification)


def stored(reflectance: Tensor, optical: Optical) -> Tensor:
    """The DN that a scene stores for `reflectance`, which is used up, as `Radiometry.dn` makes them."""
    limits, nodata = np.iinfo(optical.dtype), optical.nodata
    low, high = limits.min + (nodata == limits.min), limits.max - (nodata == limits.max)
    values = reflectance.mul_(optical.radiometry.quantification).sub_(optical.radiometry.offset)
    values.round_().clamp_(low, high)
    if nodata is not None and low < nodata < high:
        values.masked_fill_(values == nodata, nodata + 1)
    return values.to(_integers(optical)).view(torch.int16)


def _integers(optical: Optical) -> torch.dtype:
    return torch.uint16 if optical.dtype == np.uint16 else torch.int16
