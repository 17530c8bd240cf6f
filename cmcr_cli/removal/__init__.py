"""Where scene and model meet: options, plan and run of one cloud removal."""

from cmcr_cli.removal.dry_run import Estimate, estimate
from cmcr_cli.removal.options import RemoveOptions
from cmcr_cli.removal.run import Report, remove
from cmcr_cli.removal.write_mask import MaskReport, write_mask

__all__ = ["Estimate", "MaskReport", "RemoveOptions", "Report", "estimate", "remove", "write_mask"]
