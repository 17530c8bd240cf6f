"""Shapes of training samples of the denoiser, and settings that draw plain ones."""

from __future__ import annotations

from dataclasses import replace

from cmcr_cli.ground.unmixing import LEVELS, NOTHING
from cmcr_cli.training.recipe import load_recipe

CHANNELS = {
    "optical": 13, "context": 13, "confidence": 1, "cover": 1, "radar": 2, "radar_valid": 1,
    "target": 13, "weight": 1, "opacity": 1, "shadow": 1, "doubt": 1,
}  # fmt: skip
VECTORS = {"std": (13,), "present": (13,), "levels": LEVELS.shape, "unmixing": NOTHING.shape}
USUAL = replace(load_recipe("teacher").mix, simulated=0.0)
PLAIN = replace(
    USUAL,
    hidden=0,
    heavy=0,
    mistaken=0,
    gain=(1, 1),
    recoloured=0,
    flooded=0,
    other_date=0,
    veiled=0,
    procedural=0,
    pseudo_radar=1,
    no_radar=0,
    no_context=0,
    no_cirrus=0,
    no_sixty_metre=0,
)
"""Nothing taken away, and real clouds over photographed ground as it is."""
