"""Where scene and model meet: options, plan and run of one cloud removal."""

from cmcr_cli.options import RemoveOptions
from cmcr_cli.removal.estimation import Estimate, estimate
from cmcr_cli.removal.mask_file import MaskReport, write_mask
from cmcr_cli.removal.opening.inspection import Inspection, inspect
from cmcr_cli.removal.opening.opened import Model, Scene, load_model, open_scene
from cmcr_cli.removal.pipeline import remove
from cmcr_cli.removal.results.report import Report
from cmcr_cli.scene.sun import Sun

__all__ = [
    "Estimate",
    "Inspection",
    "MaskReport",
    "Model",
    "RemoveOptions",
    "Report",
    "Scene",
    "Sun",
    "estimate",
    "inspect",
    "load_model",
    "open_scene",
    "remove",
    "write_mask",
]
