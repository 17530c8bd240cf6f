"""Where scene and model meet: options, plan and run of one cloud removal."""

from cmcr_cli.removal.dry_run import Estimate, estimate
from cmcr_cli.removal.mask_output import MaskReport, write_mask
from cmcr_cli.removal.opened import Model, Scene, load_model, open_scene
from cmcr_cli.removal.options import RemoveOptions
from cmcr_cli.removal.run import Report, remove
from cmcr_cli.scene.sun import Sun

__all__ = [
    "Estimate",
    "MaskReport",
    "Model",
    "RemoveOptions",
    "Report",
    "Scene",
    "Sun",
    "estimate",
    "load_model",
    "open_scene",
    "remove",
    "write_mask",
]
