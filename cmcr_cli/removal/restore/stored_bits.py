"""DN of a scene as bits of int16, which is the one kind of 16-bit integer that devices compute with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cmcr_cli.scene.optical import Optical


def reflectance(
    dn: Tensor, optical: Optical, memory_format: torch.memory_format = torch.preserve_format
) -> Tensor:
    """Convert DN to reflectance, as `Radiometry.reflectance` does.

    Args:
        dn: Bits of the stored integers as int16, of any shape.
        optical: The scene.
        memory_format: Of the result.

    Returns:
        Reflectance, not clipped.
    """
    return optical.radiometry.scaled(
        dn.view(_integers(optical)).to(torch.float32, memory_format=memory_format)
    )


def stored(reflectance: Tensor, optical: Optical) -> Tensor:
    """Convert reflectance to DN, as `Radiometry.dn` does.

    Args:
        reflectance: Reflectance, which is overwritten.
        optical: The scene.

    Returns:
        Bits of the stored integers as int16.
    """
    values = optical.radiometry.unscaled(reflectance, optical.dtype, optical.nodata)
    return values.to(_integers(optical)).view(torch.int16)


def _integers(optical: Optical) -> torch.dtype:
    return torch.uint16 if optical.dtype == np.uint16 else torch.int16
