"""Simulated pairs of Sentinel-2 and Sentinel-1 scenes with ground truth."""

from cmcr_cli.simulate.clouds import add_clouds
from cmcr_cli.simulate.write import (
    SimulatedDate,
    SimulatedScene,
    SimulatedWindow,
    simulate_scene,
    simulate_window,
)

__all__ = [
    "SimulatedDate",
    "SimulatedScene",
    "SimulatedWindow",
    "add_clouds",
    "simulate_scene",
    "simulate_window",
]
