"""Procedural Sentinel-2/Sentinel-1 scene pairs with ground truth."""

from cmcr_cli.simulate.clouds import add_clouds
from cmcr_cli.simulate.write import SimulatedScene, SimulatedWindow, simulate_scene, simulate_window

__all__ = ["SimulatedScene", "SimulatedWindow", "add_clouds", "simulate_scene", "simulate_window"]
