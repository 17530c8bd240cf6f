"""`--dry-run`: what would be done, how long it would take and how much memory, without writing anything."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from cmcr_cli.removal.options import RemoveOptions
from cmcr_cli.removal.run import (
    Progress,
    find_cover,
    lattice,
    open_session,
    patches_to_restore,
    restorer_for,
    row_of_patches,
)
from cmcr_cli.scene.cog import BLOCK
from cmcr_cli.scene.patches import PATCH

BASE_BYTES = 600 * 2**20
"""Interpreter, libraries, weights, activations of a small batch and GDAL's caches."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would do. Seconds come from a probe of two batches on this machine, now."""

    width: int
    height: int
    level: str
    offset: float
    offset_source: str
    device: str
    weights: str
    covered_share: float
    patches: int
    patches_to_restore: int
    seconds: float
    memory_mb: int
    notes: list[str]
