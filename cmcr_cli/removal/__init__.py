"""Where scene and model meet: options, plan and run of one cloud removal."""

from cmcr_cli.removal.dry_run import Estimate, estimate
from cmcr_cli.removal.options import RemoveOptions
from cmcr_cli.removal.run import Report, remove

__all__ = ["Estimate", "RemoveOptions", "Report", "estimate", "remove"]
